"""What answers conversations. Everything that generates text takes a `Backend` and knows nothing of what is behind it.

To add one: write a class with `generate`, `stream`, `count` and a classmethod `open`, and a line in `BACKENDS`; or name it
in a recipe as `backend=my_package.my_module:MyBackend`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from belle.errors import BelleError, nearest
from belle.records import Conversation, Message
from belle.sections import BackendSection, GenerationSection, ModelSection

Finish = Literal["stop", "length", "error"]


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt. Sampling is seeded by `GenerationSection.seed`, `id` and the prompt: the same three give the same answer."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `finish`: it ended by itself or at a stop text; it was cut; or `error` says why there is none.

    `estimated`: the endpoint did not count the tokens. `tries`: how often it was asked.
    """

    text: str
    finish: Finish
    prompt_tokens: int
    answer_tokens: int
    error: str = ""
    estimated: bool = False
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Score:
    """Negative log-likelihood, in nats, summed over the supervised tokens; `characters` is the length of their text."""

    loss_sum: float
    tokens: int
    characters: int


OnAnswer = Callable[[int, Answer], None]
Stream = Generator[str, None, Answer]


class Backend(Protocol):
    """`context` is how many tokens prompt and answer may have together, None where that is not known."""

    name: str
    context: int | None

    def generate(
        self, requests: Sequence[Request], options: GenerationSection, on_answer: OnAnswer | None = None
    ) -> list[Answer]:
        """Answer all requests, in their order; `on_answer(index, answer)` is called as each is ready, in any order.

        A request that cannot be answered becomes an `Answer` with finish "error"; the others are not lost.
        """
        ...

    def stream(self, request: Request, options: GenerationSection) -> Stream:
        """Yield one answer piece by piece, never a part of a character; `answer = yield from backend.stream(...)`.

        The pieces together are the text that `generate` returns.
        """
        ...

    def count(self, request: Request) -> int:
        """The tokens of a prompt."""
        ...


class Scorer(Protocol):
    """A backend that also tells how likely a given text is."""

    def score(self, conversations: Sequence[Conversation]) -> list[Score]:
        """The loss of each conversation's supervised tokens (assistant turns, as `Message.train` says)."""
        ...


BACKENDS = {
    "transformers": "belle.inference.transformers_backend:TransformersBackend",
    "fake": "belle.inference.fake_backend:FakeBackend",
}
"""name -> `module:class`, for models in this process."""
ENDPOINT = "belle.inference.openai_backend:OpenAIBackend"


def open_backend(name: str, section: ModelSection, batch_size: int = 16) -> Any:
    """Load a model behind a backend, by its name in `BACKENDS` or as `module:class`.

    Raises:
        BelleError: there is no such backend, or the model cannot be loaded.
    """
    if ":" not in BACKENDS.get(name, name):
        fix = f"one of: {', '.join(BACKENDS)}; or my_module:MyBackend"
        raise BelleError(f"unknown backend {name!r}.{nearest(name, list(BACKENDS))}", fix)
    return _find(BACKENDS.get(name, name)).open(section, batch_size)


def connect(section: BackendSection, key: str | None = None) -> Any:
    """Open what a recipe's `backend:` names: an endpoint where base_url is given, else a model in this process.

    Args:
        section: the recipe's.
        key: what stands in the environment variable `section.key_variable`.

    Raises:
        BelleError: there is no such backend, its keys contradict each other, or the model cannot be loaded.
    """
    name = section.backend if section.backend != "auto" else "transformers" if section.base_url is None else "openai"
    if name != "openai":
        if section.base_url is not None:
            raise BelleError(f"backend.backend {name!r} takes no base_url", "backend.backend=openai, or leave base_url out")
        return open_backend(name, ModelSection(path=section.model, template=section.template), section.concurrency)
    if section.base_url is None:
        raise BelleError("backend.backend is openai and base_url is absent", "backend.base_url=http://127.0.0.1:8000/v1")
    return _find(ENDPOINT)(
        section.base_url, section.model, key or None, concurrency=section.concurrency, timeout=section.timeout,
        requests_per_minute=section.requests_per_minute, retries=section.retries, key_variable=section.key_variable,
    )  # fmt: skip


def _find(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BelleError(f"backend {name!r} cannot be imported: {error}", "name it module:class") from error
