from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.items import Item
from belle.curation.shards import (
    OPEN_FILES,
    Prepared,
    ShardItems,
    decode_record,
    read_dropped,
    read_kept,
    read_summary,
    shard_count,
    shard_path,
    write_array,
    write_shard,
)
from belle.errors import BelleError
from belle.records import Conversation, Document, Message, Source, ToolCall, record_dict

ALL = Conversation(
    (
        Message("system", "你是助手。\u2028"), Message("user", "天气？𠀀"),
        Message("assistant", "", (ToolCall("weather", '{"city": "北京"}', "c1"),), False), Message("tool", '{"t": 3}'),
        Message("assistant", "三度。"),
    ),
    ({"type": "function", "function": {"name": "weather"}},), "id-1", "open_qa", "zh", True, Source("d/a.jsonl", 7),
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def shards(folder: Path, sizes: list[int]) -> list[Item]:
    items = [Item(2 * n, Document(f"第{n}", source=Source("a", n)), {"x": float(n)}) for n in range(sum(sizes))]
    at = 0
    for number, size in enumerate(sizes):
        write_shard(shard_path(folder, number), {"kept": size}, items[at : at + size])
        at += size
    return items


def test_a_shard_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "00000.jsonl"
    kept = [Item(3, ALL, {"a": 1.5, "b": "zh", "c": float("nan")}), Item(8, Document("文\n章", "i", "k", Source("b", 2)))]
    gone = [(4, {"source": "a:5", "row": {"messages": []}}, -1), (9, {"source": "a:10", "row": 'a "kept" line'}, 6)]
    write_shard(path, {"in": 4, "kept": 2}, kept, gone)
    assert read_summary(path) == {"in": 4, "kept": 2}
    first, second = read_kept(path)
    assert (first.index, first.record, first.record.source) == (3, ALL, ALL.source)
    assert (first.scores["a"], first.scores["b"], str(first.scores["c"])) == (1.5, "zh", "nan")
    assert second == kept[1]
    assert list(read_dropped(path)) == gone


@given(system=texts, asked=texts, said=texts, number=st.integers(1, 10**9))
def test_any_text_survives(system: str, asked: str, said: str, number: int) -> None:
    turns = (Message("system", system), Message("user", asked), Message("assistant", said))
    record = Conversation(turns, source=Source(asked, number))
    assert decode_record("c", json.loads(json.dumps(record_dict(record))), record.source) == record


def test_items_are_found_by_position(tmp_path: Path) -> None:
    items = shards(tmp_path, [3, 0, 4, 1])
    found = ShardItems(tmp_path)
    assert len(found) == 8
    assert list(found) == items
    assert [found[p] for p in (7, 0, 3, 2, 6, 3)] == [items[p] for p in (7, 0, 3, 2, 6, 3)]
    assert found[-1] == items[7]
    assert found.starts.tolist() == [0, 3, 3, 7, 8]
    for outside in (8, -9):
        with pytest.raises(IndexError):
            found[outside]
    found.close()
    assert found[5] == items[5], "it opens again when it is asked"


def test_few_files_are_open_at_once(tmp_path: Path) -> None:
    items = shards(tmp_path, [1] * (OPEN_FILES + 10))
    found = ShardItems(tmp_path)
    assert [found[p] for p in range(len(items))] == items
    assert len(found._files) == OPEN_FILES


def test_a_column_by_its_name(tmp_path: Path) -> None:
    shards(tmp_path, [2, 1])
    assert ShardItems(tmp_path).column("x") == [0.0, 1.0, 2.0]
    with pytest.raises(BelleError, match="no score 'y'"):
        ShardItems(tmp_path).column("y")


def test_arrays_are_read_anew_and_never_unpickled(tmp_path: Path) -> None:
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for n, path in enumerate(paths):
        write_array(path, np.full((2, 3), n, np.uint8))
    prepared = Prepared(paths)
    assert [array.tolist() for array in prepared] == [array.tolist() for array in prepared] == [[[0] * 3] * 2, [[1] * 3] * 2]
    with pytest.raises(ValueError, match="Object arrays"):
        write_array(tmp_path / "c.npy", np.array([object()]))
    assert not (tmp_path / "c.npy").exists()


def test_only_shards_are_counted(tmp_path: Path) -> None:
    shards(tmp_path, [1, 1])
    (tmp_path / "read.json").write_text("{}")
    (tmp_path / ".00002.jsonl.part").write_text("")
    assert shard_count(tmp_path) == 2
