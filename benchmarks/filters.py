"""How often each filter is right, and how much it finds, on `filters_labelled.jsonl`: records that we wrote and labelled.

    python benchmarks/filters.py [--show [FILTER ...]] [--speed FILE] [--labelled FILE] [--set 2]

Each labelled row names the filters that should remove it (`drop`), maybe the one that it only seems to be a case of
(`look_alike`), why (`note`), and its `set`. A filter is measured on all rows: precision is the share of its removals that are
labelled, recall the share of labelled rows that it removes. The rules were made with set 1 in view. Sets 2 and 3 were written by
people who had not seen the rules, measured once, and only then learnt from: how a filter does on text that it was not made for is
what it did on them at that moment, which docs/data.md tells with the commit to measure.

The label `mojibake` covers control characters as well, as the filter does. `length`, `control_characters` and `decontaminate`
follow from their options alone and have no labels.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from belle.curation.filters import FILTERS
from belle.curation.items import Drop
from belle.curation.texts import Curated
from belle.data.formats import load_records
from belle.records import Conversation, Message
from belle.sections import DataSection

LABELLED = Path(__file__).with_name("filters_labelled.jsonl")
MEASURED = (
    "empty", "repetition", "truncated", "refusal", "missing_input", "wrong_language", "media", "personal_data", "unsafe",
    "mojibake",
)  # fmt: skip
Filter = Callable[[Curated], "str | Drop | None"]


@dataclass(frozen=True)
class Labelled:
    """A labelled row: the record, what should remove it, what it looks like, and why."""

    id: str
    language: str
    record: Conversation
    drop: frozenset[str]
    look_alike: str
    note: str
    set: int


@dataclass(frozen=True)
class Counts:
    """What came of a filter on some rows: labelled and removed, removed alone, labelled alone, and innocent look-alikes kept."""

    right: int
    false: int
    missed: int
    innocent: int
    innocent_kept: int

    @property
    def precision(self) -> tuple[float, float, float]:
        return wilson(self.right, self.right + self.false)

    @property
    def recall(self) -> tuple[float, float, float]:
        return wilson(self.right, self.right + self.missed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=Path, default=LABELLED)
    parser.add_argument("--show", nargs="*", metavar="FILTER", help="print the rows where a filter and the label differ")
    parser.add_argument("--set", type=int, help="only the rows of this set")
    parser.add_argument("--speed", metavar="FILE", help="time every filter on this file of conversations")
    options = parser.parse_args()
    rows = [row for row in read(options.labelled) if options.set in (None, row.set)]
    print(table(rows))
    if options.show is not None:
        for name in options.show or MEASURED:
            print(*differences(rows, name), sep="\n")
    if options.speed:
        print(speed(options.speed))


def read(path: Path) -> list[Labelled]:
    """The labelled rows of a file."""
    rows = []
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            row = json.loads(line)
            record = Conversation(tuple(Message(m["role"], m["content"]) for m in row["messages"]), id=row["id"])
            look_alike = row.get("look_alike", "")
            rows.append(Labelled(row["id"], row["language"], record, frozenset(row["drop"]), look_alike, row["note"], row["set"]))
    return rows


def build(name: str) -> Filter:
    """A filter with its default options."""
    module, attribute = FILTERS[name].split(":")
    found: Any = getattr(importlib.import_module(module), attribute)
    return found() if isinstance(found, type) else found


def count(rows: Sequence[Labelled], name: str) -> Counts:
    """What came of a filter on these rows."""
    keeps = build(name)
    right = false = missed = innocent = innocent_kept = 0
    for row in rows:
        removed, labelled = keeps(row.record) is not None, name in row.drop
        right += labelled and removed
        false += removed and not labelled
        missed += labelled and not removed
        innocent += row.look_alike == name
        innocent_kept += row.look_alike == name and not removed
    return Counts(right, false, missed, innocent, innocent_kept)


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float, float]:
    """(share, low, high): a share with its 95 % interval (Wilson, 1927); (nan, 0, 1) of none."""
    if not n:
        return math.nan, 0.0, 1.0
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return share, max(0.0, middle - half), min(1.0, middle + half)


def table(rows: Sequence[Labelled]) -> str:
    """The measurements as a table in Markdown."""
    head = "| filter | precision | 95 % | recall | 95 % | removed rightly / falsely / missed "
    sets = sorted({row.set for row in rows})
    head += "| zh P / R | en P / R " + "".join(f"| set {n} P / R " for n in sets) + "| look-alikes kept |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for name in MEASURED:
        whole = count(rows, name)
        parts = [
            [row for row in rows if row.language == "zh"], [row for row in rows if row.language == "en"],
            *([row for row in rows if row.set == n] for n in sets),
        ]  # fmt: skip
        shares = " | ".join(f"{c.precision[0]:.3f} / {c.recall[0]:.3f}" for c in (count(part, name) for part in parts))
        (p, p_low, p_high), (r, r_low, r_high) = whole.precision, whole.recall
        lines.append(
            f"| `{name}` | {p:.3f} | {p_low:.2f} to {p_high:.2f} | {r:.3f} | {r_low:.2f} to {r_high:.2f} "
            f"| {whole.right} / {whole.false} / {whole.missed} | {shares} | {whole.innocent_kept} of {whole.innocent} |"
        )
    languages = {code: sum(row.language == code for row in rows) for code in ("zh", "en")}
    clean = sum(not row.drop for row in rows)
    return f"{len(rows)} rows ({languages['zh']} zh, {languages['en']} en), {clean} of them to be kept.\n\n" + "\n".join(lines)


def differences(rows: Sequence[Labelled], name: str) -> Iterator[str]:
    """The rows where a filter and the label differ, one a line."""
    keeps = build(name)
    for row in rows:
        found = keeps(row.record)
        if (found is not None) != (name in row.drop):
            text = " / ".join(message.content.replace("\n", "⏎")[:120] for message in row.record.messages)
            kind = "missed" if name in row.drop else "false"
            yield f"{kind} {name} {row.id} ({row.note}) labels {sorted(row.drop)}, filter: {found}: {text}"


def speed(path: str) -> str:
    """Records a second of every filter and of all in a row, on a file, in this process."""
    records = load_records(DataSection(path=path)).records
    characters = sum(len(message.content) for record in records for message in getattr(record, "messages", ()))
    told = f"{len(records)} records of {path}, {characters / len(records):.0f} characters each"
    lines = [told, "", "| filter | microseconds a record |", "|---|---|"]
    total = 0.0
    for name in FILTERS:
        if name in ("decontaminate", "length"):
            continue
        keeps = build(name)
        for record in records[:200]:  # tables and models are loaded at the first record
            keeps(record)
        begin = time.perf_counter()
        for record in records:
            keeps(record)
        seconds = (time.perf_counter() - begin) / len(records)
        total += seconds
        lines.append(f"| `{name}` | {seconds * 1e6:.0f} |")
    return "\n".join([*lines, f"| all | {total * 1e6:.0f}: {1 / total:.0f} records a second on one core |"])


if __name__ == "__main__":
    main()
