from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from belle.data import dataset
from belle.data.chat_template import ChatTemplate
from belle.data.dataset import tokenize
from belle.errors import BelleError
from belle.records import Conversation, Message, Source
from belle.sections import TokensSection


def talk(*turns: str, line: int = 1, **facts: object) -> Conversation:
    roles = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], text) for i, text in enumerate(turns))  # type: ignore[arg-type]
    return Conversation(messages, source=Source("talk.jsonl", line), **facts)  # type: ignore[arg-type]


@pytest.fixture
def template(tiny_tokenizer) -> ChatTemplate:
    return ChatTemplate.load(tiny_tokenizer, "chatml")


def test_samples_are_what_the_template_gives_in_order(tiny_tokenizer, template) -> None:
    records = [talk("你好", "你好！"), talk("What is two plus two?", "Four."), talk("a", "b", "c", "d")]
    made = tokenize(records, tiny_tokenizer, template, TokensSection())
    assert [made[i] for i in range(3)] == [template.encode(record) for record in records]
    assert made.lengths.tolist() == [len(template.encode(record).ids) for record in records]
    assert made.supervised.tolist() == [sum(template.encode(record).mask) for record in records]


def test_subset_keeps_samples_and_their_rows(tiny_tokenizer, template) -> None:
    records = [talk(f"question {i}", "answer " * (i + 1)) for i in range(5)]
    made = tokenize(records, tiny_tokenizer, template, TokensSection())
    part = made.subset([4, 1])
    assert [part[0], part[1]] == [made[4], made[1]]
    assert part.rows.tolist() == [4, 1]


def test_too_long_is_an_error_that_names_the_line(tiny_tokenizer, template) -> None:
    with pytest.raises(BelleError, match=r"talk.jsonl:7: too long: \d+ tokens > cutoff 16"):
        tokenize([talk("x", "y" * 400, line=7)], tiny_tokenizer, template, TokensSection(cutoff=16))


def test_dropped_and_cut_are_counted_and_listed(tiny_tokenizer, template) -> None:
    short, long = talk("a", "b"), talk("x", "y " * 300, line=2, id="long")
    dropped = tokenize([short, long], tiny_tokenizer, template, TokensSection(cutoff=64, overlong="drop"))
    assert len(dropped) == 1
    assert [(item.source, item.id, item.dropped) for item in dropped.lost] == [("talk.jsonl:2", "long", True)]
    assert dropped.statistics()["dropped"] == {"too long": 1}
    cut = tokenize([short, long], tiny_tokenizer, template, TokensSection(cutoff=64, overlong="cut_right"))
    assert cut.lengths.max() == 64
    assert cut.statistics()["cut"] == {"cut_right": 1}


def test_cut_left_turns_keeps_the_system_turn_and_the_last_turns_whole(tiny_tokenizer, template) -> None:
    system = Message("system", "be brief")
    whole = talk("first " * 40, "one", "second", "two", "third", "three")
    record = Conversation((system, *whole.messages), source=whole.source)
    kept = Conversation((system, *whole.messages[2:]), source=whole.source)
    made = tokenize([record], tiny_tokenizer, template, TokensSection(cutoff=110, overlong="cut_left_turns"))
    assert made[0] == template.encode(kept)
    assert made.statistics()["cut"] == {"cut_left_turns": 1}


def test_what_is_left_without_a_supervised_token_is_dropped_with_its_reason(tiny_tokenizer, template) -> None:
    long_question = talk("question " * 60, "answer", line=3)
    silent = Conversation((Message("user", "a"), Message("assistant", "b", train=False)), source=Source("talk.jsonl", 4))
    section = TokensSection(cutoff=32, overlong="cut_right")
    made = tokenize([talk("a", "b"), long_question, silent], tiny_tokenizer, template, section)
    assert len(made) == 1
    assert [item.source for item in made.lost] == ["talk.jsonl:3", "talk.jsonl:4"]
    assert made.statistics()["dropped"] == {"no supervised token": 2}


def test_nothing_left_is_an_error_with_the_reasons(tiny_tokenizer, template) -> None:
    with pytest.raises(BelleError, match="no sample is left of 1 conversations: 1 x too long"):
        tokenize([talk("x", "y" * 400)], tiny_tokenizer, template, TokensSection(cutoff=16, overlong="drop"))


def test_the_cache_gives_the_same_and_is_keyed_by_everything(tiny_tokenizer, template, tmp_path: Path, monkeypatch) -> None:
    records = [talk("你好", "你好！"), talk("x", "y " * 300, line=2)]
    section = TokensSection(cutoff=64, overlong="drop")
    first = tokenize(records, tiny_tokenizer, template, section, tmp_path)
    monkeypatch.setattr(dataset, "_encode_all", lambda *args: pytest.fail("the cache was not used"))
    again = tokenize(records, tiny_tokenizer, template, section, tmp_path)
    assert np.array_equal(first.ids, again.ids)
    assert np.array_equal(first.mask, again.mask)
    assert again.lost == first.lost
    monkeypatch.undo()
    for other in (
        (records[:1], template, section),
        (records, ChatTemplate.load(tiny_tokenizer, "belle"), section),
        (records, template, TokensSection(cutoff=65, overlong="drop")),
        (records, template, TokensSection(cutoff=64, overlong="cut_right")),
    ):
        tokenize(other[0], tiny_tokenizer, other[1], other[2], tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 5


@pytest.mark.slow
def test_many_processes_give_the_same_as_one(tiny_tokenizer, template) -> None:
    records = [talk(f"question {i}", f"回答 {i}") for i in range(dataset.MANY + 500)]
    one = tokenize(records, tiny_tokenizer, template, TokensSection(workers=1))
    two = tokenize(records, tiny_tokenizer, template, TokensSection(workers=2))
    assert np.array_equal(one.ids, two.ids)
    assert np.array_equal(one.mask, two.mask)
