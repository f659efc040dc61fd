"""What a tokenizer makes of texts: tokens, characters a token, by language; and what changed from one tokenizer to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tokenizers import Tokenizer

_BATCH = 1000


@dataclass
class Counts:
    """Texts of a language: how many, with how many characters, and how many tokens before and after."""

    texts: int = 0
    characters: int = 0
    before: int = 0
    after: int = 0

    def figures(self) -> dict[str, Any]:
        """As numbers for run.json; `fewer` is the share of tokens that is saved."""
        return {
            "texts": self.texts, "characters": self.characters, "tokens_before": self.before, "tokens_after": self.after,
            "characters_a_token_before": self.characters / max(1, self.before),
            "characters_a_token_after": self.characters / max(1, self.after), "fewer": 1 - self.after / max(1, self.before),
        }  # fmt: skip


@dataclass
class Comparison:
    """Two tokenizers on the same texts."""

    languages: dict[str, Counts] = field(default_factory=dict)
    used: Counter[int] = field(default_factory=Counter)
    """Ids of the second tokenizer -> how often they occur."""
    changed: list[str] = field(default_factory=list)
    """Texts that come back otherwise from the second tokenizer than from the first."""


def compare(before: Tokenizer, after: Tokenizer, texts: Iterable[str], language: Callable[[str], str | None]) -> Comparison:
    """Put texts through both tokenizers and back. `language` names that of a text, None where it is in none."""
    result, rest = Comparison(), iter(texts)
    while batch := list(islice(rest, _BATCH)):
        old, new = (each.encode_batch(batch, add_special_tokens=False) for each in (before, after))
        back = (
            each.decode_batch([encoding.ids for encoding in encodings], skip_special_tokens=False)
            for each, encodings in ((before, old), (after, new))
        )
        for text, a, b, from_old, from_new in zip(batch, old, new, *back, strict=True):
            counts = result.languages.setdefault(language(text) or "none", Counts())
            counts.texts += 1
            counts.characters += len(text)
            counts.before += len(a.ids)
            counts.after += len(b.ids)
            result.used.update(b.ids)
            if from_old != from_new:
                result.changed.append(text)
    return result


def total(languages: Iterable[Counts]) -> Counts:
    """All languages together."""
    rows: Sequence[Counts] = list(languages)
    return Counts(*(sum(getattr(row, name) for row in rows) for name in ("texts", "characters", "before", "after")))
