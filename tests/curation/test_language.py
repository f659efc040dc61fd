from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.language import chinese_only, identify, is_traditional, simplified, surely_not


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好", "zh"),
        ("好的", "zh"),
        ("后来皇后在后面", "zh"),
        ("头发", "zh"),
        ("請介紹一下臺北的天氣。", "zh-hant"),
        ("飛機", "zh-hant"),
        ("用 Python 写一个 Hello World 程序", "zh"),
        ("我叫 Belle，你直接喊我 Belle 就好", "zh"),
        ("这是代码：\n```python\nfor row in table: print(row, file=output, flush=True)\n```", "zh"),
        ("ご迷惑をおかけして、申し訳ございません。", "ja"),
        ("東京は日本の首都です。", "ja"),
        ("日本歌手有宇多田光和乐队サカナクション，都很受欢迎，演唱会的门票常常很快卖完。", "zh"),
        ("안녕하세요", "ko"),
        ("สวัสดีครับ", "th"),
        ("Климат Пекина умеренный: лето жаркое и влажное.", "ru"),
        ("مرحبا بالعالم", "ar"),
        ("Yes", "en"),
        ("The cat", "en"),
        ("Hello", "en"),
        ("Write a poem", "en"),
        ("Apple, banana, cherry", "en"),
        ("Guten Morgen", "de"),
        ("Obrigado", "pt"),
        ("Switch off the lights when you leave a room.", "en"),
        ("El libro está sobre la mesa.", "es"),
        ("Il libro è sul tavolo.", "it"),
        ("Das Mädchen läuft.", "de"),
        ("Les chats ronronnent quand ils sont contents.", "fr"),
        ("Ik wil graag een kopje koffie.", "nl"),
        ("3.14", None),
        ("`x = 1`", None),
        ("", None),
        ("……", None),
        ("https://example.com", None),
    ],
)
def test_a_text_is_in_a_language(text: str, expected: str | None) -> None:
    assert identify(text) == expected


@given(st.text(max_size=60))
def test_any_text_has_a_language_or_none(text: str) -> None:
    assert identify(text) is None or len(identify(text) or "") >= 2


def test_traditional_is_told_by_its_characters() -> None:
    assert is_traditional("學習")
    assert not is_traditional("学习")
    assert not is_traditional("你好")
    assert simplified("學習 Python") == "学习 Python"
    assert simplified("学习") == "学习"


def test_some_characters_are_chinese_alone() -> None:
    assert chinese_only("老师")
    assert not chinese_only("中国学会")


def test_latin_languages_are_told_apart_only_where_it_is_sure() -> None:
    assert surely_not("Les chats ronronnent quand ils sont contents.", "en")
    assert not surely_not("Vincent van Gogh", "en")
