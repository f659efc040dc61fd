"""safetensors files without torch: what the format's own writer writes is read, what is hostile is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from belle.errors import BelleError
from belle.models.weights import Weights, WeightsFile, parse_header


def entry(start: int, end: int, shape: list[Any] | None = None, dtype: str = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


def file_of(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_tensors_are_those_of_the_formats_own_writer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {
        "权重": torch.randn(3, 5), "half": torch.randn(7).half(), "brain": torch.randn(2, 2).bfloat16(),
        "none": torch.empty(0, 4), "flags": torch.tensor([True, False]), "one": torch.tensor(3),
        "eight": torch.randn(4).to(torch.float8_e4m3fn),
    }  # fmt: skip
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    file = WeightsFile(tmp_path / "model.safetensors")
    assert file.metadata == {"format": "pt"}
    assert set(file.entries) == set(tensors)
    for name, tensor in tensors.items():
        assert file.entries[name].shape == tuple(tensor.shape)
        bits = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        assert file.raw(name).tobytes() == bits
    for name in ("权重", "half", "none", "flags", "one"):
        np.testing.assert_array_equal(file.values(name), tensors[name].numpy())
    np.testing.assert_array_equal(file.values("brain"), tensors["brain"].float().numpy())
    with pytest.raises(BelleError, match="'eight' has the type F8_E4M3"):
        file.values("eight")


HOSTILE: dict[str, tuple[object, bytes, str]] = {
    "a hole": ({"a": entry(0, 2), "b": entry(3, 4)}, bytes(4), "'b' stands behind a hole"),
    "an overlap": ({"a": entry(0, 2), "b": entry(1, 3)}, bytes(3), "'b' overlaps the tensor before it"),
    "the same bytes twice": ({"a": entry(0, 2), "b": entry(0, 2)}, bytes(2), "'b' overlaps"),
    "truncated": ({"a": entry(0, 9)}, bytes(5), "is truncated: its tensors take 9 bytes, 5 are there"),
    "too long": ({"a": entry(0, 2)}, bytes(5), "3 bytes at its end belong to no tensor"),
    "another size": ({"a": entry(0, 2, [4])}, bytes(2), "takes 4 bytes, its offsets span 2"),
    "backwards": ({"a": entry(2, 0, [0])}, bytes(2), "offsets span -2"),
    "a negative offset": ({"a": {"dtype": "U8", "shape": [2], "data_offsets": [-1, 1]}}, b"x", "is no list of sizes"),
    "an endless shape": ({"a": entry(0, 1, [1 << 62, 1 << 62])}, b"x", "takes 2.12676e\\+37 bytes"),
    "too large a number": ({"a": entry(0, 1, [1 << 63])}, b"x", "is no list of sizes"),
    "a true shape": ({"a": entry(0, 1, [True])}, b"x", "is no list of sizes"),
    "an unknown type": ({"a": entry(0, 1, dtype="Q3")}, b"x", "unknown type 'Q3'"),
    "a type that is none": ({"a": {"dtype": ["U8"], "shape": [1], "data_offsets": [0, 1]}}, b"x", "unknown type"),
    "half an element": ({"a": entry(0, 1, [3], "F4")}, b"x", "takes 1.5 bytes"),
    "more fields": ({"a": {**entry(0, 1), "x": 1}}, b"x", "exactly dtype, shape and data_offsets"),
    "a list": ([1], b"", "its header is no object"),
    "no JSON": (b"{", b"", "its header is broken"),
    "no UTF-8": (b'{"\xff": 1}', b"", "its header is broken"),
    "twice": (b'{"a": 1, "a": 2}', b"", "'a' stands there twice"),
    "deep": (b"[" * 99999, b"", "its header is broken"),
    "half a character": (b'{"\\ud800": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}', b"", "its name is no text"),
    "metadata": ({"__metadata__": {"a": 1}}, b"", "does not map text to text"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_an_error(name: str, tmp_path: Path) -> None:
    header, data, expected = HOSTILE[name]
    with pytest.raises(BelleError, match=expected):
        WeightsFile(file_of(tmp_path / "m.safetensors", header, data))


@pytest.mark.parametrize(("content", "expected"), [
    (b"", "ends within its header, after 0 bytes"), (b"\x08\0\0", "ends within its header"),
    (b"\x08" + bytes(7) + b"{}", "ends within"), (b"<html>..." * 9, "is no safetensors file"),
    (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
])  # fmt: skip
def test_a_file_that_is_something_else(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(BelleError, match=expected):
        WeightsFile(tmp_path / "m.safetensors")


@settings(max_examples=150, deadline=None)
@given(header=st.one_of(
    st.binary(max_size=60),
    st.dictionaries(st.text(max_size=3), st.fixed_dictionaries({
        "dtype": st.sampled_from(["U8", "F16", "I64", "?"]), "shape": st.lists(st.integers(-1, 4), max_size=2),
        "data_offsets": st.lists(st.integers(-1, 9), min_size=1, max_size=3),
    }), max_size=2).map(lambda value: json.dumps(value).encode()),
), size=st.integers(0, 9))  # fmt: skip
def test_what_we_take_the_formats_own_reader_takes(tmp_path_factory: pytest.TempPathFactory, header: bytes, size: int) -> None:
    try:
        entries, _ = parse_header(header, size, "x")
    except BelleError:
        return
    path = tmp_path_factory.mktemp("case") / "m.safetensors"
    try:
        with safe_open(file_of(path, header, bytes(size)), framework="np") as file:
            assert set(file.keys()) == set(entries)
    except SafetensorError as error:
        pytest.fail(f"{header!r}: {error}")


def shards(folder: Path, **change: object) -> Path:
    folder.mkdir()
    save_file({"a": torch.ones(2), "b": torch.ones(3)}, folder / "model-00001-of-00002.safetensors")
    save_file({"c": torch.ones(4)}, folder / "model-00002-of-00002.safetensors")
    places: dict[str, object] = {"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00002.safetensors",
                                 "c": "model-00002-of-00002.safetensors", **change}  # fmt: skip
    value = {"metadata": {}, "weight_map": {name: place for name, place in places.items() if place is not None}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(value))
    return folder


def test_shards_are_one_model(tmp_path: Path) -> None:
    folder = shards(tmp_path / "m")
    save_file({"a": torch.zeros(9)}, folder / "consolidated.safetensors")  # not in the index: not the model's
    weights = Weights(folder)
    assert sorted(weights) == ["a", "b", "c"]
    assert weights.entry("c").shape == (4,)
    assert weights.values("b").tolist() == [1, 1, 1]
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(BelleError, match=r"'a' stands in .*consolidated.* and .*model-00001"):
        Weights(folder)


@pytest.mark.parametrize(("change", "expected"), [
    ({"d": "model-00002-of-00002.safetensors"}, "lacks tensor 'd'"), ({"c": None}, "model-00002|'c'"),
    ({"c": "model-00001-of-00002.safetensors"}, "lacks tensor 'c'"),
    ({"c": "model-00003.safetensors"}, "model-00003.safetensors' is missing"),
    ({"c": "../x.safetensors"}, "names the file '../x.safetensors'"), ({"c": 3}, "no weight_map of names"),
])  # fmt: skip
def test_an_index_that_does_not_fit(change: dict[str, object], expected: str, tmp_path: Path) -> None:
    folder = shards(tmp_path / "m", **change)
    if change == {"c": None}:  # a shard that no tensor is put in is not opened
        assert sorted(Weights(folder)) == ["a", "b"]
        return
    with pytest.raises(BelleError, match=expected):
        Weights(folder)


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    path = shards(tmp_path / "m") / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BelleError, match=r"model-00002-of-00002.safetensors is truncated: .* 16 bytes, 13 are there"):
        Weights(tmp_path / "m")


def test_an_empty_folder_holds_no_weights(tmp_path: Path) -> None:
    with pytest.raises(BelleError, match="holds no safetensors file"):
        Weights(tmp_path)


def test_it_needs_no_torch() -> None:
    code = "import sys, belle.models.weights, belle.release.tensor_diff, belle.commands.diff; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
