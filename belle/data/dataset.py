"""Conversations become token ids with a mask, once: in many processes, in order, cached by the hash of what went in.

What is too long is treated as the recipe says; what is dropped or cut is listed with its reason.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from belle.data.chat_template import ChatTemplate, Encoded
from belle.errors import BelleError
from belle.jsonl import atomic_path, dumps
from belle.records import Conversation, record_dict
from belle.runs import sha256_text
from belle.sections import TokensSection

FORMAT = 1
"""Raise it when the same input would give other ids: older caches are then not read."""

MANY = 8000
"""Below so many conversations one process is done before others have started."""


@dataclass(frozen=True)
class Lost:
    """A conversation that did not become a sample as it was: dropped, or cut."""

    source: str
    id: str
    reason: str
    dropped: bool


class TokenDataset:
    """Samples in one block of memory: `ids` and `mask` hold all tokens, sample i is `offsets[i]:offsets[i+1]`."""

    def __init__(self, ids: np.ndarray, mask: np.ndarray, offsets: np.ndarray, rows: np.ndarray, lost: list[Lost]) -> None:
        self.ids, self.mask, self.offsets, self.rows, self.lost = ids, mask, offsets, rows, lost

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Encoded:
        span = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return Encoded(self.ids[span].tolist(), self.mask[span].tolist())

    @property
    def lengths(self) -> np.ndarray:
        """[samples] tokens of each."""
        return np.diff(self.offsets)

    @property
    def supervised(self) -> np.ndarray:
        """[samples] tokens of each that carry loss."""
        return np.add.reduceat(self.mask, self.offsets[:-1], dtype=np.int64) if len(self) else np.zeros(0, np.int64)

    def split(self, share: float, seed: int) -> tuple[TokenDataset, TokenDataset]:
        """Hold out a random share of the samples: (the rest, the held-out ones), each in the order of the data.

        Raises:
            BelleError: one of the two would be empty.
        """
        order = np.random.default_rng([seed, len(self)]).permutation(len(self))
        count = round(len(self) * share)
        if not 0 < count < len(self):
            fix = "raise held_out.share, name a file as held_out.path, or set held_out=null"
            raise BelleError(f"held_out.share {share} of {len(self)} samples leaves nothing to watch or to train on", fix)
        rest = self.subset(np.sort(order[count:]).tolist())
        rest.lost.extend(self.lost)
        return rest, self.subset(np.sort(order[:count]).tolist())

    def subset(self, indices: Sequence[int]) -> TokenDataset:
        """These samples, in this order, as a dataset of their own."""
        spans = [slice(int(self.offsets[i]), int(self.offsets[i + 1])) for i in indices]
        offsets = np.concatenate([[0], np.cumsum([s.stop - s.start for s in spans])]).astype(np.int64)
        ids = np.concatenate([self.ids[s] for s in spans]) if spans else self.ids[:0]
        mask = np.concatenate([self.mask[s] for s in spans]) if spans else self.mask[:0]
        return TokenDataset(ids, mask, offsets, self.rows[list(indices)], [])

    def statistics(self) -> dict[str, Any]:
        """Counts of samples, tokens and losses, as they stand in run.json."""
        lengths = self.lengths if len(self) else np.zeros(1, np.int64)
        quantiles = {"median": 0.5, "p95": 0.95}
        return {
            "samples": len(self),
            "tokens": {
                "min": int(lengths.min()), **{k: int(np.quantile(lengths, q)) for k, q in quantiles.items()},
                "max": int(lengths.max()), "total": int(lengths.sum()), "supervised": int(self.mask.sum()),
            },
            "dropped": dict(Counter(kind_of(item.reason) for item in self.lost if item.dropped)),
            "cut": dict(Counter(kind_of(item.reason) for item in self.lost if not item.dropped)),
        }  # fmt: skip


def tokenize(
    records: Sequence[Conversation], tokenizer: Any, template: ChatTemplate, section: TokensSection, cache: Path | None = None
) -> TokenDataset:
    """Encode every conversation, or read the result of an earlier run on exactly the same input from `cache`.

    Raises:
        BelleError: a conversation is too long under `overlong: error`, or none is left.
    """
    file = None
    if cache is not None:
        file = cache / f"{_fingerprint(records, tokenizer, template, section)}.safetensors"
        if file.exists():
            return _read(file)
    dataset = _gather(records, _encode_all(records, tokenizer, template, section), section)
    if not len(dataset):
        reasons = ", ".join(f"{n} x {reason}" for reason, n in dataset.statistics()["dropped"].items())
        raise BelleError(f"no sample is left of {len(records)} conversations: {reasons or 'the data is empty'}")
    if file is not None:
        _write(file, dataset)
    return dataset


def _encode_all(
    records: Sequence[Conversation], tokenizer: Any, template: ChatTemplate, section: TokensSection
) -> Iterator[tuple[Encoded | None, str]]:
    workers = min(section.workers or os.cpu_count() or 1, max(1, len(records) // (MANY // 2)))
    if workers == 1:
        return map(partial(_encode_one, template, section), records)
    # Spawned, not forked: tokenizers and torch hold threads that do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (tokenizer, template.name, template.jinja, section)) as pool:
        return iter(list(pool.map(_work, records, chunksize=256)))


_worker: Any = None


def _start_worker(tokenizer: Any, name: str, jinja: str, section: TokensSection) -> None:
    global _worker
    tokenizer.chat_template = jinja
    _worker = partial(_encode_one, ChatTemplate.load(tokenizer, None if name == "checkpoint" else name), section)


def _work(record: Conversation) -> tuple[Encoded | None, str]:
    result: tuple[Encoded | None, str] = _worker(record)
    return result


def _encode_one(template: ChatTemplate, section: TokensSection, record: Conversation) -> tuple[Encoded | None, str]:
    """The sample of one conversation and, where it was dropped (None) or cut, the reason."""
    encoded = template.encode(record, section.train)
    reason = ""
    if len(encoded.ids) > section.cutoff:
        length = f"{len(encoded.ids)} tokens > cutoff {section.cutoff}"
        if section.overlong in ("error", "drop"):
            return None, f"too long: {length}"
        if section.overlong == "cut_right":
            encoded = Encoded(encoded.ids[: section.cutoff], encoded.mask[: section.cutoff])
        else:
            fitting = _without_oldest_turns(template, section, record)
            if fitting is None:
                return None, f"too long even without its earlier turns: {length}"
            encoded = fitting
        reason = f"{section.overlong}: {length}"
    # Position 0 is never predicted, so a mask there trains nothing.
    if not any(encoded.mask[1:]):
        return None, f"no supervised token{' after ' + reason if reason else ''}"
    return encoded, reason


def _without_oldest_turns(template: ChatTemplate, section: TokensSection, record: Conversation) -> Encoded | None:
    system = [m for m in record.messages[:1] if m.role == "system"]
    turns = record.messages[len(system) :]
    for start in [i for i, message in enumerate(turns) if message.role == "user" and i > 0]:
        encoded = template.encode(replace(record, messages=(*system, *turns[start:])), section.train)
        if len(encoded.ids) <= section.cutoff:
            return encoded
    return None


def _gather(
    records: Sequence[Conversation], results: Iterator[tuple[Encoded | None, str]], section: TokensSection
) -> TokenDataset:
    ids: list[int] = []
    mask: list[bool] = []
    offsets, rows, lost = [0], [], []
    for row, (record, (encoded, reason)) in enumerate(zip(records, results, strict=True)):
        if reason:
            lost.append(Lost(str(record.source), record.id, reason, dropped=encoded is None))
        if encoded is None:
            if section.overlong == "error" and reason.startswith("too long"):
                fix = "raise tokens.cutoff, or set tokens.overlong to drop, cut_left_turns or cut_right"
                raise BelleError(f"{record.source}: {reason}", fix)
            continue
        ids += encoded.ids
        mask += encoded.mask
        offsets.append(len(ids))
        rows.append(row)
    return TokenDataset(
        np.array(ids, np.int32), np.array(mask, np.bool_), np.array(offsets, np.int64), np.array(rows, np.int64), lost
    )


def _fingerprint(records: Sequence[Conversation], tokenizer: Any, template: ChatTemplate, section: TokensSection) -> str:
    parts = [str(FORMAT), tokenizer.backend_tokenizer.to_str(), template.jinja, dumps(section.model_dump(exclude={"workers"}))]
    # Sources are part of it: the list of what was lost names files and lines.
    parts += [dumps(record_dict(record)) + str(record.source) for record in records]
    return sha256_text("\0".join(parts))


def _write(file: Path, dataset: TokenDataset) -> None:
    from safetensors.numpy import save_file

    arrays = {"ids": dataset.ids, "mask": dataset.mask, "offsets": dataset.offsets, "rows": dataset.rows}
    lost = json.dumps([vars(item) for item in dataset.lost], ensure_ascii=False)
    with atomic_path(file) as part:
        save_file(arrays, part, metadata={"lost": lost})


def _read(file: Path) -> TokenDataset:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as stored:
        lost = [Lost(**item) for item in json.loads(stored.metadata()["lost"])]
        ids, mask, offsets, rows = (stored.get_tensor(name) for name in ("ids", "mask", "offsets", "rows"))
        return TokenDataset(ids, mask, offsets, rows, lost)


def kind_of(reason: str) -> str:
    """A reason without its figures, for counting."""
    return reason.split(":")[0].split(" after ")[0]
