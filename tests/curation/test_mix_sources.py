from __future__ import annotations

import json
from pathlib import Path

import pytest

from belle.curation.mix_sources import Spool, Templated, source_kind, spool
from belle.errors import BelleError
from belle.records import Conversation, Document, Message, Preference, Source
from belle.sections import DataSection

TALK = '{"id": "t1", "instruction": "问", "output": "答"}\n'
TEXT = '{"text": "海内存知己𠮷"}\n'
PAIR = '{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


def section(folder: Path, content: str, **keys: str) -> DataSection:
    path = folder / "in.jsonl"
    path.write_text(content, encoding="utf-8")
    return DataSection.model_validate({"path": str(path), **keys})


def rows(found: Spool) -> list[dict[str, object]]:
    """The rows, fetched by their places, last first."""
    out = []
    with found.open() as file:
        for at, _ in found.places[::-1]:
            file.seek(int(at))
            out.append(json.loads(file.readline()))
    return out[::-1]


@pytest.mark.parametrize(("content", "kind"), [(TALK, Conversation), (TEXT, Document), (PAIR, Preference)])
def test_the_first_record_tells_the_kind(tmp_path: Path, content: str, kind: type) -> None:
    assert source_kind(section(tmp_path, content)) is kind


def test_what_nobody_reads_is_told_as_for_conversations(tmp_path: Path) -> None:
    with pytest.raises(BelleError, match="no format fits this row"):
        source_kind(section(tmp_path, '{"ask": 1}\n'))


def test_a_bad_first_row_may_be_kept_out(tmp_path: Path) -> None:
    assert source_kind(section(tmp_path, '{"ask": 1}\n' + TEXT, on_error="keep")) is Document


def test_rows_lie_at_their_places_with_their_sizes(tmp_path: Path) -> None:
    found = spool("mine", section(tmp_path, TEXT * 2 + '{"text": "ab"}\n'), tmp_path / "s", len, None, "x")
    assert found.sizes.tolist() == [6, 6, 2]
    assert [row["text"] for row in rows(found)] == ["海内存知己𠮷", "海内存知己𠮷", "ab"]
    assert rows(found)[2]["source"] == f"mine {tmp_path / 'in.jsonl'}:3"
    assert found.facts["kind"] == "Document"


def test_without_a_measure_each_record_counts_one(tmp_path: Path) -> None:
    found = spool("mine", section(tmp_path, TALK * 3), tmp_path / "s", None, None, "x")
    assert found.sizes.tolist() == [1, 1, 1]
    assert rows(found)[0]["messages"] == [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]


def test_a_template_makes_documents(tmp_path: Path) -> None:
    found = spool("mine", section(tmp_path, TALK + TEXT.replace("text", "instruction")), tmp_path / "s", len, "belle", "x")
    assert rows(found)[0]["text"] == "Human: \n问\n\nAssistant: \n答"
    assert (found.facts["kind"], rows(found)[0]["id"]) == ("Document", "t1")
    assert found.sizes[0] == len("Human: \n问\n\nAssistant: \n答")


def test_a_thumbs_down_answer_becomes_no_document(tmp_path: Path) -> None:
    bad = '{"prompt": "问", "completion": "坏", "label": false}\n'
    made = spool("mine", section(tmp_path, TALK + bad), tmp_path / "s", None, "plain", "x")
    assert [row["text"] for row in rows(made)] == ["问\n答"]
    (dropped,) = made.dropped()
    assert (dropped["source"], dropped["step"]) == (f"{tmp_path / 'in.jsonl'}:2", "mix")
    assert dropped["reason"] == "label is false: an answer not to learn"
    kept = spool("mine", section(tmp_path, TALK + bad), tmp_path / "k", None, None, "x")
    assert rows(kept)[1]["label"] is False


def test_malformed_rows_keep_their_reason(tmp_path: Path) -> None:
    lines = TEXT + "{broken\n" + '{"text": " "}\n'
    found = spool("mine", section(tmp_path, lines, on_error="keep"), tmp_path / "s", None, None, "x")
    assert len(found.places) == 1
    reasons = [(row["source"][-2:], row["reason"].split(":")[0]) for row in found.dropped()]
    assert reasons == [(":2", "broken JSON"), (":3", "text is empty")]


def test_what_was_read_is_not_read_again_unless_it_changed(tmp_path: Path) -> None:
    one = section(tmp_path, TEXT)
    spool("mine", one, tmp_path / "s", None, None, "x")
    section(tmp_path, TEXT * 5)
    assert len(spool("mine", one, tmp_path / "s", None, None, "x").places) == 1
    assert len(spool("mine", one, tmp_path / "s", None, None, "y").places) == 5


def test_a_half_written_source_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "s" / ".mine.part").mkdir(parents=True)
    (tmp_path / "s" / ".mine.part" / "rows.jsonl").write_text("half", encoding="utf-8")
    assert len(spool("mine", section(tmp_path, TEXT), tmp_path / "s", None, None, "x").places) == 1


def test_pairs_become_no_documents(tmp_path: Path) -> None:
    with pytest.raises(BelleError, match="preference pairs"):
        spool("mine", section(tmp_path, PAIR), tmp_path / "s", None, "plain", "x")


def test_an_unknown_template_names_the_known() -> None:
    with pytest.raises(BelleError, match=r"no chat template 'plian'. Did you mean 'plain'") as caught:
        Templated("plian")
    assert "belle, chatml" in caught.value.fix


def test_a_template_of_ones_own_and_one_that_refuses(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    talk = Conversation((Message("user", "问"), Message("assistant", "答")), source=Source("f.jsonl", 4))
    path.write_text("{% for m in messages %}【{{ m.content }}】{% endfor %}{{ eos_token }}\n", encoding="utf-8")
    assert Templated(str(path))(talk).text == "【问】【答】"
    path.write_text("{{ raise_exception('nothing for me') }}", encoding="utf-8")
    with pytest.raises(BelleError, match=r"f.jsonl:4: .*nothing for me"):
        Templated(str(path))(talk)
