from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from belle.data.formats import load_records
from belle.errors import BelleError
from belle.inference.backend import Answer, Request
from belle.inference.fake_backend import FakeBackend
from belle.inference.session import Reply, ReplyStream, Session
from belle.records import Conversation, Message
from belle.sections import DataSection, GenerationSection


def listen(stream: ReplyStream) -> tuple[str, Reply]:
    said = ""
    while True:
        try:
            said += next(stream)
        except StopIteration as end:
            return said, end.value


def session(script: Any, context: int | None = None, **options: Any) -> tuple[Session, FakeBackend]:
    backend = FakeBackend(script, context)
    return Session(backend, GenerationSection(**options)), backend


def said(chat: Session) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in chat.turns]


def test_history_and_system_message_go_into_the_prompt() -> None:
    chat, backend = session(["one", "two"])
    assert listen(chat.ask("a"))[0] == "one"
    chat.system = "be kind"
    text, reply = listen(chat.ask("b"))
    assert (text, reply.answer.text, reply.left_out) == ("two", "two", 0)
    asked = [(m.role, m.content) for m in backend.requests[-1].messages]
    assert asked == [("system", "be kind"), ("user", "a"), ("assistant", "one"), ("user", "b")]


def test_an_answer_that_is_stopped_stays_as_far_as_it_was_seen() -> None:
    chat, _ = session(["abcdef", "xyz"])
    stream = chat.ask("q")
    assert next(stream) + next(stream) == "ab"
    stream.close()
    assert said(chat) == [("user", "q"), ("assistant", "ab")]
    chat.ask("never begun").close()
    assert said(chat) == [("user", "q"), ("assistant", "ab")]


def test_a_failed_answer_leaves_the_history() -> None:
    chat, _ = session(["one", BelleError("no"), "three"])
    listen(chat.ask("a"))
    assert listen(chat.ask("b"))[1].answer.error == "no"
    assert said(chat) == [("user", "a"), ("assistant", "one")]


def test_regenerate_asks_the_same_with_another_seed_and_not_at_zero() -> None:
    seen: list[tuple[int, float]] = []

    class Watching(FakeBackend):
        def stream(self, request: Request, options: GenerationSection) -> Any:
            seen.append((options.seed, options.temperature))
            return super().stream(request, options)

    chat = Session(Watching(["one", "two", "three", "four"]), GenerationSection(seed=10))
    listen(chat.ask("a"))
    listen(chat.regenerate())
    listen(chat.regenerate())
    assert said(chat) == [("user", "a"), ("assistant", "three")]
    listen(chat.ask("b"))
    assert seen == [(10, 0.0), (11, 0.7), (12, 0.7), (10, 0.0)]


def test_undo_and_reset() -> None:
    chat, _ = session(["one", "two"])
    listen(chat.ask("a"))
    listen(chat.ask("b"))
    assert chat.undo() == "b"
    assert said(chat) == [("user", "a"), ("assistant", "one")]
    chat.system = "s"
    chat.reset()
    assert (chat.turns, chat.system) == ([], "s")
    for action in (chat.undo, lambda: listen(chat.regenerate())):
        with pytest.raises(BelleError, match="nothing was asked"):
            action()


def test_the_oldest_turns_are_left_out_when_they_no_longer_fit_and_it_is_said() -> None:
    # A token is a character. 40 in all, 10 kept for the answer: prompts of at most 30.
    chat, backend = session(lambda request: "x" * 8, context=40)
    replies = [listen(chat.ask("q" * 8))[1] for _ in range(4)]
    assert [reply.left_out for reply in replies] == [0, 0, 2, 4]
    assert [reply.newly for reply in replies] == [False, False, True, True]
    assert [len(request.messages) for request in backend.requests] == [1, 3, 3, 3]
    assert len(chat.turns) == 8  # nothing is forgotten: /save has it all
    assert all(request.messages[0].role == "user" for request in backend.requests)


def test_a_single_turn_that_cannot_fit_is_an_error_answer() -> None:
    chat, _ = session(["one", "two"], context=40)
    listen(chat.ask("a"))
    assert listen(chat.ask("q" * 50))[1].answer.finish == "error"
    assert said(chat) == [("user", "a"), ("assistant", "one")]


def test_what_is_saved_is_read_by_training_and_loaded_again(tmp_path: Path) -> None:
    chat, _ = session(["你好！\n😀", "two"])
    chat.system = "你是 Belle"
    listen(chat.ask("你好"))
    chat.save(tmp_path / "chat.jsonl")
    record = load_records(DataSection(path=str(tmp_path / "chat.jsonl"))).records[0]
    assert isinstance(record, Conversation)
    assert record.messages == (Message("system", "你是 Belle"), Message("user", "你好"), Message("assistant", "你好！\n😀"))
    other, _ = session(["x"])
    assert other.load(tmp_path / "chat.jsonl") == 1
    assert (other.system, other.turns) == (chat.system, chat.turns)
    listen(chat.ask("more"))
    chat.save(tmp_path / "chat.jsonl")  # its own file: written again
    assert other.load(tmp_path / "chat.jsonl") == 1
    assert len(other.turns) == 4


def test_save_refuses_what_would_lose_something(tmp_path: Path) -> None:
    chat, _ = session(["one"])
    with pytest.raises(BelleError, match="nothing was said"):
        chat.save(tmp_path / "a.jsonl")
    listen(chat.ask("a"))
    with pytest.raises(BelleError, match=r"\.jsonl"):
        chat.save(tmp_path / "a.txt")
    (tmp_path / "a.jsonl").write_text("mine\n")
    with pytest.raises(BelleError, match="is there already"):
        chat.save(tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == "mine\n"


def test_the_fake_says_what_it_is_told(tmp_path: Path) -> None:
    ask = [Request((Message("user", text),)) for text in ("a", "b")]
    options = GenerationSection(stop=("!",), max_new_tokens=3)
    found = FakeBackend({"a": "hi! there", "b": "abcdef"}).generate(ask, options)
    assert [(a.text, a.finish, a.answer_tokens) for a in found] == [("hi", "stop", 2), ("abc", "length", 3)]
    listed = FakeBackend(["one", BelleError("bad")])
    assert [a.error for a in listed.generate([*ask, ask[0]], GenerationSection())] == [
        "",
        "bad",
        "the script ends after 2 answers",
    ]
    with pytest.raises(RuntimeError):
        FakeBackend([RuntimeError("broken")]).generate(ask, options)
    whole = Answer("as it is", "length", 1, 2)
    assert FakeBackend(lambda request: whole).generate(ask[:1], options) == [whole]
    scored = FakeBackend([]).score([Conversation((Message("user", "a"), Message("assistant", "好的")))])[0]
    assert (scored.loss_sum, scored.tokens, scored.characters) == (2.0, 2, 2)
    (tmp_path / "s.json").write_text("3")
    from belle.sections import ModelSection

    with pytest.raises(BelleError, match="a script is"):
        FakeBackend.open(ModelSection(path=str(tmp_path / "s.json")))
