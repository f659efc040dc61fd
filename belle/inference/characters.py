"""Text as endpoints send it: characters that are whole, and how many tokens it may have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_WIDE = "\u2e80"
"""From here on stand the letters of East Asia, and emoji."""


def whole(value: Any) -> Any:
    """`value` with half characters mended in every text in it: such text is no UTF-8 and could not be written to a file.

    JSON may hold a half of a surrogate pair (`"\\ud83d"`), as an answer that was cut inside an emoji does. Two halves that
    belong together become their character, one alone becomes U+FFFD.
    """
    if isinstance(value, str):
        if not _SURROGATE.search(value):
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        return {whole(key): whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [whole(item) for item in value]
    return value


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, where only the endpoint could tell: an East Asian character is one, else four are.

    Tokenizers of today make 0.6 to 1 token of a Chinese character, so that a budget kept by this is kept on the safe side.
    """
    wide = sum(char >= _WIDE for char in text)
    return wide + -(-(len(text) - wide) // 4)
