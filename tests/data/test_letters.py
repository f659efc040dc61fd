from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.data.letters import language, language_share


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好，世界", "zh"),
        ("Hello world", "en"),
        ("Café naïve", "en"),
        ("用 abcdef 写", "zh"),  # 2 Han weigh 6
        ("用 abcdefg 写", "en"),
        ("The idiom 守株待兔 means waiting", "en"),
        ("我叫 Belle，你直接喊我 Belle 就好。", "zh"),
        ("こんにちは世界", "other"),
        ("東京は日本の首都", "other"),
        ("안녕하세요", "other"),
        ("Привет", "other"),
        ("日本品牌の这个字大家都认识", "zh"),  # one kana in a Chinese sentence
        ("3.14 = ?", None),
        ("", None),
        ("答案：\n```python\nprint('a long piece of code')\n```", "zh"),
        ("用 `sorted(values)` 即可", "zh"),
        ("```python\nprint(1)", None),  # an open block runs to the end
        ("ＨＥＬＬＯ", "en"),
    ],
)
def test_language(text: str, expected: str | None) -> None:
    assert language(text) == expected


@pytest.mark.parametrize(
    ("text", "asked", "share", "match"),
    [
        ("你好ab", "zh", 0.75, True),
        ("你好ab", "en", 0.25, False),
        ("Sure! 好", "en", 4 / 7, True),
        ("42", "zh", 1.0, True),
        ("```\nprint(1)\n```", "zh", 1.0, True),
        ("", "zh", 0.0, False),
        ("!!!", "en", 0.0, False),
        ("東京は日本の首都", "zh", 0.0, False),
        ("Привет", "other", 1.0, True),
    ],
)
def test_language_share(text: str, asked: str, share: float, match: bool) -> None:
    assert language_share(text, asked) == (pytest.approx(share), match)


@given(st.text(max_size=50), st.sampled_from(["zh", "en", "other"]))
def test_language_share_is_a_share(text: str, asked: str) -> None:
    assert 0 <= language_share(text, asked)[0] <= 1
