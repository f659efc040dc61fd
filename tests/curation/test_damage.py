from __future__ import annotations

import pytest
from filter_records import reason, talk, texts
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.damage import control_characters, mojibake, repair_mojibake

SENTENCES = ["你好，请问怎么泡绿茶？", "每周三次比较合适。", "中文的意思是", "真正的朋友听得懂沉默"]


@pytest.mark.parametrize("text", SENTENCES)
def test_what_python_misreads_is_found(text: str) -> None:
    assert reason(mojibake(talk("问", text.encode().decode("latin-1")))) == "UTF-8 read as Latin-1"
    assert reason(mojibake(talk("问", text.encode().decode("cp1252", errors="replace")))) is not None
    assert reason(mojibake(talk("问", text.encode().decode("gbk", errors="replace")))) is not None
    assert reason(mojibake(talk(text.encode("gbk").decode("latin-1"), "答"))) is not None
    assert mojibake(talk(text, text)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Try the CafÃ© de Flore.", "UTF-8 read as Latin-1"),
        ("plants â€” and some", "UTF-8 read as Latin-1"),
        ("between 60Â and 100", "lost characters"),
        ("Stra�e", "lost characters"),
        ("锟斤拷", "lost characters"),
        ("你\x00好", "control character"),
        ("Red \x08 blue", "control character"),
        ("ÄãºÃ", "GBK read as Latin-1"),
        ("涓枃", None),
        ("Não, NÃO, AMANHÃ", None),
        ("Êtes-vous prêts ?", None),
        ("/ˈwɔːtə(r)/ θruː", None),
        ("烫烫！别烫着。", None),
        ("114号𫓧，118号鿫，龘", None),
        ("xué xí", None),
        ("┌──┬──┐", None),
        ("火鍋や担々麺、麻婆豆腐など", None),
        ("①　早餐", None),
    ],
)
def test_damage_is_told_from_rare_text(text: str, expected: str | None) -> None:
    found = reason(mojibake(talk("问", text)))
    assert found == expected if text != "涓枃" else found in (None, "UTF-8 read as GBK")


@pytest.mark.parametrize("char", ["\x00", "\x85", "\u200b", "\u202e", "\ufeff", "\ue000", "\ufffe"])
def test_characters_that_cannot_be_seen_are_found(char: str) -> None:
    assert reason(control_characters(talk("问", f"a{char}b"))) == "control character"


def test_white_space_and_emoji_are_no_control_characters() -> None:
    assert control_characters(talk("a\tb\r\n", "👨\u200d👩\u200d👧 好\u3000的\u00a0。")) is None


@given(st.text(st.characters(min_codepoint=0xA1, max_codepoint=0x9FFF, categories=("L", "N", "P")), min_size=2, max_size=12))
def test_what_was_misread_is_mended(text: str) -> None:
    misread = text.encode().decode("latin-1")
    mended = texts(repair_mojibake(talk(misread, "好")))[0]
    assert mended == text or repair_mojibake(talk(text, "好")) != talk(text, "好")


def test_mending_leaves_what_is_whole() -> None:
    record = talk("Êtes-vous prêts ?", "Não, NÃO. 你好：Ä")
    assert repair_mojibake(record) is record
    assert texts(repair_mojibake(talk("CafÃ© â€” ä½\xa0å¥½", "Ã\x83Â©"))) == ["Café — 你好", "é"]


@pytest.mark.parametrize("text", ["3 ×\xa05", "un «\xa0café\xa0»", "CAFÉ\xa0: ouvert", "FRÅGA\xa0A, GRÖSSE Ä\xa0B", "naïve…"])
def test_a_letter_before_a_no_break_space_or_a_mark_is_not_damage(text: str) -> None:
    record = talk("问", text)
    assert repair_mojibake(record) is record
    assert mojibake(record) is None
