"""Reading rows: every kind of file gives the same rows, and every fault of a file one error with its line."""

from __future__ import annotations

import builtins
import gzip
import json
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from belle.data.rows import Row, read, read_hub, readable
from belle.errors import BelleError
from belle.records import Source

ROWS = [{"q": "你好", "a": 'a\u2028b, "c"\nd'}, {"q": "x", "a": ""}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
TABLE = 'q,a\n你好,"a\u2028b, ""c""\nd"\nx,\n'


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def rows(path: Path, counts: Counter[str] | None = None) -> list[tuple[Row, int]]:
    return [(row, source.line) for row, source in read(path, counts)]


def fault(path: Path) -> str:
    with pytest.raises(BelleError) as caught:
        list(read(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "lines"),
    [
        ("a.jsonl", LINES, [1, 2]),
        ("a.json", LINES, [1, 2]),
        ("a.ndjson", "\n" + LINES.replace("\n", "\n \n"), [2, 4]),
        ("a.json", json.dumps(ROWS), [1, 1]),
        ("a.json", json.dumps(ROWS, ensure_ascii=False, indent=2), [2, 6]),
        ("a.jsonl", " \n\n" + json.dumps(ROWS, indent=2), [4, 8]),
        ("A.JSONL", LINES, [1, 2]),
        ("a.csv", TABLE, [2, 4]),
        ("a.tsv", TABLE.replace(",", "\t").replace("b\t", "b,"), [2, 4]),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("bom", [False, True])
@pytest.mark.parametrize("crlf", [False, True])
def test_every_kind_of_file_gives_the_same_rows(
    tmp_path: Path, name: str, data: str, lines: list[int], zipped: bool, bom: bool, crlf: bool
) -> None:
    data = data.replace("\n", "\r\n") if crlf else data
    content = (("\ufeff" if bom else "") + data).encode()
    path = write(tmp_path / (name + ".gz" * zipped), gzip.compress(content) if zipped else content)
    counts: Counter[str] = Counter()
    assert rows(path, counts) == list(zip(ROWS, lines, strict=True))
    assert +counts == +Counter({"bom": int(bom), "crlf": data.count("\r\n")})


def test_parquet_and_its_row_numbers(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == [(ROWS[0], 1), (ROWS[1], 2)]
    assert "not a sound Parquet file" in fault(write(tmp_path / "b.parquet", "no"))
    assert not readable(tmp_path / "a.parquet.gz")


@pytest.mark.parametrize("module", ["pyarrow", "datasets"])
def test_a_missing_package_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.split(".")[0] == module:
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    source = read(write(tmp_path / "a.parquet", "x")) if module == "pyarrow" else read_hub("some/name")
    with pytest.raises(BelleError, match=rf"needs the package '{module}'[\s\S]*pip install 'belle\["):
        next(source)


def test_a_hub_dataset_and_its_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, split: str) -> list[Row]:
        asked.append((name, split))
        if split == "none":
            raise ValueError("Unknown split")
        return ROWS

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))  # type: ignore[arg-type]
    assert list(read_hub("org/name")) == [(ROWS[0], Source("hf:org/name", 1)), (ROWS[1], Source("hf:org/name", 2))]
    assert len(list(read_hub("org/name:test"))) == 2
    with pytest.raises(BelleError, match="cannot load hf:org/name: ValueError: Unknown split"):
        next(read_hub("org/name:none"))
    assert asked == [("org/name", "train"), ("org/name", "test"), ("org/name", "none")]


FAULTS = [
    ("a.jsonl", "", "a.jsonl: is empty"),
    ("a.json", "[ ]", "a.json: is empty"),
    ("a.json", "\ufeff", "a.json: is empty"),
    ("a.csv", "q,a\n", "a.csv: is empty"),
    ("a.xlsx", "x", "a.xlsx: files of this kind are not read"),
    ("a.jsonl", '{"q": 1}\n{"q": \n', "a.jsonl:2: broken JSON"),
    ("a.json", '{\n  "q": 1\n}\n', "a.json:1: one JSON object over several lines"),
    ("a.jsonl", '{"q": 1}\n{"q": 1, "q": 2}\n', "a.jsonl:2: broken JSON: key 'q' is written twice"),
    ("a.jsonl", '{"q": 1}\n3\n', "a.jsonl:2: a row is an object with columns, this is a number"),
    ("a.jsonl", '{"q": "\t"}\n', "a.jsonl:1: broken JSON"),
    ("a.jsonl", "[" * 100_000, "a.jsonl:1: broken JSON: nested too deeply"),
    ("a.json", '[\n{"q": 1},\n{"q": }\n]', "a.json:3"),
    ("a.json", '[\n{"q": 1},\n]', "a.json:3"),
    ("a.json", '[\n{"q": 1}\n', "a.json:3: broken JSON: ',' or ']' expected after the row of line 2"),
    ("a.json", '[\n{"q": 1}\n{"q": 2}]', "a.json:3: broken JSON: ',' or ']' expected after the row of line 2"),
    ("a.json", '[{"q": 1}]\n\n[{"q": 2}]', "a.json:3: broken JSON: more text after the array"),
    ("a.json", '[\n{"q": 1},\n"x"]', "a.json:3: a row is an object with columns, this is text"),
    ("a.csv", "q,a\n1,2\n1,2,3\n", "a.csv:3: 3 fields, but the first line names 2 columns"),
    ("a.csv", 'q,a\n"1\n",2\n1\n', "a.csv:4: 1 fields, but the first line names 2 columns"),
    ("a.csv", "q,q\n1,2\n", "a.csv:1: column 'q' is named twice"),
    ("a.csv", 'q,a\n1,2\n"1,2\n', "a.csv:3: broken table"),
    ("a.jsonl", b'{"q": 1}\n{"q": "\xff"}\n', "a.jsonl:2: not UTF-8"),
    ("a.csv", "q,a\n问题,答案\n".encode("gb18030"), "a.csv:2: not UTF-8"),
    ("a.jsonl", LINES.encode("utf-16"), "it is UTF-16: iconv"),
    ("a.jsonl", LINES.encode("gb18030"), "it may be GB18030: iconv"),
    ("a.jsonl.gz", b"no gzip", "cannot read"),
    ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-12], "cannot read"),
]


@pytest.mark.parametrize(("name", "data", "words"), FAULTS)
def test_a_fault_of_the_file_is_one_error(tmp_path: Path, name: str, data: str | bytes, words: str) -> None:
    assert words in fault(write(tmp_path / name, data))


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", LINES)
    assert "Did you mean 'train.jsonl'?" in fault(tmp_path / "trian.jsonl")
    assert "no file" in fault(tmp_path / "nowhere" / "a.jsonl")


def test_reading_goes_on_after_a_broken_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"q": 1}\n{"q": \nnull\n{"q": "\xff"}\n{"q": 2}\n')
    broken: list[tuple[str, int, str]] = []
    good = [row for row, _ in read(path, None, lambda error, source, text: broken.append((error.message, source.line, text)))]
    assert good == [{"q": 1}, {"q": 2}]
    assert [(line, text) for _, line, text in broken] == [(2, '{"q": \n'), (3, "None"), (4, '{"q": "\\xff"}\n')]


def test_a_field_may_be_longer_than_the_csv_module_likes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text\n" + "x" * 200_000 + "\n")
    assert len(rows(path)[0][0]["text"]) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"PK\x03\x04rest", "a zip or an Excel file"),
        ("a.jsonl", b"\x1f\x8brest", "it is gzipped"),
        ("a.csv", b"PAR1rest", "it is Parquet"),
        ("a.csv", b"instruction;output\na;b\n", "parted by ';'"),
        ("a.csv", b"instruction\toutput\na\tb\n", "name it .tsv"),
        ("a.json", b'{\n  "data": [\n    {"text": "x"}\n  ]\n}\n', "one JSON object over several lines"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BelleError) as caught:
        list(read(tmp_path / name))
    assert said in str(caught.value)
