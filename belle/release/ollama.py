"""An Ollama Modelfile from any chat template that writes turn after turn.

Ollama's templates are written in Go's template language and cannot hold jinja. So the template is asked what it writes around
each turn, with texts that stand for contents; from these pieces the Go template is put together, and the pieces are proven:
they must give what the template gives on conversations of several shapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from belle.errors import BelleError
from belle.records import Message

Render = Callable[[Sequence[Message], bool], str]
"""(messages, whether the next answer's header follows) -> text; `Renderer.render` without tools."""

_SYSTEM, _USER, _ANSWER = "⟦system⟧", "⟦user⟧", "⟦answer⟧"


@dataclass(frozen=True)
class Pieces:
    """What a chat template writes around contents."""

    no_system: str
    """At the beginning where there is no system turn: bos, or a system text of the template's own."""
    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt for the next answer, as Ollama will write it."""
        text = "" if messages[:1] and messages[0].role == "system" else self.no_system
        around = {"system": self.system, "user": self.user, "assistant": self.assistant}
        for message in messages:
            before, after = around[message.role]
            text += before + message.content + after
        return text + self.assistant[0]

    def template(self, bos: str) -> str:
        """The Go template. `bos` is left away at the beginning where llama.cpp puts it there itself."""

        def around(pieces: tuple[str, str], content: str) -> str:
            return f"{_go(pieces[0])}{{{{ {content} }}}}{_go(pieces[1])}"

        system = around((self.system[0].removeprefix(bos), self.system[1]), ".System")
        return (
            "{{ if .System }}" + system + "{{ else }}" + _go(self.no_system.removeprefix(bos)) + "{{ end }}"
            '{{ range .Messages }}{{ if eq .Role "user" }}' + around(self.user, ".Content")
            + '{{ else if eq .Role "assistant" }}' + around(self.assistant, ".Content") + "{{ end }}{{ end }}"
            + _go(self.assistant[0])
        )  # fmt: skip


def find_pieces(render: Render) -> Pieces:
    """Take a template apart.

    Raises:
        BelleError: what it writes around a turn depends on more than the turn's role, so that no pieces make it up.
    """
    system, user, answer = Message("system", _SYSTEM), Message("user", _USER), Message("assistant", _ANSWER)
    try:
        user_after = _after(render([user], False), _USER)
        header = _after(render([user], True), _USER).removeprefix(user_after)
        answer_after = _after(render([user, answer], False), _ANSWER)
        user_before = _between(render([user, answer, user], True), _ANSWER, _USER).removeprefix(answer_after)
        no_system = _cut_end(_before(render([user], True), _USER), user_before)
        whole = render([system, user], True)
        system_after = _cut_end(_between(whole, _SYSTEM, _USER), user_before)
        pieces = Pieces(no_system, (_before(whole, _SYSTEM), system_after), (user_before, user_after), (header, answer_after))
        shapes = [[user], [system, user], [user, answer, user], [system, user, answer, user, answer, user]]
        wrong = next((shape for shape in shapes if pieces.render(shape) != render(shape, True)), None)
    except ValueError:
        wrong = [user]
    if wrong is not None:
        roles = ", ".join(message.role for message in wrong)
        raise BelleError(
            f"the chat template does not write turn after turn (seen on: {roles}), so no Ollama template says the same",
            "set modelfile=false: the GGUF file itself holds the template as it is",
        )
    return pieces


def modelfile(
    gguf: str, pieces: Pieces, bos: str, stops: Sequence[str], parameters: Mapping[str, Any], licence: str = "", system: str = ""
) -> str:
    """The text of a Modelfile.

    Args:
        gguf: the file, as a path beside the Modelfile.
        bos: what llama.cpp puts in front by itself; empty if nothing.
        stops: texts that end an answer.
        parameters: such as temperature and num_ctx.
    """
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{pieces.template(bos)}"""']
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops]
    lines += [f"PARAMETER {name} {value}" for name, value in parameters.items()]
    lines += [f'SYSTEM """{system}"""'] if system else []
    lines += [f'LICENSE """{licence}"""'] if licence else []
    return "\n".join(lines) + "\n"


def _go(text: str) -> str:
    """Literal text inside a Go template inside a Modelfile's triple quotes."""
    if not any(mark in text for mark in ("{{", "}}", '"""')):
        return text
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}"


def _after(text: str, mark: str) -> str:
    return text[text.rindex(mark) + len(mark) :]


def _before(text: str, mark: str) -> str:
    return text[: text.index(mark)]


def _between(text: str, first: str, second: str) -> str:
    start = text.index(first) + len(first)
    return text[start : text.index(second, start)]


def _cut_end(text: str, end: str) -> str:
    if not text.endswith(end):
        raise ValueError(text)
    return text.removesuffix(end)
