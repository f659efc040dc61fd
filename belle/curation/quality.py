"""Scores of single records, each a column: lengths, the kind of task, how likely, how difficult, how good.

A number may come with `at_least` and `at_most` in the recipe, a word with `only`. nan (of a word: "") says that a record could
not be scored, such as one longer than the model's context; limits then drop it as "not scored".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from belle import logs
from belle.curation.items import Score
from belle.curation.likelihood import Dtype, Likelihood
from belle.curation.texts import Curated, answer_text, instruction_text, whole_text
from belle.records import Conversation, Document, Message

SCORES = {
    "length_characters": "belle.curation.quality:LengthCharacters",
    "instruction_characters": "belle.curation.quality:InstructionCharacters",
    "answer_characters": "belle.curation.quality:AnswerCharacters",
    "turns": "belle.curation.quality:Turns",
    "distinct_words": "belle.curation.quality:DistinctWords",
    "instruction_class": "belle.curation.classify:Classifier",
    "perplexity": "belle.curation.quality:Perplexity",
    "instruction_following_difficulty": "belle.curation.quality:InstructionFollowingDifficulty",
    "reward_model": "belle.curation.reward:RewardModel",
    "judge": "belle.curation.judge:Judge",
    "judged_class": "belle.curation.judge:JudgedClass",
}
"""name -> `module:attribute` of a class that is a `Scorer` (steps.py)."""

NAN = float("nan")


class LengthCharacters:
    """Characters of all turns but the system's; of a document, of its text."""

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] counts."""
        return [float(len(whole_text(record))) for record in records]


class InstructionCharacters:
    """Characters of all user turns."""

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] counts."""
        return [float(len(instruction_text(record))) for record in records]


class AnswerCharacters:
    """Characters of all assistant turns."""

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] counts."""
        return [float(len(answer_text(record))) for record in records]


class Turns:
    """User turns; of a document 0."""

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] counts."""
        return [0.0 if isinstance(r, Document) else float(sum(m.role == "user" for m in r.messages)) for r in records]


class DistinctWords:
    """Share of the answer's words that are different ones: near 0 where it repeats itself; nan without words."""

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] shares in 0..1."""
        from belle.curation.words import words

        found = [words(answer_text(record)) for record in records]
        return [len(set(each)) / len(each) if each else NAN for each in found]


class Perplexity:
    """How unexpected a model finds the answers, given what is asked: exp of the mean loss of a token; low is likely.

    Of a document, of its whole text.
    """

    alone = True

    def __init__(self, *, model: str, template: str | None = None, batch_size: int = 16, dtype: Dtype = "auto") -> None:
        """`model`, `template` and `dtype`: as path, template and dtype in a recipe's `model:`."""
        self._likelihood = Likelihood(model, template, batch_size, dtype)

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] perplexities, 1 or more."""
        losses = _per_record(records, self._likelihood)
        return _rounded("perplexity", [math.exp(min(loss, 700.0)) for loss in losses])


class InstructionFollowingDifficulty:
    """Loss of the first answer with its instruction, divided by its loss without (Li et al., 2023).

    "From Quantity to Quality: Boosting LLM Performance with Self-Guided Data Selection for Instruction Tuning". Near 1 the
    instruction does not help the model to the answer, so there is much to learn; above 1 it misleads, the two do not belong
    together; near 0 it is easy. Without means: the same chat template around an empty user turn, no system turn. Of longer
    conversations the first round counts.
    """

    alone = True

    def __init__(self, *, model: str, template: str | None = None, batch_size: int = 16, dtype: Dtype = "auto") -> None:
        """`model`, `template` and `dtype`: as path, template and dtype in a recipe's `model:`."""
        self._likelihood = Likelihood(model, template, batch_size, dtype)

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] ratios above 0."""
        rounds = [first_round(record) for record in records]
        there = [each for each in rounds if each is not None]
        with_ = self._likelihood.conversations(there)
        without = self._likelihood.conversations([Conversation((Message("user", ""), each.messages[-1])) for each in there])
        ratios = iter([a / b if b > 0 else NAN for a, b in zip(with_, without, strict=True)])
        return _rounded("instruction_following_difficulty", [NAN if each is None else next(ratios) for each in rounds])


def first_round(record: Curated) -> Conversation | None:
    """Everything up to the first assistant turn that says something after a user turn; None where there is none."""
    if isinstance(record, Document):
        return None
    for place, message in enumerate(record.messages):
        if message.role == "assistant":
            if not message.content.strip() or not any(m.role == "user" for m in record.messages[:place]):
                return None
            answer = Message("assistant", message.content)
            return Conversation((*record.messages[:place], answer), id=record.id, source=record.source)
    return None


def _per_record(records: Sequence[Curated], likelihood: Likelihood) -> list[float]:
    """Mean loss of a token, of conversations and documents alike."""
    losses = [NAN] * len(records)
    ways: tuple[tuple[type, Callable[..., list[float]]], ...] = (
        (Conversation, likelihood.conversations), (Document, likelihood.documents),
    )  # fmt: skip
    for kind, way in ways:
        places = [place for place, record in enumerate(records) if isinstance(record, kind)]
        for place, loss in zip(places, way([records[place] for place in places]) if places else [], strict=True):
            losses[place] = loss
    return losses


def _rounded(name: str, values: Sequence[float]) -> list[Score]:
    """Six significant digits: the last ones of floating point arithmetic differ with what stands in one batch."""
    unscored = sum(value != value for value in values)
    if unscored:
        logs.warn(f"{name}: {unscored} of {len(values)} records could not be scored (no answer, or longer than the context)")
    return [float(f"{value:.6g}") for value in values]
