from __future__ import annotations

import pytest
from tiny import build_tokenizer

from belle.data.chat_template import ChatTemplate
from belle.errors import BelleError
from belle.quantization.calibration import encode, made_for_chinese, windows
from belle.records import Conversation, Document, Message, Preference

TOKENIZER = build_tokenizer()


def test_documents_are_cut_from_one_stream_in_a_seeded_order() -> None:
    records = [Document(text=f"文本 {i} and some words") for i in range(9)]
    found = windows(records, TOKENIZER, None, 100, 16, seed=3)
    stream = found.flatten().tolist()
    pieces = [encode(record, TOKENIZER, None) for record in records]
    assert len(found) == sum(map(len, pieces)) // 16
    assert stream[: len(pieces[0])] in [piece[: len(pieces[0])] for piece in pieces], "a whole record stands at the front"
    assert windows(records, TOKENIZER, None, 100, 16, seed=3).tolist() == found.tolist()
    assert windows(records, TOKENIZER, None, 100, 16, seed=4).tolist() != found.tolist()
    assert windows(records, TOKENIZER, None, 2, 16, seed=3).tolist() == found[:2].tolist()


def test_every_window_of_conversations_begins_with_one() -> None:
    template = ChatTemplate.load(TOKENIZER, "chatml")
    talks = [Conversation(messages=(Message("user", f"问题 {i}" * i), Message("assistant", "yes " * i))) for i in range(1, 20)]
    encoded = [template.encode(talk).ids for talk in talks]
    found = windows(talks, TOKENIZER, template, 8, 50, seed=1).tolist()
    assert len(found) == 8
    for window in found:
        rest = window
        while rest:  # whole conversations, and at last a part of one
            fits = [ids for ids in encoded if rest[: len(ids)] == ids[: len(rest)]]
            assert fits
            rest = rest[len(fits[0]) :]


def test_records_are_what_the_model_would_see() -> None:
    tokenizer = TOKENIZER
    template = ChatTemplate.load(tokenizer, "chatml")
    talk = Conversation(messages=(Message("user", "你好"), Message("assistant", "好")))
    assert encode(talk, tokenizer, template) == template.encode(talk).ids
    assert encode(Document(text="abc"), tokenizer, None) == [*tokenizer("abc")["input_ids"], tokenizer.eos_token_id]
    with pytest.raises(BelleError, match="no chat template"):
        encode(talk, tokenizer, None)
    with pytest.raises(BelleError, match="conversations or documents"):
        encode(Preference((), Message("assistant", "a"), Message("assistant", "b")), tokenizer, None)


def test_too_little_text_is_an_error() -> None:
    with pytest.raises(BelleError, match=r"has \d+ tokens, not one window of 512"):
        windows([Document(text="short")], TOKENIZER, None, 4, 512, 0)


def test_a_tokenizer_for_chinese_is_known_by_what_it_makes_of_chinese() -> None:
    class Words:
        def __init__(self, width: float) -> None:
            self.width = width

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [0] * round(len(text) / self.width)}

    texts = ["你好世界，hello", "春眠不觉晓"]
    assert made_for_chinese(Words(1.9), texts)
    assert not made_for_chinese(Words(0.6), texts)
    assert not made_for_chinese(build_tokenizer(), ["春眠不觉晓处处闻啼鸟"])
