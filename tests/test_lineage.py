from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from belle.errors import BelleError
from belle.evaluation.diagram import BOX_HEIGHT, BOX_WIDTH, diagram
from belle.lineage import gather


def test_parents_are_followed_and_come_first(chain: Path) -> None:
    runs = gather([chain / "tuned"])
    found = [(run.name, run.verb, run.depth) for run in runs]
    assert found == [("sft", "sft", 0), ("merged", "merge", 1), ("tuned", "evaluate", 2)]
    assert [parent.name for parent in runs[2].parents] == ["merged"]


def test_a_folder_stands_for_the_runs_in_it(chain: Path) -> None:
    assert sorted(run.name for run in gather([chain])) == ["base", "merged", "sft", "tuned"]


def test_runs_that_were_moved_together_still_find_each_other(chain: Path, tmp_path: Path) -> None:
    moved = shutil.move(chain, tmp_path / "elsewhere")
    runs = gather([Path(moved) / "tuned"])
    assert [(run.name, run.lost) for run in runs] == [("sft", ""), ("merged", ""), ("tuned", "")]


def test_a_parent_that_is_gone_is_named(chain: Path) -> None:
    shutil.rmtree(chain / "merged")
    assert [(run.name, run.lost) for run in gather([chain / "tuned"])] == [("merged", "its folder is gone"), ("tuned", "")]


def test_a_parent_that_was_replaced_is_not_taken_for_the_old_one(chain: Path) -> None:
    shutil.rmtree(chain / "merged")
    shutil.copytree(chain / "sft", chain / "merged")
    lost = gather([chain / "tuned"])[0]
    assert lost.lost == "its folder holds another run by now"
    assert lost.metrics == {}


@pytest.mark.parametrize(("name", "words"), [("nowhere", "is no folder"), ("empty", "holds none")])
def test_no_run_there(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BelleError, match=words):
        gather([tmp_path / name])


def test_boxes_do_not_overlap_and_edges_do_not_cross_boxes(chain: Path) -> None:
    picture = diagram(gather([chain]))
    assert sorted(box.title for box in picture.boxes) == ["base", "data.jsonl", "evaluation.jsonl", "merged", "sft", "tuned"]
    places = sorted((box.x, box.y) for box in picture.boxes)
    for (x1, y1), (x2, y2) in pairwise(places):
        assert x1 != x2 or y2 - y1 >= BOX_HEIGHT
    assert all(0 <= box.x <= picture.width - BOX_WIDTH and 0 <= box.y <= picture.height - BOX_HEIGHT for box in picture.boxes)
    merged = next(box for box in picture.boxes if box.title == "merged")
    past = [edge for edge in picture.edges if "L" in edge]  # from the questions to the tuned evaluation, past two layers
    assert len(past) == 1
    heights = [float(part.split("C")[0].split()[1]) for part in past[0].split("L")[1:]]
    assert all(not merged.y < y < merged.y + BOX_HEIGHT for y in heights[1:])
