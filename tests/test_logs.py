"""What a person sees, and that texts come out as they went in."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from belle import logs

ODD = ["[bold]x[/]", "[/x]", "C:\\[x]", "path\\", ":smile: :warning:", "a [1, 2]", "\\[", "[link=x]"]


@pytest.mark.parametrize("text", ODD)
def test_texts_are_shown_as_they_are(capsys: pytest.CaptureFixture[str], text: str) -> None:
    logs.say(text)
    logs.warn(text)
    logs.title(text)
    logs.out(text)
    printed = capsys.readouterr()
    assert printed.err == f"{text}\nwarning: {text}\n\n== {text}\n"
    assert printed.out == f"{text}\n"


@given(st.text(st.characters(categories=["L", "P", "S"]), max_size=30))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(logs, "console", lambda: Console(file=stream, highlight=False, soft_wrap=True, emoji=False))
        logs.say(text)
        logs.warn(text)
    assert stream.getvalue() == f"{text}\nwarning: {text}\n"


@pytest.mark.parametrize("text", ODD)
def test_tables_show_cells_as_they_are(capsys: pytest.CaptureFixture[str], text: str) -> None:
    logs.table([text, "n"], [[text, 1]], caption=text)
    assert capsys.readouterr().err.count(text) == 3


def test_tables_align_numbers_right_and_count_wide_characters_twice(capsys: pytest.CaptureFixture[str]) -> None:
    logs.table(["class", "n", "note"], [["数学", 5, "a"], ["rewrite", 123, "bb"]])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip() and "─" not in line]
    ends = [cell_len(line[: line.index(number) + len(number)]) for line, number in zip(lines, ["n", "5", "123"], strict=True)]
    assert len(set(ends)) == 1
    starts = [cell_len(line[: line.rindex(word)]) for line, word in zip(lines, ["note", "a", "bb"], strict=True)]
    assert len(set(starts)) == 1


def test_an_empty_table_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    logs.table(["class", "n"], [])
    assert "class" in capsys.readouterr().err


def test_a_step_tells_how_long_it_took(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 11.25])
    monkeypatch.setattr(logs.time, "monotonic", lambda: next(clock))
    with logs.doing("loaded [x]"):
        pass
    assert capsys.readouterr().err == "loaded [x] (1.2 s)\n"


def test_a_bar_in_a_log_file_is_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    with logs.Bar("training", 10) as bar:
        bar.skip(2)
        for _ in range(8):
            now += 4
            bar.step(note="loss [1]")
    assert capsys.readouterr().err.splitlines() == [
        "training: 5/10, 20 s left  loss [1]",  # 12 s for 3 steps of this run, 5 to go
        "training: 8/10, 8 s left  loss [1]",
        "training: 10/10 in 32.0 s",
    ]


def test_a_bar_that_fails_does_not_say_that_it_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), logs.Bar("training", 2) as bar:  # noqa: PT012
        bar.step()
        raise ValueError
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=120, emoji=False)
    monkeypatch.setattr(logs, "console", lambda: terminal)
    with logs.Bar("training [x]", 4) as bar:
        bar.skip(1)
        bar.step(3, "loss [1.5] :smile:")
    shown = stream.getvalue()
    assert "training [x]" in shown
    assert "4/4" in shown
    assert "loss [1.5] :smile:" in shown
