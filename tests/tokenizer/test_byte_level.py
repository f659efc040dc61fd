from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import build_tokenizer
from tokenizers import Tokenizer

from belle.errors import BelleError
from belle.tokenizer.byte_level import LETTERS, Extended, extend, read, written

CORPUS = [
    "北京今天的天气非常好，适合出门散步。",
    "今天北京的天气不好，不适合出门。",
    "我今天去北京大学，天气非常好！",
    "天气预报说今天北京有雨。",
] * 4


def is_han(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff"


@lru_cache
def old() -> str:
    return str(build_tokenizer().backend_tokenizer.to_str())


@lru_cache
def extended(count: int = 120, wanted: Callable[[str], bool] = is_han) -> Extended:
    return extend(old(), lambda: iter(CORPUS), count, wanted, least=2)


def test_bytes_are_written_as_the_library_writes_them() -> None:
    from tokenizers import pre_tokenizers

    text = "".join(map(chr, range(0x20, 0x180))) + "中文😀"
    (piece, _), *more = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    assert not more
    assert written(text) == piece
    assert read(piece) == text
    assert sorted(LETTERS.values()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert read(written("中")[:2]) is None


def test_characters_come_first_then_words() -> None:
    texts = [read(token.token) for token in extended().new]
    assert "京" in texts[: extended().characters]
    words = {text for text in texts[extended().characters :] if text}
    assert {"北京", "今天"} <= words
    assert all(1 < len(word) <= 8 and all(map(is_han, word)) for word in words)
    tokens = Tokenizer.from_str(extended().json).encode("今天北京的天气", add_special_tokens=False)
    assert len(tokens.ids) < len(Tokenizer.from_str(old()).encode("今天北京的天气", add_special_tokens=False).ids) / 2


def test_old_ids_do_not_move_and_new_ones_follow() -> None:
    before, after = json.loads(old()), json.loads(extended().json)
    vocabulary = after["model"]["vocab"]
    assert all(vocabulary[token] == number for token, number in before["model"]["vocab"].items())
    assert after["model"]["merges"][: len(before["model"]["merges"])] == before["model"]["merges"]
    first = max(before["model"]["vocab"].values()) + 1
    assert [token.id for token in extended().new] == list(range(first, first + len(extended().new)))
    assert len(set(vocabulary.values())) == len(vocabulary)
    loaded = Tokenizer.from_str(extended().json)
    assert all(loaded.token_to_id(token["content"]) == token["id"] for token in before["added_tokens"])


def test_tokens_outside_of_the_vocabulary_keep_their_numbers() -> None:
    data = json.loads(old())
    first = max(data["model"]["vocab"].values()) + 1
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    data["added_tokens"] += [{"id": first, "content": "<a>"} | special, {"id": first + 1, "content": "<b>"} | special]
    before = json.dumps(data)
    assert Tokenizer.from_str(before).token_to_id("<b>") == first + 1
    found = extend(before, lambda: iter(CORPUS), 20, is_han, least=2)
    loaded = Tokenizer.from_str(found.json)
    assert [loaded.token_to_id(name) for name in ("<a>", "<b>")] == [first, first + 1]
    assert found.new[0].id == first + 2
    assert loaded.encode("好<b>好", add_special_tokens=False).ids.count(first + 1) == 1


def test_every_new_token_can_be_reached() -> None:
    loaded = Tokenizer.from_str(extended().json)
    for token in extended().new:
        if text := read(token.token):
            assert loaded.encode(text, add_special_tokens=False).ids == [token.id], text
        pieces = [piece.value for piece in loaded.model.tokenize(token.token)]
        assert pieces == [token.token]


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.sampled_from("北京今天的气好，。a b\n😀龘é\u3000\u00a0") | st.characters(exclude_categories=("Cs",)), max_size=30)
)
def test_every_text_comes_back_as_before(text: str) -> None:
    before, after = Tokenizer.from_str(old()), Tokenizer.from_str(extended().json)
    old_ids, new_ids = (each.encode(text, add_special_tokens=False).ids for each in (before, after))
    assert after.decode(new_ids, skip_special_tokens=False) == before.decode(old_ids, skip_special_tokens=False)
    assert len(new_ids) <= len(old_ids)
    if not any(map(is_han, text)):
        assert new_ids == old_ids
    by_new = {token.id: list(token.old_ids) for token in extended().new}
    spelt = "".join(before.id_to_token(i) for new in new_ids for i in by_new.get(new, [new]))
    assert spelt == "".join(before.id_to_token(i) for i in old_ids)


def test_the_same_corpus_gives_the_same_tokens() -> None:
    assert extend(old(), lambda: iter(CORPUS), 120, is_han, least=2) == extended()
    few = extend(old(), lambda: iter(CORPUS), 5, is_han, least=2)
    assert len(few.new) <= 5


def test_what_cannot_be_extended_is_one_error() -> None:
    with pytest.raises(BelleError, match="no character of the kind"):
        extend(old(), lambda: iter(["only Latin"]), 10, is_han)
    data = json.loads(old())
    data["model"]["byte_fallback"] = True
    with pytest.raises(BelleError, match="no byte-level BPE but SentencePiece"):
        extend(json.dumps(data), lambda: iter(CORPUS), 10, is_han)
