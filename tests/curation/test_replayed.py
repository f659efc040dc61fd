from __future__ import annotations

from pathlib import Path

import pytest

from belle.curation.replayed import Replayed
from belle.errors import BelleError


def test_what_stands_there_is_compared_and_the_rest_added(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": "二"}\n{"a": 3', encoding="utf-8")
    with Replayed(path) as file:
        file.write({"a": 1})
        assert path.read_text(encoding="utf-8").count("\n") == 2, "nothing is taken away meanwhile"
        file.write({"a": "二"})
        file.write({"a": 3})
        file.check_end()
        assert file.rows == 3
    assert path.read_text(encoding="utf-8") == '{"a": 1}\n{"a": "二"}\n{"a": 3}\n'


def test_another_row_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n', encoding="utf-8")
    with Replayed(path) as file:
        file.write({"a": 1})
        with pytest.raises(BelleError, match=r"a\.jsonl:2: not what this run would write there"):
            file.write({"a": 3})
    with Replayed(path) as file:
        file.write({"a": 1})
        with pytest.raises(BelleError, match=r"a\.jsonl:2: this run would not write"):
            file.check_end()
    assert path.read_text(encoding="utf-8") == '{"a": 1}\n{"a": 2}\n'
