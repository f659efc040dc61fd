"""The columns of a row before any format looks at them: renamed by `data.columns`, freed of non-breaking spaces, counted.

Non-breaking spaces hide in published files (BELLE's evaluation set writes a category as `closed\\xa0qa`). In the names of
columns, roles and categories they are mended and counted; in texts they are content and stay.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from belle.data.rows import Row
from belle.data.turns import TURN_KEYS
from belle.errors import BelleError, nearest

NBSP = "\xa0"
TURN_COLUMNS = ("messages", "conversations", "prompt", "chosen", "rejected")
MEDIA = frozenset(f"{name}{s}" for name in ("image", "audio", "video") for s in ("", "s"))
READ = frozenset(
    [*TURN_COLUMNS, "id", "category", "class", "language", "label", "tools", "system", "instruction", "input", "output",
     "history", "target", "instances", "question", "reference", "std_answer", "completion", "text",
     "Question", "answer", "Answer", "choices", "subject", *"ABCDEFGHIJ", "source"]
)  # fmt: skip
"""Every column that some format reads."""

# How the columns of a format are called elsewhere; for the mapping that an error suggests.
_SYNONYMS = {
    "instruction": "question query prompt problem ask task q user human 指令 问题 提问 题目 输入",
    "output": "answer response completion reply solution target a assistant bot 回答 答案 回复 输出",
    "messages": "dialog dialogue chat conversation turns 对话",
    "text": "content body article document passage 正文 内容 文本",
    "prompt": "instruction question query input 指令 问题 提问",
    "chosen": "preferred accepted better good win positive 优",
    "rejected": "reject dispreferred worse bad lose negative 劣",
}  # fmt: skip
_TARGETS = {
    "Conversation": (("messages",), ("instruction", "output")),
    "Document": (("text",),),
    "Preference": (("prompt", "chosen", "rejected"),),
}


class _Plan(NamedTuple):
    """What to do with rows that have the same columns."""

    names: list[tuple[str, str]] | None  # (old, new), or None where the row can stay as it is
    counts: list[str]
    media: list[str]
    turns: list[str]


class Columns:
    """Applies `data.columns` (new: old) and counts what it mends; rows with the same columns share one plan."""

    def __init__(self, mapping: Mapping[str, str], counts: Counter[str]) -> None:
        self.mapping, self.counts = mapping, counts
        self.found: set[str] = set()
        self._plans: dict[tuple[str, ...], _Plan] = {}

    def clean(self, row: Row) -> Row:
        """The row as formats expect it; the given one is not changed.

        Raises:
            BelleError: two columns get one name, or the row has pictures, sound or video.
        """
        key = tuple(row)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(key)
        for count in plan.counts:
            self.counts[count] += 1
        if plan.names is not None:
            row = {new: row[old] for old, new in plan.names}
        for column in plan.media:
            if row[column]:
                fix = "leave such rows out: data.on_error=keep"
                raise BelleError(f"column {column!r}: images, audio and video are not supported yet", fix)
        for column in ("category", "class"):
            if isinstance(value := row.get(column), str) and NBSP in value:
                row = {**row, column: self._mend(value)}
        for column in plan.turns:
            row = {**row, column: self._clean_turns(row[column], column)}
        return row

    def missing(self) -> list[str]:
        """What `data.columns` names and no row had."""
        return sorted(set(self.mapping.values()) - self.found)

    def _mend(self, value: str) -> str:
        self.counts["nbsp"] += 1
        return value.replace(NBSP, " ").strip()

    def _plan(self, columns: tuple[str, ...]) -> _Plan:
        counts = []
        plain = {}
        for column in columns:
            plain[column] = column.replace(NBSP, " ").strip() if NBSP in column else column
            if plain[column] != column:
                counts.append("nbsp")
        olds = {plain[column]: column for column in columns}
        if len(olds) != len(columns):
            raise BelleError(f"two columns have one name but for non-breaking spaces: {', '.join(map(repr, columns))}")
        self.found |= olds.keys() & set(self.mapping.values())
        mapped = [(olds[old], new) for new, old in self.mapping.items() if old in olds]
        taken = {old for old, _ in mapped}
        news = {new for _, new in mapped}
        names = mapped + [(c, plain[c]) for c in columns if c not in taken and plain[c] not in news]
        counts += [f"column {c!r} replaced by data.columns" for c in columns if c not in taken and plain[c] in news]
        counts += [f"column {new!r} not read" for _, new in names if new not in READ and new not in MEDIA]
        here = [new for _, new in names]
        changed = counts.count("nbsp") or mapped
        media = [c for c in here if c in MEDIA]
        return _Plan(names if changed else None, counts, media, [c for c in TURN_COLUMNS if c in here])

    def _clean_turns(self, turns: Any, column: str) -> Any:
        """Turns as a list (tables hold them as JSON text), each with clean keys and role; plain text stays."""
        if isinstance(turns, str) and column in ("messages", "conversations") and turns.lstrip().startswith("["):
            try:
                turns = json.loads(turns)
            except (ValueError, RecursionError) as error:
                raise BelleError(f"column {column!r} is text, and as JSON it is broken: {error}") from error
        if isinstance(turns, dict):
            return self._clean_turn(turns)
        if isinstance(turns, list):
            return [self._clean_turn(turn) if isinstance(turn, dict) else turn for turn in turns]
        return turns

    def _clean_turn(self, turn: Row) -> Row:
        if not turn.keys() <= TURN_KEYS:
            turn = {self._mend(key) if NBSP in key else key: value for key, value in turn.items()}
            for key in turn.keys() - TURN_KEYS:
                self.counts[f"key {key!r} of a turn not read"] += turn[key] is not None
        for key in ("role", "from"):
            if isinstance(role := turn.get(key), str) and NBSP in role:
                turn = {**turn, key: self._mend(role)}
        return turn


def suggest(row: Row, kind: str, mapping: Mapping[str, str]) -> str:
    """A fix for a row that no format fits: a misspelt mapping, or the `data.columns` that would make it fit."""
    if missing := [old for old in mapping.values() if old not in row]:
        return f"data.columns names {missing[0]!r}, which this row does not have.{nearest(missing[0], list(row))}"
    for targets in _TARGETS.get(kind, ()):
        found = _match(targets, row)
        if found is not None:
            pairs = ", ".join(f"{new}: {_quoted(old)}" for new, old in found.items() if new != old)
            return f"if the columns mean this, map them: data.columns='{{{pairs}}}'" if pairs else ""
    return "see docs/formats.md for the columns of each format"


def _match(targets: Sequence[str], row: Row) -> dict[str, str] | None:
    """Which column may be which: by name, by synonym, by likeness, and for texts what is left over in its order."""
    shape = list if targets == ("messages",) else str
    free = [column for column, value in row.items() if isinstance(value, shape)]
    found: dict[str, str] = {}
    rules = (_by_name, _by_synonym, _by_likeness) if shape is list else (_by_name, _by_synonym, _by_likeness, _by_order)
    for rule in rules:
        for target in targets:
            if target not in found and (column := rule(target, [c for c in free if c not in found.values()])):
                found[target] = column
    return {target: found[target] for target in targets} if len(found) == len(targets) else None


def _by_name(target: str, columns: list[str]) -> str:
    return target if target in columns else ""


def _by_synonym(target: str, columns: list[str]) -> str:
    return next((c for word in _SYNONYMS[target].split() for c in columns if c.lower() == word), "")


def _by_likeness(target: str, columns: list[str]) -> str:
    return next(iter(difflib.get_close_matches(target, columns, n=1, cutoff=0.75)), "")


def _by_order(target: str, columns: list[str]) -> str:
    return next((c for c in columns if c not in ("id", "category", "class", "language")), columns[0] if columns else "")


def _quoted(column: str) -> str:
    return column if column.isidentifier() else json.dumps(column, ensure_ascii=False)
