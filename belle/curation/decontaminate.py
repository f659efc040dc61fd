"""The filter `decontaminate`: records that give a question of an evaluation set away.

What counts as given away is told in `belle/data/overlap.py`, which the evaluation's own report of leaks reads as well.
"""

from __future__ import annotations

from belle.curation.items import Drop
from belle.data.overlap import HOWS, How, Question, QuestionIndex, Rules, read_questions, texts_of
from belle.errors import BelleError
from belle.records import Record
from belle.sections import DataSection

REASONS: dict[How, str] = {
    "exact": "is an evaluation question", "contained": "contains an evaluation question",
    "gram": "shares 13 units with an evaluation question", "near": "is nearly an evaluation question",
}  # fmt: skip
_SHOWN = 60


class Decontaminate:
    """Drops what gives away a question of the evaluation files in `against`.

    Args:
        against: files of questions in any format of conversations, such as `shipped:evaluation.jsonl` or a C-Eval CSV.
        format: as `data.format`.
        near: similarity (Jaccard, character 3-grams) from which a text is nearly a question; above 1 switches this off.
        common: 13 units that stand in more questions than this prove nothing.
        share: the least share of a question's runs of 13 units that must be found; 0 takes one for proof.
        ignore: phrases that prove nothing.

    Raises:
        BelleError: `against` names nothing, or a number makes no sense; at the first record, a file that cannot be read.
    """

    def __init__(
        self, *, against: str | tuple[str, ...] = (), format: str = "auto", near: float = 0.6, common: int = 2,
        share: float = 0.0, ignore: str | tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.paths = (against,) if isinstance(against, str) else tuple(against)
        if not self.paths:
            raise BelleError("decontaminate is told no evaluation set", "name files: decontaminate: {against: [my_test.jsonl]}")
        self.format = format
        self.rules = Rules(near, common, share, (ignore,) if isinstance(ignore, str) else tuple(ignore))
        self._index: QuestionIndex | None = None
        self._files: dict[str, str] = {}

    def __call__(self, record: Record) -> Drop | None:
        """The surest proof that the record gives a question away; None keeps it."""
        if self._index is None:
            self._index = QuestionIndex(self._read(), self.rules)
        found = self._index.matches(texts_of(record))
        if not found:
            return None
        first = min(found, key=lambda match: (HOWS.index(match.how), -match.share, match.question))
        name = self._index.questions[first.question].id
        words = first.found if len(first.found) <= _SHOWN else first.found[: _SHOWN - 1] + "…"
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return Drop(REASONS[first.how], f"{name} of {self._files[name]} ({first.how} {first.share:.2f}){more}: {words}")

    def __getstate__(self) -> dict[str, object]:
        # The index is built again in each process: that is quicker than sending it.
        return self.__dict__ | {"_index": None}

    def _read(self) -> list[Question]:
        questions: dict[str, Question] = {}
        for path in self.paths:
            for question in read_questions(DataSection(path=path, format=self.format)):
                name = question.id if question.id not in questions else f"{path}: {question.id}"
                questions[name] = Question(name, question.text)
                self._files[name] = path
        return list(questions.values())
