"""Two texts side by side with what differs marked, clipped where they are long."""

from __future__ import annotations

import difflib

LONGEST = 1200
"""Characters of a text that are shown."""
SHORTEST_MATCH = 2
"""A common run of fewer characters between two differences is chance, and is marked with them."""

Pieces = list[tuple[str, bool]]
"""A text in pieces: (piece, whether it differs)."""


def marked(one: str, other: str) -> tuple[Pieces, Pieces]:
    """Both texts in pieces, each telling what the other has not. Only their first `LONGEST` characters are compared and given."""
    one, other = one[:LONGEST], other[:LONGEST]
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    left: Pieces = []
    right: Pieces = []
    for tag, a, b, c, d in matcher.get_opcodes():
        chance = tag == "equal" and b - a < SHORTEST_MATCH and a > 0 and b < len(one)
        differs = tag != "equal" or chance
        _put(left, one[a:b], differs)
        _put(right, other[c:d], differs)
    return left, right


def plain(text: str) -> Pieces:
    """A text alone, clipped."""
    return [(text[:LONGEST], False)] if text else []


def left_out(text: str) -> int:
    """How many characters of a text are not shown."""
    return max(0, len(text) - LONGEST)


def visible(pieces: Pieces) -> Pieces:
    """The pieces with marked white space and control characters drawn, so that a removed line break can be seen."""
    return [(_drawn(text) if differs else text, differs) for text, differs in pieces]


def _drawn(text: str) -> str:
    out = []
    for char in text:
        if char in "\n\r":
            out.append("⏎" + ("\n" if char == "\n" else ""))
        elif char == "\t":
            out.append("⇥")
        elif char in "\u00a0\u3000 ":
            out.append({" ": "·", "\u00a0": "⍽", "\u3000": "□"}[char])
        elif not char.isprintable():
            out.append(f"‹U+{ord(char):04X}›")
        else:
            out.append(char)
    return "".join(out)


def _put(pieces: Pieces, text: str, differs: bool) -> None:
    if not text:
        return
    if pieces and pieces[-1][1] == differs:
        pieces[-1] = (pieces[-1][0] + text, differs)
    else:
        pieces.append((text, differs))
