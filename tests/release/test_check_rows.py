from __future__ import annotations

from pathlib import Path

import pytest
import torch
from planted import EMBEDDING, HEAD, swapped, weights
from sound_model import change_weights

from belle.errors import Finding
from belle.release.check_rows import rows
from belle.release.subject import Subject
from belle.sections import ModelSection


def found(path: Path, base: Path | None = None) -> list[Finding]:
    return list(rows(Subject.open(ModelSection(path=str(path)), str(base) if base else None)))


def test_rows_that_training_moved_a_little_are_their_own(sound: Path) -> None:
    torch.manual_seed(0)
    weights(EMBEDDING, lambda t: t + 0.1 * t.norm(dim=1, keepdim=True) / t.shape[1] ** 0.5 * torch.randn_like(t))(sound)
    levels = [finding.level for finding in found(sound / "merged")]
    assert levels == ["ok", "ok"]


def test_rows_that_training_made_anew_are_no_shift(sound: Path) -> None:
    torch.manual_seed(0)
    weights(EMBEDDING, lambda t: torch.cat([t[:4], torch.randn(10, t.shape[1]), t[14:]]))(sound)
    first = found(sound / "merged")[0]
    assert first.level == "ok"
    assert "10 were changed, such as that of '<|im_start|>'" in first.found


def test_rows_of_zeros_in_both_are_alike(sound: Path) -> None:
    for file in ("base/model.safetensors", "merged/model.safetensors"):
        weights(EMBEDDING, lambda t: torch.cat([torch.zeros_like(t[:9]), t[9:]]), file)(sound)
    assert [finding.level for finding in found(sound / "merged")] == ["ok", "ok"]


def test_a_swapped_pair_is_named_with_both_tokens(sound: Path) -> None:
    weights(HEAD, swapped)(sound)
    finding = found(sound / "merged")[1]
    assert finding.level == "error"
    vocabulary = Subject.open(ModelSection(path=str(sound / "merged"))).tokenizer.get_vocab()
    texts = {number: text for text, number in vocabulary.items()}
    assert f"{HEAD}: that of {texts[300]!r} (300) holds that of {texts[301]!r}" in finding.found


def test_a_token_that_got_another_number_is_compared_by_its_text(sound: Path) -> None:
    """A vocabulary that was sorted anew, with its rows: no fault."""
    path = sound / "merged/tokenizer.json"
    text = path.read_text(encoding="utf-8")
    mark = "\u0000"
    a, b = '"<|start_header_id|>"', '"<|end_header_id|>"'
    path.write_text(text.replace(a, mark).replace(b, a).replace(mark, b), encoding="utf-8")

    def order(t: torch.Tensor) -> torch.Tensor:
        out = t.clone()
        out[[6, 7]] = t[[7, 6]]
        return out

    weights(EMBEDDING, order)(sound)
    weights(HEAD, order)(sound)
    assert [finding.level for finding in found(sound / "merged")] == ["ok", "ok"]


def test_another_base_is_a_doubt_or_an_error(sound: Path) -> None:
    torch.manual_seed(0)
    change_weights(sound / "base/model.safetensors", lambda t: t.update({EMBEDDING: torch.randn_like(t[EMBEDDING])}))
    first = found(sound / "merged", sound / "base")[0]
    assert (first.level, "unlike the base's" in first.found) == ("warning", True)
    change_weights(sound / "base/model.safetensors", lambda t: t.update({EMBEDDING: torch.randn(396, 32)}))
    first = found(sound / "merged", sound / "base")[0]
    assert (first.level, first.found) == ("error", f"{EMBEDDING} has rows of 64, the base's of 32")


@pytest.mark.parametrize("what", ["sft", "base"])
def test_adapters_and_models_of_unknown_base_have_nothing_to_compare(what: str, sound_home: Path) -> None:
    assert found(sound_home / what) == []
