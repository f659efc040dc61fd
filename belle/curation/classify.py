"""What kind of task an instruction is: thirteen classes, by a small linear model of our own or by asking a backend.

The model is trained from shipped, labelled instructions at its first use (about a second) and kept in memory: there is no file
of weights that could be out of step with them. Its measured quality is in docs/data.md, by benchmarks/classifier.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from belle.config import shipped
from belle.curation.items import Score
from belle.curation.softmax import Softmax, train
from belle.curation.texts import Curated
from belle.data.categories import CLASSES
from belle.jsonl import read_rows
from belle.records import Document

SEEDS = Path(__file__).with_name("classifier_seeds.jsonl")
"""Rows of category and text, written for this purpose."""
ALSO = ("instructions_zh", "instructions_en", "seed_tasks_zh")
"""Shipped data whose rows carry a class; the evaluation set is not among them."""
RIDGE = 0.03
"""Chosen by cross-validation on the seeds."""
BATCH = 4096


def classify(texts: Sequence[str]) -> list[tuple[str, float]]:
    """(class, its probability) of each instruction, with its input if it has one; ("", 0.0) of a blank one.

    The class is one of `belle.data.categories.CLASSES`. The same text gives the same answer whatever stands beside it.
    """
    answers: list[tuple[str, float]] = []
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        chances = _model().probabilities(batch)
        for text, row in zip(batch, chances, strict=True):
            best = int(row.argmax())
            answers.append((CLASSES[best], float(row[best])) if text.strip() else ("", 0.0))
    return answers


def labelled() -> list[tuple[str, str, str]]:
    """(text, class, file) of everything that the model learns from, the seeds first."""
    rows = [(row["text"], row["category"], SEEDS.name) for row in read_rows(SEEDS)]
    for name in ALSO:
        for row in read_rows(shipped("data") / f"{name}.jsonl"):
            category = "chat" if row["category"] == "identity" else row["category"]
            rows.append((_asked(row), category, f"{name}.jsonl"))
    return rows


def asked(record: Curated) -> str:
    """What says the class of a record: its first user turn (later ones are mostly short replies)."""
    if isinstance(record, Document):
        return record.text
    return next((message.content for message in record.messages if message.role == "user"), "")


class Classifier:
    """The kind of task, one of thirteen words such as open_qa or rewrite, by the first user turn."""

    def __init__(self, *, minimum: float = 0.0) -> None:
        """`minimum`: below this probability the word is "unsure"."""
        self.minimum = minimum

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] words."""
        found = classify([asked(record) for record in records])
        return [word if chance >= self.minimum or not word else "unsure" for word, chance in found]


@functools.cache
def _model() -> Softmax:
    rows = labelled()
    return train([text for text, _, _ in rows], [category for _, category, _ in rows], CLASSES, RIDGE)


def _asked(row: dict[str, object]) -> str:
    if "messages" in row:
        messages = row["messages"]
        assert isinstance(messages, list)
        return "\n".join(str(message["content"]) for message in messages if message["role"] == "user")
    return "\n".join(str(row[name]) for name in ("instruction", "input") if row.get(name))
