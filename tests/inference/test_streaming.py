from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from belle.inference.streaming import Detokenizer, StopTexts, TextStream


def pieces(decode: Any, ids: Sequence[int], stops: Sequence[str] = ()) -> list[str]:
    stream = TextStream(decode, stops)
    out = [stream.push(token) for token in ids]
    return [*out, stream.finish()]


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), max_size=30))
def test_bytes_become_whole_characters(text: str) -> None:
    """Every token is one byte, the worst case."""
    out = pieces(lambda ids: bytes(ids).decode("utf-8", "replace"), list(text.encode()))
    assert "".join(out) == text
    assert not any("\ufffd" in piece for piece in out)


def test_a_character_of_four_bytes_comes_with_its_last_byte() -> None:
    out = pieces(lambda ids: bytes(ids).decode("utf-8", "replace"), list("闫😀é".encode()))
    assert out == ["", "", "闫", "", "", "", "😀", "", "é", ""]


def test_a_real_byte_level_tokenizer(tiny_tokenizer: Any) -> None:
    for text in ("闫😀é", "你好，世界！ 翻译", "a  b\n\nc", "👩‍👩‍👧 ok"):
        ids = tiny_tokenizer.encode(text, add_special_tokens=False)
        out = pieces(lambda part: tiny_tokenizer.decode(part, skip_special_tokens=True), ids)
        assert "".join(out) == text
        assert not any("\ufffd" in piece for piece in out)


def test_half_a_character_at_the_end_is_given_up() -> None:
    assert pieces(lambda ids: bytes(ids).decode("utf-8", "replace"), list("好😀".encode())[:-1]) == ["", "", "好", "", "", "", ""]


def test_bytes_that_are_no_character_stay_visible_in_the_middle() -> None:
    assert "".join(pieces(lambda ids: bytes(ids).decode("utf-8", "replace"), [0x61, 0xFF, 0x62])) == "a\ufffdb"


def sentencepiece() -> Tokenizer:
    """Llama 2's way of decoding: bytes for what is not in the vocabulary, and no space at the front."""
    words = ["▁Hello", "▁world", "▁", "!", *[f"<0x{byte:02X}>" for byte in range(256)]]
    tokenizer = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, [], byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def test_spaces_of_a_sentencepiece_decoder_are_kept() -> None:
    tokenizer = sentencepiece()
    emoji = [4 + byte for byte in "😀".encode()]
    ids = [0, 1, 3, 2, 1, *emoji, 1, 2, 2, *emoji]
    out = pieces(tokenizer.decode, ids)
    assert "".join(out) == "Hello world!  world😀 world  😀" == tokenizer.decode(ids)
    assert out[:3] == ["Hello", " world", "!"]


def test_only_a_few_ids_are_decoded_again() -> None:
    sizes: list[int] = []

    def decode(ids: list[int]) -> str:
        sizes.append(len(ids))
        return "x" * len(ids)

    stream = Detokenizer(decode)
    for token in range(200):
        stream.push(token)
    assert max(sizes) <= 3


def reference(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """A reader who looks at one more character each time, written independently of the class."""
    for n in range(1, len(text) + 1):
        found = [stop for stop in stops if stop and text[:n].endswith(stop)]
        if found:
            return text[: n - max(map(len, found))], True
    return text, False


@given(
    text=st.text("abc", max_size=14),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(1, 3), max_size=14),
)
def test_stop_texts_do_not_depend_on_how_text_is_cut(text: str, stops: list[str], cuts: list[int]) -> None:
    stream, out, at = StopTexts(stops), "", 0
    expected, found = reference(text, stops)
    for size in [*cuts, len(text)]:
        out += stream.push(text[at : at + size])
        at += size
        assert expected.startswith(out)
    out += stream.finish()
    assert (out, stream.found) == (expected, found)


@pytest.mark.parametrize(
    ("text", "stops", "shown"),
    [
        ("好的。\n\nHuman: 再见", ["\n\nHuman:"], ["好", "的", "。"]),
        ("ab", ["abc"], ["ab"]),
        ("aab", ["ab"], ["a"]),
        ("ab", [""], ["a", "b"]),
    ],
)
def test_what_may_become_a_stop_text_is_held_back(text: str, stops: list[str], shown: list[str]) -> None:
    stream = StopTexts(stops)
    out = [stream.push(char) for char in text] + [stream.finish()]
    assert [piece for piece in out if piece] == shown
