from __future__ import annotations

from filter_records import talk, texts

from belle.curation.rounds import Round, answers, questions, rounds, turns, with_texts
from belle.records import Conversation, Document, Message, ToolCall


def test_a_conversation_is_cut_into_rounds() -> None:
    assert list(rounds(talk("甲", "乙", "丙", "丁"))) == [Round("", "甲", "乙"), Round("甲\n乙", "丙", "丁")]


def test_a_question_without_an_answer_is_a_round_as_well() -> None:
    assert list(rounds(talk("甲", "乙", "丙"))) == [Round("", "甲", "乙"), Round("甲\n乙", "丙", None)]


def test_a_tool_call_is_no_answer_and_its_result_is_what_may_be_spoken_of() -> None:
    call = Message("assistant", "", (ToolCall("weather", "{}"),))
    record = Conversation(
        (Message("system", "简短。"), Message("user", "天气？"), call, Message("tool", "晴"), Message("assistant", "晴天。"))
    )
    assert list(rounds(record)) == [Round("简短。", "天气？", None), Round("简短。\n天气？\n\n晴", "", "晴天。")]


def test_a_document_has_a_text_and_no_rounds() -> None:
    document = Document("文")
    assert (list(rounds(document)), answers(document), questions(document), turns(document)) == ([], ["文"], [], ["文"])


def test_the_turns_of_the_system_are_not_looked_at() -> None:
    record = Conversation((Message("system", "s"), Message("user", "u"), Message("assistant", "a")))
    assert turns(record) == ["u", "a"]


def test_a_record_stays_itself_where_nothing_changes() -> None:
    record = talk("a", "b")
    assert with_texts(record, str) is record
    assert texts(with_texts(record, str.upper)) == ["A", "B"]
    assert texts(with_texts(record, str.upper, roles=("user",))) == ["A", "b"]
    assert with_texts(Document("a"), str.upper) == Document("A")
