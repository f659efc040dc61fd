"""`belle stats`: any format in, a table, a page and a file of figures out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import talk_file

from belle.cli import main
from belle.jsonl import write_rows


def test_figures_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = talk_file(tmp_path / "talk.jsonl", 24)
    main(["stats", str(data), f"output_dir={tmp_path / 'out'}"])
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "out" / "stats.html")
    assert "24 records" in err
    figures = json.loads((tmp_path / "out" / "stats.json").read_text("utf-8"))
    assert figures["records"] == 24
    assert figures["files"] == [[str(data), 24]]
    page = (tmp_path / "out" / "stats.html").read_text("utf-8")
    assert f"belle clean open_clean data.path={data}" in page
    before = (tmp_path / "out" / "stats.json").read_bytes()
    main(["stats", str(data), f"output_dir={tmp_path / 'out'}"])
    assert (tmp_path / "out" / "stats.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "rows", "kind"),
    [
        ("alpaca.json", [{"instruction": "写诗", "input": "", "output": "好"}], "conversation"),
        ("pairs.jsonl", [{"prompt": "写诗", "chosen": "好诗", "rejected": "坏"}], "preference"),
        ("text.jsonl", [{"text": "一段文字，没有别的。"}], "document"),
        ("eval.jsonl", [{"question": "1+1=?", "class": "math", "std_answer": "2"}], "conversation"),
    ],
)
def test_any_format(name: str, rows: list[dict[str, str]], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    write_rows(path, rows)
    monkeypatch.chdir(tmp_path)
    main(["stats", str(path)])
    folder = tmp_path / "runs" / f"stats-{name.split('.')[0]}"
    assert json.loads((folder / "stats.json").read_text("utf-8"))["kinds"] == {kind: 1}


def test_a_bad_row_is_an_error_or_kept_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n{"instruction": 1\n', encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["stats", str(path), f"output_dir={tmp_path / 'out'}"])
    assert stopped.value.code == 2
    assert "bad.jsonl:2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    main(["stats", str(path), f"output_dir={tmp_path / 'out'}", "data.on_error=keep"])
    assert "1 rows were left out, such as" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "stats.json").read_text("utf-8"))["left_out"][0]["source"].endswith("bad.jsonl:2")


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["stats", str(tmp_path / "nowhere.jsonl")])
    assert "nowhere.jsonl" in capsys.readouterr().err


def test_the_plan_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["stats", "a.jsonl", "b.jsonl", "--dry-run"])
    printed = capsys.readouterr().out
    assert "# read a.jsonl, b.jsonl" in printed
    assert "# write stats.html and stats.json to runs/stats-a" in printed


def test_a_sample_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = talk_file(tmp_path / "talk.jsonl", 24)
    main(["stats", str(data), "sample=5", f"output_dir={tmp_path / 'out'}"])
    assert "of a sample of 5" in capsys.readouterr().err
    assert "random sample of 5" in (tmp_path / "out" / "stats.html").read_text("utf-8")


def test_an_empty_answer_is_counted_and_the_rest_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps([{"instruction": "写诗", "output": ""}, {"instruction": "1+1=?", "output": "2"}]), "utf-8")
    main(["stats", str(path), f"output_dir={tmp_path / 'out'}"])
    figures = json.loads((tmp_path / "out" / "stats.json").read_text("utf-8"))
    assert figures["records"] == 1
    assert [row["source"] for row in figures["left_out"]] == [f"{path}:1"]
    assert "1 rows were left out" in capsys.readouterr().err
