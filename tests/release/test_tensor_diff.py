"""The delta of tensors: byte for byte what it was made from, only with the right base, however that is cut into files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from belle.errors import BelleError
from belle.release import tensor_diff
from belle.release.diff_manifest import MANIFEST, TensorManifest, read_manifest
from belle.release.tensor_diff import Comparison, Made, Restoration

Tensors = dict[str, np.ndarray[Any, Any]]


def base_tensors() -> Tensors:
    rng = np.random.default_rng(0)
    return {
        "embed": rng.normal(size=(7, 4)).astype(np.float16), "same": rng.normal(size=9).astype(np.float32),
        "odd": np.arange(5, dtype=np.int8), "norm": np.ones(3, np.float64),
    }  # fmt: skip


def tuned_tensors() -> Tensors:
    base = base_tensors()
    grown = np.concatenate([base["embed"], np.zeros((1, 4), np.float16)])
    head = np.ones((2, 2), np.uint8)
    return {"embed": grown, "same": base["same"], "odd": base["odd"] + 1, "norm": base["norm"] * np.nan, "head": head}


def model(folder: Path, *shards: Tensors, **files: bytes) -> Path:
    folder.mkdir(parents=True)
    for i, tensors in enumerate(shards):
        save_file(tensors, folder / f"part-{i}.safetensors", metadata={"format": "pt"})
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def made(base: Path, tuned: Path, out: Path) -> Made:
    return Comparison(base, tuned).write(out, None, lambda count: None)[1]


def restored(base: Path, out: Path, target: Path) -> tuple[int, int]:
    manifest = read_manifest(out)
    assert isinstance(manifest, TensorManifest)
    both = Restoration(manifest, base, out)
    both.check_base(None, lambda count: None)
    return both.write(target, None, lambda count: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return model(tmp_path / "base", base_tensors())


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    return model(tmp_path / "tuned", tuned_tensors(), **{"config.json": b'{"a": 1}', "tokenizer.json": "词表".encode()})


def test_it_comes_back_byte_for_byte(base: Path, tuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    counts = made(base, tuned, out)
    assert (counts.same, counts.xor, counts.whole, counts.kept) == (1, 2, 2, 0)
    assert restored(base, out, tmp_path / "restored") == (1, 0)
    assert contents(tmp_path / "restored") == contents(tuned)
    assert restored(base, out, tmp_path / "restored") == (0, 1)


def test_the_delta_is_an_ordinary_file_of_xor_bits(base: Path, tuned: Path, tmp_path: Path) -> None:
    made(base, tuned, tmp_path / "out")
    delta, old, new = load_file(tmp_path / "out" / "part-0.delta.safetensors"), base_tensors(), tuned_tensors()
    assert sorted(delta) == ["embed", "head", "norm", "odd"]
    np.testing.assert_array_equal(delta["norm"], old["norm"].view(np.uint64) ^ new["norm"].view(np.uint64))
    np.testing.assert_array_equal(delta["odd"], old["odd"].view(np.uint8) ^ new["odd"].view(np.uint8))
    np.testing.assert_array_equal(delta["embed"], new["embed"])


def test_how_the_base_is_cut_does_not_matter(base: Path, tuned: Path, tmp_path: Path) -> None:
    made(base, tuned, tmp_path / "out")
    tensors = base_tensors()
    cut = model(tmp_path / "cut", {"norm": tensors["norm"], "odd": tensors["odd"]}, {"same": tensors["same"]})
    restored(cut, tmp_path / "out", tmp_path / "restored")
    assert contents(tmp_path / "restored") == contents(tuned)


def test_shards_and_subfolders(base: Path, tmp_path: Path) -> None:
    new = tuned_tensors()
    tuned = model(tmp_path / "tuned", {"odd": new["odd"]}, {"norm": new["norm"]})
    model(tuned / "sub", {"embed": new["embed"]})
    made(base, tuned, tmp_path / "out")
    restored(base, tmp_path / "out", tmp_path / "restored")
    assert contents(tmp_path / "restored") == contents(tuned)


@pytest.mark.parametrize(("change", "expected"), [
    ({"odd": np.arange(5, dtype=np.int8) * 2}, "wrong base: tensor 'odd' has sha256"),
    ({"same": np.zeros(9, np.float32)}, "wrong base: tensor 'same' has sha256"),
    ({"norm": np.ones(4)}, r"wrong base: tensor 'norm' is F64 \[3\] in the diff, here F64 \[4\]"),
    ({"norm": None}, "wrong base: tensor 'norm' is F64 .* here none of that name"),
])  # fmt: skip
def test_a_wrong_base_is_named_by_tensor_and_nothing_is_written(
    change: Tensors, expected: str, base: Path, tuned: Path, tmp_path: Path
) -> None:
    made(base, tuned, tmp_path / "out")
    tensors = {name: tensor for name, tensor in {**base_tensors(), **change}.items() if tensor is not None}
    with pytest.raises(BelleError, match=expected):
        restored(model(tmp_path / "other", tensors), tmp_path / "out", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["part-0.delta.safetensors", "tokenizer.json"])
def test_a_damaged_or_missing_file_is_named(name: str, base: Path, tuned: Path, tmp_path: Path) -> None:
    out, target = tmp_path / "out", tmp_path / "restored"
    made(base, tuned, out)
    damage(out / name)
    with pytest.raises(BelleError, match=f"{name}.* has another sha256"):
        restored(base, out, target)
    assert not (target / "part-0.safetensors").exists()
    (out / name).write_bytes((out / name).read_bytes()[:-2])
    with pytest.raises(BelleError, match=f"{name}.* (is truncated|has 4 bytes)"):
        restored(base, out, target)
    (out / name).unlink()
    with pytest.raises(BelleError, match=f"{name}.* is missing"):
        restored(base, out, target)


def changed_manifest(out: Path, **change: object) -> None:
    value = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    value["weights"][0].update(change)
    (out / MANIFEST).write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize(("change", "expected"), [
    ({"sha256": "0" * 64}, "came out with sha256"), ({"header": "{}"}, "belong to no tensor"), ({"size": 3}, "is truncated"),
    ({"tensors": {}}, "disagree about 'embed'"), ({"delta": "config.json"}, "config.json"),
])  # fmt: skip
def test_a_manifest_that_lies(change: dict[str, object], expected: str, base: Path, tuned: Path, tmp_path: Path) -> None:
    made(base, tuned, tmp_path / "out")
    changed_manifest(tmp_path / "out", **change)
    with pytest.raises(BelleError, match=expected):
        restored(base, tmp_path / "out", tmp_path / "restored")
    assert not (tmp_path / "restored" / "part-0.safetensors").exists()


def test_an_earlier_delta_is_kept_only_if_it_is_this_one(base: Path, tuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made(base, tuned, out)
    assert made(base, tuned, out).kept == 1
    save_file({**tuned_tensors(), "odd": np.zeros(5, np.int8)}, tuned / "part-0.safetensors")
    assert made(base, tuned, out).kept == 0
    restored(base, out, tmp_path / "restored")
    assert contents(tmp_path / "restored") == contents(tuned)


def test_what_would_give_the_model_away_is_not_copied(base: Path, tuned: Path, tmp_path: Path) -> None:
    (tuned / "pytorch_model.bin").write_bytes(b"all the weights")
    made(base, tuned, tmp_path / "out")
    assert "pytorch_model.bin" not in contents(tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert [one.name for one in manifest.left_out] == ["pytorch_model.bin"]


def test_models_that_have_nothing_in_common(base: Path, tmp_path: Path) -> None:
    with pytest.raises(BelleError, match="no tensor in common"):
        Comparison(base, model(tmp_path / "other", {"x": np.ones(3)}))
    with pytest.raises(BelleError, match="holds no safetensors file"):
        Comparison(base, model(tmp_path / "third", **{"model.bin": b"x"}))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_tensors_come_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = st.lists(st.integers(0, 3), max_size=2)
    dtype = st.sampled_from([np.uint8, np.int16, np.float32, np.int64, np.bool_])
    names = st.sampled_from(["a", "b", "层.0", "d"])

    def tensors() -> Tensors:
        kinds = data.draw(st.dictionaries(names, st.tuples(shape, dtype, st.integers(0, 2)), max_size=4))
        return {"anchor": np.ones(1), **{name: np.full(size, value, kind) for name, (size, kind, value) in kinds.items()}}

    folder = tmp_path_factory.mktemp("case")
    base, tuned = model(folder / "base", tensors()), model(folder / "tuned", tensors())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tensor_diff, "BLOCK", 3)
        made(base, tuned, folder / "out")
        restored(base, folder / "out", folder / "restored")
    assert contents(folder / "restored") == contents(tuned)
