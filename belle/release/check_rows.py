"""Whether each token still has its own row of the embedding and of the head: a vocabulary that was shifted speaks nonsense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from belle.errors import Finding
from belle.models.load import load_tokenizer
from belle.release.subject import Subject
from belle.sections import ModelSection

Rows = NDArray[np.float32]

ALIKE = 0.9
"""Cosine from which a row is taken for its own. Training moves a row by little: below this, it is looked up whose it is."""
LOOKED_UP = 256
BLOCK = 4096


def rows(subject: Subject) -> Iterator[Finding]:
    """The row of each token is where the base's row of that token was, in the embedding and in the head."""
    base = subject.base_weights
    if not subject.whole or base is None or subject.base is None:
        return
    names = [name for name in dict.fromkeys((subject.embedding, subject.head)) if name in subject.weights and name in base]
    old = load_tokenizer(ModelSection(path=str(subject.base))).get_vocab()
    new = subject.tokenizer.get_vocab()
    shared = sorted((number, old[text], text) for text, number in new.items() if text in old)
    for name in names:
        ours, theirs = subject.weights.values(name), base.values(name)
        if ours.shape[1:] != theirs.shape[1:]:
            what = f"{name} has rows of {ours.shape[1]}, the base's of {theirs.shape[1]}"
            yield Finding("error", "rows", what, "name the right base")
            continue
        pairs = [pair for pair in shared if pair[0] < len(ours) and pair[1] < len(theirs)]
        yield from _compare(name, ours, theirs, pairs)


def _compare(name: str, ours: NDArray[Any], theirs: NDArray[Any], pairs: Sequence[tuple[int, int, str]]) -> Iterator[Finding]:
    if not pairs:
        yield Finding("warning", "rows", f"{name}: no token of the model is one of the base", "name the right base")
        return
    cosines = np.concatenate([
        _likeness(ours[[i for i, _, _ in block]], theirs[[j for _, j, _ in block]])
        for start in range(0, len(pairs), BLOCK) for block in [pairs[start : start + BLOCK]]
    ])  # fmt: skip
    odd = [pair for pair, cosine in zip(pairs, cosines, strict=True) if cosine < ALIKE]
    texts = {j: text for _, j, text in pairs}
    moved = []
    step = max(1, len(odd) // LOOKED_UP)
    for (number, own, text), other, cosine, own_cosine in _nearest(ours, theirs, odd[::step]):
        if other != own and cosine > ALIKE and cosine > own_cosine + 0.05:
            moved.append(f"that of {text!r} ({number}) holds that of {texts.get(other, f'row {other}')!r}")
    if moved:
        count = f"{len(moved)} of {len(odd[::step])} looked up, {len(odd)} of {len(pairs)} rows are not their own"
        what = f"{name}: {moved[0]} ({count})"
        yield Finding("error", "rows", what, "the vocabulary was shifted: copy rows by token, not by position")
    elif len(odd) > len(pairs) // 2:
        what = f"{name}: {len(odd)} of {len(pairs)} rows are unlike the base's, and like no other of it"
        yield Finding("warning", "rows", what, "name the base that the model was made from: base=...")
    else:
        changed = f"; {len(odd)} were changed, such as that of {odd[0][2]!r}" if odd else ""
        least = f"cosines with the base's from {float(cosines.min()):.3f}, median {float(np.median(cosines)):.3f}"
        yield Finding("ok", "rows", f"{name}: {len(pairs)} tokens have their row ({least}{changed})")


def _nearest(
    ours: NDArray[Any], theirs: NDArray[Any], odd: Sequence[tuple[int, int, str]]
) -> Iterator[tuple[tuple[int, int, str], int, float, float]]:
    """For each odd row: it, the base's row that is most like it, how much, and how much it is like its own."""
    if not odd:
        return
    mine = _unit(ours[[i for i, _, _ in odd]])
    best, where = np.full(len(odd), -2.0, np.float32), np.zeros(len(odd), np.int64)
    for start in range(0, len(theirs), BLOCK):
        cosines = mine @ _unit(theirs[start : start + BLOCK]).T
        at = cosines.argmax(1)
        here = cosines[np.arange(len(odd)), at]
        where, best = np.where(here > best, at + start, where), np.maximum(here, best)
    own = _cosines(mine, _unit(theirs[[j for _, j, _ in odd]]))
    for pair, other, cosine, own_cosine in zip(odd, where, best, own, strict=True):
        yield pair, int(other), float(cosine), float(own_cosine)


def _likeness(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
    """[n] cosines; two rows that are the same are alike, rows of zeros as well."""
    return np.where((a == b).all(1), np.float32(1), _cosines(_unit(a), _unit(b)))


def _unit(values: NDArray[Any]) -> Rows:
    wide = np.asarray(values, np.float32)
    unit: Rows = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return unit


def _cosines(a: Rows, b: Rows) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = np.einsum("ij,ij->i", a, b)
    return cosines
