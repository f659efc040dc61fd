"""A backend without a model: it says what it is told to. For tests, and to try a pipeline before a model is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from belle.errors import BelleError
from belle.inference.backend import Answer, OnAnswer, Request, Score, Stream
from belle.inference.streaming import StopTexts
from belle.jsonl import read_json
from belle.records import Conversation
from belle.sections import GenerationSection, ModelSection

Reply = str | Answer | Exception
Script = Sequence[Reply] | Mapping[str, Reply] | Callable[[Request], Reply]


class FakeBackend:
    """Answers from a script; a token is one character.

    Args:
        script: a list of answers in the order of asking, a mapping from the last user turn to the answer, or a function of
            the request. An answer is a text, a whole `Answer`, or an exception: a `BelleError` becomes an answer with
            finish "error", any other is raised.
        context: characters that prompt and answer may have together.

    Attributes:
        requests: all that were asked, in order.
    """

    name = "fake"

    def __init__(self, script: Script, context: int | None = None) -> None:
        self._script, self.context = script, context
        self.requests: list[Request] = []

    @classmethod
    def open(cls, section: ModelSection, batch_size: int = 16) -> FakeBackend:
        """The script in a JSON file, a list or a mapping; with `echo` for a path, each answer repeats the question.

        Raises:
            BelleError: the file is neither.
        """
        if section.path == "echo":
            return cls(_last)
        script = read_json(Path(section.path))
        replies = list(script.values()) if isinstance(script, dict) else script
        if not isinstance(replies, list) or not all(isinstance(reply, str) for reply in replies):
            raise BelleError(f"{section.path}: a script is a list of answers, or a mapping from question to answer")
        return cls(script)

    def generate(
        self, requests: Sequence[Request], options: GenerationSection, on_answer: OnAnswer | None = None
    ) -> list[Answer]:
        """Answer all requests, one after the other."""
        answers = []
        for index, request in enumerate(requests):
            answers.append(self._answer(request, options))
            if on_answer:
                on_answer(index, answers[-1])
        return answers

    def stream(self, request: Request, options: GenerationSection) -> Stream:
        """One answer, character by character."""
        answer = self._answer(request, options)
        yield from answer.text
        return answer

    def count(self, request: Request) -> int:
        """The characters of all messages."""
        return sum(len(message.content) for message in request.messages)

    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        """One nat a character of every assistant turn that is not marked `train=False`."""
        lengths = [
            sum(len(m.content) for m in conversation.messages if m.role == "assistant" and m.train is not False)
            for conversation in conversations
        ]
        return [Score(float(length), length, length) for length in lengths]

    def _answer(self, request: Request, options: GenerationSection) -> Answer:
        self.requests.append(request)
        prompt = self.count(request)
        if self.context and prompt >= self.context:
            return Answer("", "error", prompt, 0, f"the prompt has {prompt} tokens, the model's context is {self.context}")
        reply = self._reply(request)
        if isinstance(reply, BelleError):
            return Answer("", "error", prompt, 0, reply.message)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Answer):
            return reply
        stops = StopTexts(options.stop)
        text = stops.push(reply) + stops.finish()
        limit = min(options.max_new_tokens, (self.context or 1 << 60) - prompt)
        return Answer(text[:limit], "length" if len(text) > limit else "stop", prompt, min(len(text), limit))

    def _reply(self, request: Request) -> Reply:
        if callable(self._script):
            return self._script(request)
        if isinstance(self._script, Mapping):
            return self._script.get(_last(request), BelleError(f"the script has no answer to {_last(request)!r}"))
        asked = len(self.requests)
        return self._script[asked - 1] if asked <= len(self._script) else BelleError(f"the script ends after {asked - 1} answers")


def _last(request: Request) -> str:
    return next((message.content for message in reversed(request.messages) if message.role == "user"), "")
