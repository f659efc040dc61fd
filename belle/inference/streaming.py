"""From token ids, as they come, to text that can be shown at once: whole characters only, and nothing past a stop text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"
"""What decoders write for bytes that are no character, or not yet one."""


class Detokenizer:
    """Token ids in, whole characters out.

    Only the last few ids are decoded again: those since the last two places where the text was whole. The earlier of the
    two gives the decoder its context (SentencePiece decoders take the space off the front of what they decode).
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        """`decode` is the tokenizer's, without special tokens."""
        self._decode = decode
        self._ids: list[int] = []
        self._shown = 0  # ids whose text is out

    def push(self, token: int) -> str:
        """The text that this token completes; empty inside a character."""
        self._ids.append(token)
        before, text = self._decode(self._ids[: self._shown]), self._decode(self._ids)
        if text.endswith(UNFINISHED):
            return ""
        if text != before:
            del self._ids[: self._shown]
        self._shown = len(self._ids)
        return text[len(before) :]

    def finish(self) -> str:
        """What is left when no more tokens come: bytes of a character that was never completed are given up."""
        before, text = self._decode(self._ids[: self._shown]), self._decode(self._ids)
        return text[len(before) :].rstrip(UNFINISHED)


class StopTexts:
    """Lets text through up to the first stop text, and holds back what may become one.

    The result is that of a reader who looks at one character after the other, however the text is cut into pieces: the stop
    text that is complete first ends it, and of several that are complete at the same character the one that began first.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """What can be shown of the text so far; `found` tells whether a stop text has ended it."""
        if self.found or not self._stops:
            return "" if self.found else text
        text = self._held + text
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)[1]]
        keep = max((n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back and did not become a stop text."""
        held, self._held = self._held, ""
        return held


class TextStream:
    """Both of these, one behind the other: what an answer looks like while it grows."""

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str] = ()) -> None:
        self._tokens, self._stops = Detokenizer(decode), StopTexts(stops)
        self._pieces: list[str] = []

    @property
    def stopped(self) -> bool:
        """Whether a stop text has ended the answer."""
        return self._stops.found

    @property
    def text(self) -> str:
        """All that was let through so far."""
        return "".join(self._pieces)

    def push(self, token: int) -> str:
        """The text that can be shown after this token."""
        return self._keep(self._stops.push(self._tokens.push(token)))

    def finish(self) -> str:
        """The rest, when the tokens have ended."""
        rest = self._stops.push(self._tokens.finish())
        return self._keep(rest if self.stopped else rest + self._stops.finish())

    def _keep(self, piece: str) -> str:
        self._pieces.append(piece)
        return piece
