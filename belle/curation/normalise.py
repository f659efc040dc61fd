"""The table of edits, and the plain ones: one form for what is written in several, and traditional to simplified Chinese.

An edit gives back the same object where nothing changes, and is idempotent: twice is once.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Literal

from belle.curation.rounds import with_texts
from belle.curation.texts import Curated
from belle.data.letters import KANA_HANGUL
from belle.errors import BelleError

EDITS = {
    "normalise": "belle.curation.normalise:Normalise",
    "simplify": "belle.curation.normalise:Simplify",
    "repair_mojibake": "belle.curation.damage:repair_mojibake",
    "plain_instruction": "belle.curation.rewriting:plain_instruction",
    "mask_personal_data": "belle.curation.personal_data:MaskPersonalData",
}
"""name -> `module:attribute` of a function or class that is a `belle.curation.steps.Edit`."""

_FULL_WIDTH = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
_HALF_KANA = re.compile("[\uff66-\uff9f]+")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`", re.DOTALL)
_ZERO_WIDTH = re.compile("[\u200b\u2060\ufeff]")
# U+200D joins emoji and Indic letters, U+200C is Persian spelling: they go only where a neighbour is neither.
_PLAIN = "\u0000-\u00ff\u2e80-\u9fff\uff00-\uffef"
_JOINERS = re.compile(f"(?<![^{_PLAIN}])[\u200c\u200d]+|[\u200c\u200d]+(?![^{_PLAIN}])")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_LINES = re.compile("\r\n?|[\u0085\u2028\u2029]")
_KANA_HANGUL = re.compile(f"[{KANA_HANGUL}]")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)


class Normalise:
    """Writes what can be written in several ways in one: width, spaces, line ends, invisible characters. Code keeps its widths.

    Args:
        width: full-width letters and digits (Ａ１) become half-width, half-width kana full-width. Punctuation stays.
        spaces: the no-break space and other odd spaces become plain ones. The ideographic space, which indents, stays.
        lines: CRLF, CR and U+2028 become LF.
        invisible: BOM and zero-width characters go, but not those that join emoji or letters.
        controls: control characters other than tab and line feed go.
        trailing: spaces at the ends of lines, and blank lines around the text, go.
        form: a Unicode form of the whole text, "NFC" or "none". NFKC is not offered: it turns ① into 1 and ，into a comma.
    """

    def __init__(
        self, *, width: bool = True, spaces: bool = True, lines: bool = True, invisible: bool = True, controls: bool = True,
        trailing: bool = False, form: Literal["NFC", "none"] = "NFC",
    ) -> None:  # fmt: skip
        self.width, self.spaces, self.lines, self.invisible = width, spaces, lines, invisible
        self.controls, self.trailing, self.form = controls, trailing, form

    def __call__(self, record: Curated) -> Curated:
        """The record in one form."""
        return with_texts(record, self.text)

    def text(self, text: str) -> str:
        """One text in one form."""
        compose = self.form == "NFC" and not text.isascii()
        if compose:
            text = unicodedata.normalize("NFC", text)
        if self.lines:
            text = _LINES.sub("\n", text)
        if self.controls:
            text = _CONTROLS.sub("", text)
        if self.invisible:
            text = _JOINERS.sub("", _ZERO_WIDTH.sub("", text))
        if self.spaces:
            text = _SPACES.sub(" ", text)
        if self.width and not text.isascii():
            text = outside_code(text, _half_width)
        if compose:  # what stood between a letter and its accent may be gone
            text = unicodedata.normalize("NFC", text)
        if self.trailing:
            text = outside_code(text, lambda part: _TRAILING.sub("", part)).strip("\n")
        return text


class Simplify:
    """Turns traditional Chinese into simplified, words and not only characters, with OpenCC's tables.

    Args:
        config: OpenCC's configuration: "t2s", or "tw2sp" and "hk2s", which also change Taiwan's and Hong Kong's words.
        keep_code: leaves code blocks and inline code as they are.
    """

    def __init__(self, *, config: Literal["t2s", "tw2s", "tw2sp", "hk2s"] = "t2s", keep_code: bool = True) -> None:
        self.config, self.keep_code = config, keep_code

    def __call__(self, record: Curated) -> Curated:
        """The record in simplified characters."""
        return with_texts(record, self.text)

    def text(self, text: str) -> str:
        """One text in simplified characters. Japanese and Korean texts are left alone: their characters are not Chinese ones."""
        if text.isascii() or _KANA_HANGUL.search(text):
            return text
        whole = _converter(self.config).convert

        def convert(part: str) -> str:
            return "".join(each if n % 2 else whole(each) for n, each in enumerate(_LONE.split(part)))

        return outside_code(text, convert) if self.keep_code else convert(text)


_LONE = re.compile("([\ud800-\udfff]+)")  # OpenCC cannot take lone surrogates


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """The text with `change` made to what stands outside code blocks and inline code."""
    if "`" not in text and "~~~" not in text:
        return change(text)
    parts: list[str] = []
    end = 0
    for match in _CODE.finditer(text):
        parts += [change(text[end : match.start()]), match.group()]
        end = match.end()
    return "".join([*parts, change(text[end:])])


def _half_width(text: str) -> str:
    text = _FULL_WIDTH.sub(lambda match: chr(ord(match.group()) - 0xFEE0), text)
    return _HALF_KANA.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)


@functools.cache
def _converter(config: str) -> Any:
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise BelleError("the package opencc is not installed", "pip install opencc") from error
    return OpenCC(config)
