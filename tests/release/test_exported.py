from __future__ import annotations

from pathlib import Path

import pytest

from belle.errors import BelleError
from belle.release.exported import Exported, gguf_files, value


def test_a_folder_a_file_or_nothing(tmp_path: Path, sound_home: Path) -> None:
    for name in ("b.gguf", "a.gguf", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in gguf_files(str(tmp_path))] == ["a.gguf", "b.gguf"]
    assert gguf_files(str(tmp_path / "b.gguf")) == [tmp_path / "b.gguf"]
    assert gguf_files(str(tmp_path / "c.txt")) == gguf_files("owner/name") == gguf_files(str(sound_home / "merged")) == []
    assert Exported.find(str(sound_home / "merged")) is None
    (tmp_path / "config.json").write_text("{}")
    assert gguf_files(str(tmp_path)) == [], "a model's own folder is looked at as a model"


def test_what_is_no_gguf_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    found = Exported.find(str(tmp_path))
    assert found is not None
    assert (found.source, found.chain, found.run) == (None, [], None)
    with pytest.raises(BelleError, match=r"a.gguf is truncated or no GGUF file"):
        _ = found.readers


def test_a_value_that_is_not_there_is_none(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_string("a.b", "你好")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    found = Exported.find(str(tmp_path / "a.gguf"))
    assert found is not None
    (reader,) = found.wholes.values()
    assert (value(reader, "a.b"), value(reader, "x")) == ("你好", None)
