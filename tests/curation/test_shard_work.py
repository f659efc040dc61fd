from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from cleaning import STEPS, clean, data_file, specs_of

from belle.curation.pipeline import READ
from belle.curation.shard_work import Group, Prepare, Work, forget_steps, lot, plan_groups, step_context
from belle.curation.shards import read_dropped, read_kept, read_summary, shard_path
from belle.curation.steps import Context


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The work folder of a cleaning that has read six records in shards of four."""
    clean(data_file(tmp_path / "d.jsonl", ["一二三四", "a  b", "坏的", "甲", "bad", "x" * 70]), tmp_path / "out", [])
    forget_steps()
    return tmp_path / "out/work"


def first_group() -> Group:
    return plan_groups(specs_of(STEPS))[0]


def test_a_shard_is_written_whole_with_its_summary(work: Path) -> None:
    (work / "01").rename(work / "unused")
    task = Work(work, first_group(), Context(), 0, 2, first=True, last=False)
    summary = task(1)
    assert summary == read_summary(shard_path(work / "01", 1))
    assert (summary["in"], summary["kept"]) == (2, 1)
    assert [(step["step"], step["in"], step["out"], step["reasons"]) for step in summary["steps"]] == [
        ("own_steps:too_short", 2, 2, {}), ("own_steps:single_spaces", 2, 2, {}),
        ("own_steps:Length", 2, 1, {"above at_most": 1}),
    ]  # fmt: skip
    assert [item.index for item in read_kept(shard_path(work / "01", 1))] == [4]
    ((index, row, of),) = read_dropped(shard_path(work / "01", 1))
    assert (index, of, row["step"], row["reason"]) == (5, -1, "own_steps:Length", "above at_most")
    assert row["detail"] == "own_steps:Length is 106, at_most is 60"
    assert row["scores"] == {"own_steps:Length": 106.0}


def test_a_shard_that_is_there_is_not_done_again(work: Path) -> None:
    (work / "01").rename(work / "unused")
    task = Work(work, first_group(), Context(), 0, 2, first=True, last=False)
    task(0)
    path = shard_path(work / "01", 0)
    lines = path.read_bytes()
    shard_path(work / READ, 0).unlink()  # it would have to be read
    assert task(0) == read_summary(path)
    assert path.read_bytes() == lines


def test_tasks_travel_to_other_processes(work: Path) -> None:
    groups = plan_groups(specs_of(STEPS))
    for task in (Work(work, groups[0], Context(), 0, 2, True, False), Prepare(work, groups[1], Context())):
        assert pickle.loads(pickle.dumps(task)) == task


def test_an_array_is_prepared_once(work: Path) -> None:
    (work / "01").rename(work / "unused")
    groups = plan_groups(specs_of(STEPS))
    for shard in (0, 1):
        Work(work, groups[0], Context(), 0, 2, True, False)(shard)
    prepare = Prepare(work, groups[1], Context())
    assert prepare(0)["in"] == 4
    before = prepare.path(0).stat().st_mtime_ns
    assert prepare(0) == {"in": 4, "seconds": 0.0}
    assert prepare.path(0).stat().st_mtime_ns == before


def test_lots_are_the_same_everywhere_and_differ_by_step() -> None:
    assert lot(0, "empty", 7) == 279969387772487
    assert len({lot(seed, step, n) for seed in range(3) for step in ("a", "b") for n in range(50)}) == 300


def test_each_step_has_a_folder_of_its_own(tmp_path: Path) -> None:
    first, *_, last = specs_of(STEPS)
    assert step_context(Context(tmp_path), first).folder == tmp_path / "01-too_short"
    assert step_context(Context(tmp_path), last).folder == tmp_path / "07-Longest"
    assert step_context(Context(), first).folder is None
