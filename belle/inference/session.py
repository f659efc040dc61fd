"""A chat: its history, what of it still fits into the model's context, and the way back. No terminal in here."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from belle.data.formats import load_records
from belle.errors import BelleError
from belle.inference.backend import Answer, Backend, Request
from belle.jsonl import write_rows
from belle.records import Conversation, Message, record_dict
from belle.sections import DataSection, GenerationSection

FREER = 0.7
"""Temperature of a second attempt where the recipe says 0: the likeliest answer would only come again."""


@dataclass(frozen=True)
class Reply:
    """An answer, how many of the oldest messages were left out of its prompt, and whether that number has grown."""

    answer: Answer
    left_out: int
    newly: bool


ReplyStream = Generator[str, None, Reply]


class Session:
    """One conversation with a backend.

    The whole history is kept and saved. A prompt that would leave too little room for an answer goes without its oldest
    turns, and the reply says so.

    Args:
        backend: what answers.
        options: how.
        system: the system message; none when empty.
    """

    def __init__(self, backend: Backend, options: GenerationSection, system: str = "") -> None:
        self.backend, self.options, self.system = backend, options, system
        self.turns: list[Message] = []
        self._left_out = 0
        self._attempt = 0
        self._ours: set[Path] = set()  # files that this session wrote, and may write again

    def ask(self, text: str) -> ReplyStream:
        """Say something and yield the answer piece by piece; the generator's value is the `Reply`.

        If the generator is closed or stopped on the way, what was said so far stays in the history as the answer, and
        nothing of the turn does if nothing was said. An answer that failed leaves the history as it was.
        """
        self._attempt = 0
        return (yield from self._answer([*self.turns, Message("user", text)], self.options))

    def regenerate(self) -> ReplyStream:
        """Answer the last user turn once more, with other random numbers; the old answer is kept until a new one begins.

        Raises:
            BelleError: nothing was asked yet.
        """
        last = self._last_user()
        self._attempt += 1
        changes = {"seed": self.options.seed + self._attempt, "temperature": self.options.temperature or FREER}
        return (yield from self._answer(self.turns[: last + 1], self.options.model_copy(update=changes)))

    def undo(self) -> str:
        """Take the last user turn and its answer back; returns what the user had said.

        Raises:
            BelleError: nothing was asked yet.
        """
        last = self._last_user()
        said = self.turns[last].content
        self.turns = self.turns[:last]
        return said

    def reset(self) -> None:
        """Forget the history; the system message stays."""
        self.turns, self._left_out = [], 0

    def save(self, path: Path) -> None:
        """Write the conversation as one row of JSON lines, in the form that training reads.

        Raises:
            BelleError: there is nothing to save, or the file is there already or cannot be written.
        """
        if not self.turns:
            raise BelleError("nothing was said yet")
        if path.suffix != ".jsonl":
            raise BelleError(f"{str(path)!r} does not end in .jsonl", f"/save {path.with_suffix('.jsonl')}")
        if path.exists() and path not in self._ours:
            raise BelleError(f"{str(path)!r} is there already", "save under another name")
        self._ours.add(path)
        write_rows(path, [record_dict(Conversation(self._messages(self.turns)))])

    def load(self, path: Path) -> int:
        """Go on with the first conversation of a file in any format; returns how many the file holds.

        Raises:
            BelleError: the file cannot be read, or holds no conversation.
        """
        records = load_records(DataSection(path=str(path))).records
        first = records[0]
        assert isinstance(first, Conversation)
        messages = list(first.messages)
        self.system = messages.pop(0).content if messages and messages[0].role == "system" else ""
        self.turns, self._left_out = messages, 0
        return len(records)

    def _answer(self, turns: list[Message], options: GenerationSection) -> ReplyStream:
        request, left_out = self._fitting(turns)
        newly, self._left_out = left_out > self._left_out, left_out
        said: list[str] = []
        try:
            stream = self.backend.stream(request, options)
            while True:
                try:
                    said.append(next(stream))
                except StopIteration as end:
                    answer: Answer = end.value
                    break
                yield said[-1]
        except BaseException:  # stopped by the user, or broken: what the user has seen is what was said
            if said:
                self.turns = [*turns, Message("assistant", "".join(said))]
            raise
        if answer.finish != "error":
            self.turns = [*turns, Message("assistant", answer.text)]
        return Reply(answer, left_out, newly)

    def _fitting(self, turns: list[Message]) -> tuple[Request, int]:
        """The prompt with as many of the latest turns as leave room for an answer, and how many messages it lacks."""
        context = self.backend.context
        starts = [i for i, message in enumerate(turns) if message.role == "user"] or [0]
        request = Request(self._messages(turns))
        if context is None:
            return request, 0
        room = context - min(self.options.max_new_tokens, context // 4)
        start = 0
        for start in dict.fromkeys([0, *starts]):
            request = Request(self._messages(turns[start:]))
            if self.backend.count(request) <= room:
                break
        return request, start

    def _messages(self, turns: list[Message]) -> tuple[Message, ...]:
        return (*([Message("system", self.system)] if self.system else []), *turns)

    def _last_user(self) -> int:
        found = [i for i, message in enumerate(self.turns) if message.role == "user"]
        if not found:
            raise BelleError("nothing was asked yet")
        return found[-1]
