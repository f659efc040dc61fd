"""The diversity check of a cleaning: kinds of task, verbs and words of equally many records before and after, drawn by lot.

Distinct words and pairs fall as a set grows whatever is in it, so only sets of one size can be compared.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from belle.curation.classify import asked, classify
from belle.curation.diversity import VerbObjects, Vocabulary
from belle.curation.steps import Items
from belle.curation.texts import Curated, answer_text, instruction_text
from belle.records import Conversation

SAMPLE = 2000
"""Records of each side, at most."""
FREQUENT = 24
"""Words and verbs that are shown."""


def compare(before: Items, after: Items, seed: int = 0) -> dict[str, Any]:
    """The figures of both sides: {"sample": records of each, "before", "after"}; nothing where nothing is left."""
    size = min(SAMPLE, len(before), len(after))
    if not size:
        return {}
    return {"sample": size} | {
        name: figures([items[position].record for position in draw(len(items), size, seed)])
        for name, items in (("before", before), ("after", after))
    }


def draw(count: int, size: int, seed: int) -> list[int]:
    """`size` of the positions 0 .. count - 1, in rising order; all of them where that is how many there are."""
    return sorted(random.Random(seed).sample(range(count), size))


def figures(records: Sequence[Curated]) -> dict[str, Any]:
    """Kinds of task (word -> records), verbs with their objects, and words; of documents the words alone."""
    talks = [record for record in records if isinstance(record, Conversation)]
    pairs, words = VerbObjects(), {"instruction": Vocabulary(), "answer": Vocabulary()}
    for record in records:
        words["instruction"].add(instruction_text(record))
        if isinstance(record, Conversation):
            words["answer"].add(answer_text(record))
            pairs.add(asked(record))
    kinds = Counter(word or "(blank)" for word, _ in classify([asked(record) for record in talks])) if talks else Counter()
    return {
        "classes": dict(sorted(kinds.items(), key=lambda each: (-each[1], each[0]))),
        "verb_object": pairs.summary() if talks else None,
        "words": {name: vocabulary.summary(FREQUENT) for name, vocabulary in words.items() if vocabulary.count},
    }
