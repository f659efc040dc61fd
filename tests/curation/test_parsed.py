from __future__ import annotations

from belle.curation.parsed import Parsed, Piece, Task


def test_tasks_and_the_rest() -> None:
    task = Task("a", "", "b", "", ('"难度": 3',))
    parsed = Parsed(
        (Piece("mark", "###\n"), Piece("task", "...", "", task), Piece("rest", " \n", "x"), Piece("rest", "y", "cut off"))
    )
    assert parsed.tasks == [task]
    assert parsed.rest == [("y", "cut off"), ('"难度": 3', "unknown key")]


def test_a_blank_rest_counts_where_there_is_nothing_else() -> None:
    assert Parsed((Piece("rest", " ", "empty answer"),)).rest == [(" ", "empty answer")]
