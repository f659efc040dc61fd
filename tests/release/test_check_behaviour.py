from __future__ import annotations

from pathlib import Path

import pytest
import torch
from planted import HEAD
from sound_model import change_weights
from tiny import tiny_model_folder

from belle.release import check_behaviour
from belle.release.check_behaviour import conversations
from belle.release.subject import Subject
from belle.sections import ModelSection


def opened(path: Path) -> Subject:
    return Subject.open(ModelSection(path=str(path)))


def test_the_questions_are_short_and_in_both_languages() -> None:
    asked = conversations()
    assert len(asked) == 12
    assert {conversation.language for conversation in asked} == {"zh", "en"}
    assert all(len(conversation.messages[1].content) <= 60 for conversation in asked)


def test_an_adapter_is_asked_on_its_base(sound_home: Path) -> None:
    subject = opened(sound_home / "sft")
    checks = (check_behaviour.language, check_behaviour.end_token, check_behaviour.stops)
    found = [finding for check in checks for finding in check(subject)]
    assert [finding.level for finding in found] == ["ok", "ok", "ok"]
    assert found[2].found == "6 of 6 answers ended within 200 tokens"


def test_the_loss_is_that_of_the_answers(sound_home: Path) -> None:
    """Against the scorer that `belle evaluate` uses."""
    from belle.inference.transformers_backend import TransformersBackend

    subject = opened(sound_home / "merged")
    scores = TransformersBackend(subject.model, subject.tokenizer, subject.template).score(conversations())
    wanted = sum(score.loss_sum for score in scores) / sum(score.tokens for score in scores)
    (finding,) = check_behaviour.language(subject)
    assert finding.found.startswith(f"{wanted:.2f} nats a token on 12 answers, chance is 5.98")


def test_a_random_model_knows_no_language(tmp_path: Path) -> None:
    for template in ("chatml", None):
        (finding,) = check_behaviour.language(opened(tiny_model_folder(tmp_path / str(template), template=template)))
        assert finding.level == "error"


def test_a_model_that_does_not_talk_is_not_asked_to_stop(tmp_path: Path) -> None:
    subject = opened(tiny_model_folder(tmp_path / "m", template=None))
    assert list(check_behaviour.end_token(subject)) == list(check_behaviour.stops(subject)) == []


@pytest.mark.parametrize(("ended", "level"), [(0, "error"), (2, "warning"), (3, "ok"), (6, "ok")])
def test_some_answers_may_be_long(ended: int, level: str, sound_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from belle.inference.backend import Answer

    def generate(*_: object) -> list[Answer]:
        return [Answer("x", "stop" if n < ended else "length", 1, 1) for n in range(6)]

    monkeypatch.setattr(check_behaviour.TransformersBackend, "generate", generate)
    (finding,) = check_behaviour.stops(opened(sound_home / "merged"))
    assert (finding.level, finding.found) == (level, f"{ended} of 6 answers ended within 200 tokens")


def test_a_question_that_cannot_be_put_is_an_error(sound_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from belle.inference.backend import Answer

    monkeypatch.setattr(check_behaviour.TransformersBackend, "generate", lambda *_: [Answer("", "error", 0, 0, "too long")] * 6)
    (finding,) = check_behaviour.stops(opened(sound_home / "merged"))
    assert (finding.level, finding.found) == ("error", "6 of 6 questions cannot be put to it: too long")


def test_an_untrained_end_is_seen_though_its_row_is_there(sound: Path) -> None:
    def forget(t: dict[str, torch.Tensor]) -> None:
        t[HEAD][5] = 0.01 * torch.randn(64, generator=torch.Generator().manual_seed(0))

    change_weights(sound / "base/model.safetensors", forget)
    (finding,) = check_behaviour.end_token(opened(sound / "base"))
    assert finding.level == "error"
    assert "'<|im_end|>' behind an answer" in finding.found
