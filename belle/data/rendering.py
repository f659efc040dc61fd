"""The text side of a chat template: jinja, compiled once, with `{% generation %}` marks and the contents kept apart.

While a conversation is rendered, three lone surrogates serve as marks. No content can hold one (it would not be text), so
none can be forged, and whatever a template does with a marked text, the marks travel inside it:

    OPEN, CLOSE   stand around what a `{% generation %}` block wrote: what the assistant says
    BREAK         stands inside every control-token string that a *content* holds, so that it stays ordinary text
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from belle.errors import BelleError
from belle.records import Message, message_dict

OPEN, CLOSE, BREAK = "\ud800", "\ud801", "\ud802"
_MARK = re.compile(f"[{OPEN}{CLOSE}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOTHING = re.compile(r"(?!)")


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}`: puts the marks around what its body writes."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return OPEN + caller() + CLOSE


def _environment() -> jinja2.Environment:
    """The environment that transformers gives to chat templates: sandboxed, block whitespace trimmed, the same helpers."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None,
             sort_keys: bool = False) -> str:  # fmt: skip
    # jinja's own filter escapes HTML and Chinese
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


class Renderer:
    """One compiled template.

    Args:
        name: what error messages call the template.
        jinja: its source.
        variables: what it may use beside the conversation, such as `bos_token`.
        controls: texts that are control tokens of the tokenizer.

    Raises:
        BelleError: the source is not valid jinja.
    """

    def __init__(self, name: str, jinja: str, variables: Mapping[str, str], controls: Iterable[str]) -> None:
        self.name, self._variables = name, dict(variables)
        try:
            self._template = _environment().from_string(jinja)
        except jinja2.TemplateSyntaxError as error:
            raise BelleError(f"template {name!r}, line {error.lineno}: {error.message}") from error
        # A token of one character is that character either way, and cannot be broken.
        escaped = "|".join(re.escape(text) for text in sorted(controls, key=len, reverse=True) if len(text) > 1)
        self.control = re.compile(escaped) if escaped else _NOTHING
        """Matches a control token; in rendered text these are the ones that the template itself wrote."""
        self._inside = re.compile(f"(?=(?:{escaped}))(.)", re.DOTALL) if escaped else _NOTHING

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], prompt: bool) -> str:
        """The text of a conversation, marks included; with `prompt`, up to and including the next assistant header.

        Raises:
            BelleError: the template refuses the conversation, or a content is not valid Unicode.
        """
        try:
            return self._template.render(
                messages=[self._protect(_openai(message)) for message in messages], tools=self._protect(list(tools)) or None,
                documents=None, add_generation_prompt=prompt, **self._variables,
            )  # fmt: skip
        except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise BelleError(f"template {self.name!r} refuses the conversation: {error}") from error

    def protect(self, text: str) -> str:
        """`text` with a BREAK inside every control-token string, so that the tokenizer never sees one whole."""
        if _SURROGATE.search(text):
            raise BelleError(f"a text holds a lone surrogate, which is no character: {text[:60]!a}")
        return self._inside.sub(rf"\1{BREAK}", text) if self.control.search(text) else text

    def _protect(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.protect(value)
        if isinstance(value, Mapping):
            return {self.protect(str(key)): self._protect(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._protect(item) for item in value]
        return value


def portable(jinja: str) -> str:
    """The same template without `{% generation %}`, which engines other than transformers do not know."""
    opened = re.sub(r"\{%([-+]?)\s*generation\s*([-+]?)%\}", r"{%\1 if true \2%}", jinja)
    return re.sub(r"\{%([-+]?)\s*endgeneration\s*([-+]?)%\}", r"{%\1 endif \2%}", opened)


def split_marks(text: str) -> list[str] | None:
    """Rendered text as [outside, inside, outside, ..., outside] of its generation blocks; None when they overlap."""
    parts = _MARK.split(text)
    regular = "".join(_MARK.findall(text)) == (OPEN + CLOSE) * (len(parts) // 2)
    return parts if regular else None


def unmarked(text: str) -> str:
    """Rendered text as a reader sees it."""
    return _SURROGATE.sub("", text)


def _openai(message: Message) -> dict[str, Any]:
    """The message as templates expect it. Call arguments are objects there, as transformers and vLLM hand them over."""
    row = message_dict(message)
    for call in row.get("tool_calls", ()):
        try:
            arguments = json.loads(call["function"]["arguments"])
        except ValueError:
            continue  # not JSON: shown as it stands
        if isinstance(arguments, dict):
            call["function"]["arguments"] = arguments
    return row
