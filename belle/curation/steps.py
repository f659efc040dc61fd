"""The four kinds of step that cleaning is made of, and what each of them must look like.

- A **filter** (table `FILTERS` in filters.py): `(record, *, option=...) -> str | Drop | None`: why a record goes; None keeps.
- An **edit** (`EDITS` in normalise.py): `(record, *, option=...) -> record | Drop`; the same object says that nothing changed, a
  Drop that nothing would be left. Filters and edits are functions, or classes built once with the options and then called.
- A **score** (`SCORES` in quality.py): a class; `__call__(records) -> list[Score]`; the column is named like the step. A score
  also takes `at_least`, `at_most` (numbers) or `only` (words) in the recipe: the pipeline drops what lies outside.
- A **set step** (`SET_STEPS` here): a class with `prepare` and `decide`, which sees all records: duplicates, selections, quotas.

Options are keyword parameters with annotations and defaults; a recipe's are checked against them before any data is read
(`catalogue.py`). Constructors are cheap: what is heavy (a model, a file) is loaded at the first call. An option `seed: int` that
the recipe does not set gets the recipe's seed. Filters and edits hold no state between records: any process answers alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from belle.curation.items import Drop, Item, Score
from belle.curation.texts import Curated

if TYPE_CHECKING:
    import numpy as np

SET_STEPS = {
    "exact_duplicates": "belle.curation.dedup:ExactDuplicates",
    "near_duplicates": "belle.curation.dedup:NearDuplicates",
    "semantic_duplicates": "belle.curation.dedup:SemanticDuplicates",
    "top_share": "belle.curation.select:TopShare",
    "class_quota": "belle.curation.select:ClassQuota",
    "k_center": "belle.curation.select:KCenter",
    "semantic_k_center": "belle.curation.select:SemanticKCenter",
}
"""name -> `module:attribute` of a class that is a `SetStep`."""


@dataclass(frozen=True, slots=True)
class Duplicate(Drop):
    """A Drop because of another record, which stays: `of` is its position; the report shows the two side by side."""

    of: int = -1


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may need of the run. A class that has a constructor parameter `context: Context` is given it."""

    folder: Path | None = None
    """A folder of the step's own inside the run folder, which outlives a killed run (call logs, caches); None in a trial."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment, as the command read it: keys of endpoints."""


class Filter(Protocol):
    """Says why a record should go: one of the step's few fixed words, or a Drop with a detail; None keeps it."""

    def __call__(self, record: Curated, /) -> str | Drop | None:
        """Look at one record."""
        ...


class Edit(Protocol):
    """Gives the record as it should be: the same object where nothing changed; a Drop where nothing would be left of it."""

    def __call__(self, record: Curated, /) -> Curated | Drop:
        """Rewrite one record."""
        ...


class Scorer(Protocol):
    """Gives each record a number or a word. nan and "" say that it could not be scored; `at_least` and the like then drop it.

    A class attribute `alone = True` says that it holds a model or asks an endpoint: it then runs in the main process only.
    A step of one's own (`my_package.module:Name`) is taken for a score where it has the class attribute `is_score = True`.
    """

    def __call__(self, records: Sequence[Curated], /) -> list[Score]:
        """[len(records)] a score each; a row depends on its own record alone."""
        ...


class Items(Protocol):
    """The records that reached a set step, by position 0 .. n-1: row p of what `prepare` returned is about `items[p]`.

    They lie on the disk: `items[p]` in rising order is cheap, all over the place costs a read of a shard now and then.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Item: ...

    def __iter__(self) -> Iterator[Item]: ...

    def column(self, name: str) -> list[Score]:
        """[n] a score of every record, by the name of the score step before. Raises: BelleError: there is no such column."""
        ...


class SetStep(Protocol):
    """A step that compares records with each other.

    A class attribute `alone = True` says that `prepare` needs a model and runs in the main process only. A class attribute
    `columns: tuple[str, ...]`, or a property, names the score columns that `decide` asks for: they are checked beforehand.
    """

    def prepare(self, records: Sequence[Curated]) -> np.ndarray:
        """[len(records), ...] what `decide` needs of each record. Runs in workers, shard by shard.

        A row depends on its own record alone, never on its neighbours: how records are cut into shards is not its business. All
        shards give the same dtype and trailing shape (0 records too). No object arrays: they are stored without pickle.
        """
        ...

    def decide(self, prepared: Iterable[np.ndarray], items: Items) -> Iterable[tuple[int, Drop]]:
        """Which positions go, and why. Runs once, in the main process.

        Args:
            prepared: what `prepare` returned, shard after shard, in order (their concatenation has `len(items)` rows). It
                can be gone through more than once; each array is read from the disk when its turn comes.
            items: the records and their scores, by position.

        Returns:
            Each position at most once, in any order: the pipeline sorts. The same input must give the same result.
            Where a record goes because of another one that stays, a `Duplicate(reason, detail, of=its position)`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a recipe says about a score beside the score's own options."""

    at_least: float | None = None
    at_most: float | None = None
    only: tuple[str, ...] | None = None

    NAMES: ClassVar[tuple[str, ...]] = ("at_least", "at_most", "only")

    def outside(self, score: Score, column: str) -> Drop | None:
        """The Drop for a score outside the limits, else None."""
        if self == Limits():
            return None
        if score == "" or score != score:
            return Drop("not scored", f"{column} gave nothing")
        if self.only is not None:
            return None if score in self.only else Drop("not among the chosen", f"{column} is {score}")
        if isinstance(score, str):
            return Drop("not a number", f"{column} is {score!r}")
        if self.at_least is not None and score < self.at_least:
            return Drop("below at_least", f"{column} is {score:.4g}, at_least is {self.at_least:g}")
        if self.at_most is not None and score > self.at_most:
            return Drop("above at_most", f"{column} is {score:.4g}, at_most is {self.at_most:g}")
        return None
