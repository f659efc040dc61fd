from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from cleaning import STEPS, clean, data_file, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from belle.curation.shard_work import Work, plan_groups
from belle.curation.shards import shard_path
from belle.errors import BelleError
from belle.records import Document

TEXTS = [
    "你好，世界！", "hello  world", "a", "bad news today", "你好 世界", "春眠不觉晓，处处闻啼鸟。", "HELLO WORLD",
    "这是坏的句子吗？", "one two three", "1 + 1 = ?", "𠀀𠀁是罕见字", "x" * 50, "emoji 👍🏽 here", "another thing entirely",
    "第十五句话在这里",
]  # fmt: skip


def outputs(folder: Path) -> tuple[bytes, bytes, bytes]:
    kept, dropped, scores = ((folder / f"{name}.jsonl").read_bytes() for name in ("kept", "dropped", "scores"))
    return kept, dropped, scores


def test_what_stays_and_what_goes(tmp_path: Path) -> None:
    data = data_file(tmp_path / "d.jsonl", TEXTS)
    _, stages = clean(data, tmp_path / "out")
    # 'a' has 3 characters with its answer '-' and the line break, so that nothing is too short; 50 x and 25 more are too long.
    assert [(s.before, s.after, s.reasons) for s in stages] == [
        (15, 15, {}), (15, 15, {}), (15, 15, {}), (15, 14, {"above at_most": 1}), (14, 12, {"same text": 2}),
        (12, 10, {"forbidden word": 2}), (10, 10, {}), (10, 5, {"not among the longest": 5}),
    ]  # fmt: skip
    assert stages[2].changed == 1
    kept = [row["messages"][0]["content"] for row in rows(tmp_path / "out/kept.jsonl")]
    assert kept == ["hello world", "春眠不觉晓，处处闻啼鸟。", "one two three", "emoji 👍🏽 here", "another thing entirely"]
    dropped = rows(tmp_path / "out/dropped.jsonl")
    assert len(dropped) == 10
    assert [int(row["source"].split(":")[-1]) for row in dropped] == [1, 3, 4, 5, 7, 8, 10, 11, 12, 15], (
        "in the order of the data"
    )
    assert dropped[3] == {
        "source": f"{data}:5", "step": "own_steps:SameText", "reason": "same text", "detail": "0", "of": f"{data}:1",
        "scores": {"own_steps:Length": 8.0},
        "row": {"messages": [{"role": "user", "content": "你好 世界"}, {"role": "assistant", "content": "你好"}]},
    }  # fmt: skip
    assert rows(tmp_path / "out/scores.jsonl")[1] == {
        "source": f"{data}:6", "id": "", "own_steps:Length": 19.0, "own_steps:Script": "zh",
    }  # fmt: skip


def test_examples_show_the_other_record(tmp_path: Path) -> None:
    _, stages = clean(data_file(tmp_path / "d.jsonl", TEXTS), tmp_path / "out", shard=3)
    examples = stages[4].dropped["same text"]
    pairs = [(e["row"]["messages"][0]["content"], e["of_row"]["messages"][0]["content"]) for e in examples]
    assert pairs == [("你好 世界", "你好，世界！"), ("HELLO WORLD", "hello world")]
    assert stages[2].edits == [
        {"source": examples[0]["of"].replace(":1", ":2"), "before": "hello  world", "after": "hello world"}
    ]


words = st.sampled_from(["好", "坏", "a", "bad", "  ", "文字", "!", "𠀀", "long " * 12])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(st.lists(words, min_size=1, max_size=5).map("".join).filter(str.strip), min_size=1, max_size=12),
    shard=st.integers(1, 14),
    order=st.permutations(STEPS[:-1]),
)
def test_shards_play_no_part(texts: list[str], shard: int, order: list[object]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = data_file(folder / "d.jsonl", texts)
        steps = [*order, STEPS[-1]]
        results = []
        for size in (100, shard):
            _, stages = clean(data, folder / str(size), steps, size)
            results.append((outputs(folder / str(size)), [(s.after, s.reasons, s.values, s.edits, s.dropped) for s in stages]))
        assert results[0] == results[1]
        assert len(rows(folder / "100/kept.jsonl")) + len(rows(folder / "100/dropped.jsonl")) == len(texts)


def test_a_killed_run_goes_on_and_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_file(tmp_path / "d.jsonl", TEXTS)
    clean(data, tmp_path / "whole")
    calls = []

    class Killed(BaseException):
        pass

    original = Work.__call__

    def dying(self: Work, shard: int) -> dict[str, object]:
        if not shard_path(self.work / self.group.folder, shard).exists():
            calls.append((self.group.number, shard))
            if len(calls) % 3 == 0:
                raise Killed
        return original(self, shard)

    monkeypatch.setattr(Work, "__call__", dying)
    deaths = 0
    while True:
        try:
            clean(data, tmp_path / "killed")
            break
        except Killed:
            deaths += 1
    assert deaths > 3
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "whole")


def test_finished_shards_are_not_worked_on_again(tmp_path: Path) -> None:
    data = data_file(tmp_path / "d.jsonl", TEXTS)
    clean(data, tmp_path / "out")
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/work").rglob("*") if p.is_file()}
    clean(data, tmp_path / "out")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out/work").rglob("*") if p.is_file()} == files


def test_malformed_rows_are_kept_with_their_reason(tmp_path: Path) -> None:
    data = data_file(tmp_path / "d.jsonl", TEXTS[:3])
    data.write_text(data.read_text() + '{"messages": []}\n{"broken\n' + data.read_text().splitlines()[0] + "\n")
    with pytest.raises(BelleError, match=r"d\.jsonl:4"):
        clean(data, tmp_path / "stop")
    assert not (tmp_path / "stop/work/00").exists()
    _, stages = clean(data, tmp_path / "out", [], shard=2, on_error="keep")
    assert (stages[0].before, stages[0].after, stages[0].reasons) == (6, 4, {"malformed": 2})
    assert len(rows(tmp_path / "out/kept.jsonl")) == 4
    dropped = rows(tmp_path / "out/dropped.jsonl")
    assert [(row["source"].split(":")[-1], row["step"], row["reason"]) for row in dropped] == [
        ("4", "read", "malformed"), ("5", "read", "malformed"),
    ]  # fmt: skip
    assert "broken JSON" in dropped[1]["detail"]
    assert dropped[1]["row"].strip() == '{"broken'


def test_a_row_with_an_empty_turn_does_not_stop_the_cleaning(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"instruction": "问", "output": " "}\n{"instruction": "问", "output": "答"}\n', encoding="utf-8")
    _, stages = clean(path, tmp_path / "out", [])
    assert (stages[0].before, stages[0].after, stages[0].reasons) == (2, 1, {"empty": 1})
    assert rows(tmp_path / "out/dropped.jsonl") == [{
        "source": f"{path}:1", "step": "read", "reason": "empty", "row": {"instruction": "问", "output": " "},
        "detail": "output is empty, where a turn of the assistant must stand",
    }]  # fmt: skip


def test_documents_are_cleaned_too(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(
        '{"text": "  "}\n{"text": "文  章"}\n{"text": "文章"}\n{"text": "另一篇"}\n', encoding="utf-8"
    )
    steps = ["own_steps:single_spaces", "own_steps:SameText"]
    _, stages = clean(tmp_path / "d.jsonl", tmp_path / "out", steps, kind=Document, shard=2, on_error="keep")
    assert rows(tmp_path / "out/kept.jsonl") == [{"text": "文 章"}, {"text": "另一篇"}]
    assert stages[-1].reasons == {"same text": 1}


@pytest.mark.parametrize(("step", "message"), [
    ("own_steps:breaks", r"d\.jsonl:1: step own_steps:breaks failed: ZeroDivisionError"),
    ("own_steps:says_true", r"d\.jsonl:1: step own_steps:says_true returned True"),
    ("own_steps:refuses", r"d\.jsonl:1: step own_steps:refuses: the endpoint is gone"),
    ("own_steps:TooFewScores", r"step own_steps:TooFewScores: 0 scores for 1 records"),
    ("own_steps:Twice", r"step own_steps:Twice: a position was decided twice"),
    ("own_steps:Outside", r"step own_steps:Outside: a position is none of 0 \.\. 0"),
    ("own_steps:OfItself", r"step own_steps:OfItself: position 0 goes because of 0"),
    ("own_steps:TooFewRows", r"step own_steps:TooFewRows: prepared 0 rows for 1 records"),
])  # fmt: skip
def test_a_fault_in_a_step_of_ones_own_names_it(tmp_path: Path, step: str, message: str) -> None:
    data = data_file(tmp_path / "d.jsonl", ["第二"])
    with pytest.raises(BelleError, match=message):
        clean(data, tmp_path / "out", [step])


def test_a_full_disk_says_so_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_file(tmp_path / "d.jsonl", TEXTS)
    clean(data, tmp_path / "whole")
    import belle.jsonl

    real, count = belle.jsonl.dumps, iter(range(10**6))

    def full(row: object) -> str:
        if next(count) == 70:
            raise OSError(28, "No space left on device")
        return real(row)

    monkeypatch.setattr(belle.jsonl, "dumps", full)
    with pytest.raises(BelleError, match="No space left on device"):
        clean(data, tmp_path / "out")
    clean(data, tmp_path / "out")
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def test_steps_are_cut_into_groups_where_all_records_must_be_seen() -> None:
    from cleaning import specs_of

    groups = [[spec.name.split(":")[1] for spec in group.specs] for group in plan_groups(specs_of(STEPS))]
    assert groups == [["too_short", "single_spaces", "Length"], ["SameText", "Forbidden"], ["Script"], ["Longest"]]
    assert [group.alone for group in plan_groups(specs_of(STEPS))] == [False, False, True, False]
    assert [group.specs for group in plan_groups(())] == [()]


def test_nothing_but_places_stays_in_memory(tmp_path: Path) -> None:
    """Ten times the records must not take ten times the memory."""
    import tracemalloc

    peaks = []
    for count in (200, 2000):
        data = data_file(tmp_path / f"{count}.jsonl", [f"句子 {i} " + "字" * 1000 for i in range(count)])
        tracemalloc.start()
        clean(data, tmp_path / str(count), ["own_steps:too_short", "own_steps:SameText"], shard=50)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        shutil.rmtree(tmp_path / str(count))
    assert peaks[1] < 2 * peaks[0]
