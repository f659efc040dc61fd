"""The classes of instructions, by one name each wherever they stand: in data, in quotas, in evaluation reports."""

from __future__ import annotations

import unicodedata

CATEGORIES = (
    "math", "code", "cot", "classification", "extract", "open_qa", "closed_qa", "generation", "brainstorming", "rewrite",
    "translation", "summarization",
)  # fmt: skip
"""The twelve classes of BELLE's evaluation and papers; a macro average runs over those that a set has."""
CLASSES = (*CATEGORIES, "chat")
"""What the classifier tells apart: the twelve, and talk with the assistant itself (small talk, who it is, role play)."""
OTHER_NAMES = {
    "summarisation": "summarization", "extraction": "extract", "brainstorm": "brainstorming", "close_qa": "closed_qa",
    "role_playing": "chat", "role_play": "chat",
}  # fmt: skip


def category_name(name: str) -> str:
    """The class name as belle writes it: 'Closed\\xa0QA' is closed_qa."""
    words = unicodedata.normalize("NFKC", name).casefold().replace("-", " ").replace("_", " ").split()
    return OTHER_NAMES.get("_".join(words), "_".join(words))
