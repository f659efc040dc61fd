"""Whether a text is new, asked one text at a time while texts are added: the memory of self-instruct.

An inverted index from shingle to texts. A text with Jaccard similarity of at least t to a query of n shingles shares at least
t n of them, so it holds one of any n - t n + 1: the query looks up its rarest ones and measures what it finds. That is exact:
nothing is missed at any size, and what is told has been measured. Unlike a threshold on BM25, the answer about two texts does
not change with how many others there are.

Postings are 8 bytes, sorted, in runs that double (a log-structured merge tree; O'Neil et al., 1996): a million texts of 20
shingles take some 350 MB and each query well under a millisecond beside cutting its shingles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from belle.curation.shingles import Hashes, Numbers, fold_keys, jaccard, shingle_sets

SIZE = 2
"""Of a shingle: instructions are short, and a pair of characters or words is the least that keeps an order."""
_RUN = 1024
_LOW = np.uint64(32)
_ID = np.uint64(0xFFFFFFFF)


class Novelty:
    """The texts so far.

    Args:
        threshold: the least Jaccard similarity that `nearest` tells. Texts that fold to the same (`texts.fold`) have 1,
            short as they may be.
        size: tokens of a shingle.

    Raises:
        ValueError: threshold is not above 0 and at most 1.
    """

    def __init__(self, threshold: float, size: int = SIZE) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold {threshold}: a Jaccard similarity is above 0 and at most 1")
        self.threshold, self.size = threshold, size
        self._keys: list[str] = []
        self._runs: list[Hashes] = []  # postings: shingle in the high half, number of the text in the low; sorted
        self._recent: list[Hashes] = []
        self._sets: list[Hashes] = []  # shingles on end, text by text, in blocks
        self._firsts: list[int] = []  # number of the first text of each block
        self._starts: list[Numbers] = []
        self._new_sets: list[Hashes] = []  # of the texts that are in no block yet

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, text: str, key: str) -> None:
        """Remember a text under a key of the caller's."""
        self.add_many([text], [key])

    def add_many(self, texts: Sequence[str], keys: Sequence[str]) -> None:
        """Remember many texts: the same as one after the other, and quicker.

        Raises:
            ValueError: there are not as many keys as texts.
        """
        if len(texts) != len(keys):
            raise ValueError(f"{len(texts)} texts and {len(keys)} keys")
        for i in range(0, len(texts), 8 * _RUN):
            self._add_some(texts[i : i + 8 * _RUN], keys[i : i + 8 * _RUN])

    def nearest(self, text: str) -> tuple[float, str] | None:
        """(similarity, key) of the most similar text so far, the earliest of equals; None where all are below the threshold."""
        query = self._shingles([text])[0]
        if len(query) < 2:
            return None  # an empty text
        whole, query = query[:1], query[1:]
        same = self._found(whole)
        numbers = [number for number in np.sort(same).tolist() if self._set(number)[0] == whole[0]]
        if numbers:
            return 1.0, self._keys[numbers[0]]
        counts = self._counts(query)
        looked_up = len(query) - int(np.ceil(self.threshold * len(query) - 1e-9)) + 1
        best = (0.0, 0)
        for number in np.unique(self._found(query[np.argsort(counts, kind="stable")[:looked_up]])).tolist():
            other = self._set(number)[1:]
            shorter, longer = sorted((len(query), len(other)))
            if shorter / longer >= max(self.threshold, best[0]):
                best = max(best, (jaccard(query, other), -number))
        return (best[0], self._keys[-best[1]]) if best[0] >= self.threshold else None

    def _shingles(self, texts: Sequence[str]) -> list[Hashes]:
        """Of each text the hash of its folded whole, then its shingles; nothing of an empty one."""
        wholes = [np.frombuffer(key[:8], dtype="<u8").astype(np.uint64) for key in fold_keys(texts)]
        return [np.concatenate(pair) for pair in zip(wholes, shingle_sets(texts, self.size), strict=True)]

    def _add_some(self, texts: Sequence[str], keys: Sequence[str]) -> None:
        sets = self._shingles(texts)
        numbers = np.repeat(np.arange(len(self), len(self) + len(sets), dtype=np.uint64), [len(one) for one in sets])
        postings = np.concatenate(sets) if sets else np.zeros(0, dtype=np.uint64)
        self._recent.append(postings >> _LOW << _LOW | numbers)
        self._new_sets += sets
        self._keys += keys
        if len(self._new_sets) >= _RUN:
            self._settle()

    def _settle(self) -> None:
        """Make a block and a run of what is new, and merge runs until each is longer than twice the one after it."""
        self._firsts.append(len(self) - len(self._new_sets))
        self._sets.append(np.concatenate(self._new_sets))
        self._starts.append(np.concatenate(([0], np.cumsum([len(one) for one in self._new_sets]))))
        run = np.sort(np.concatenate(self._recent))
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.concatenate((self._runs.pop(), run))
            run.sort()
        self._runs.append(run)
        self._new_sets, self._recent = [], []

    def _set(self, number: int) -> Hashes:
        settled = len(self) - len(self._new_sets)
        if number >= settled:
            return self._new_sets[number - settled]
        block = int(np.searchsorted(self._firsts, number, side="right")) - 1
        starts, place = self._starts[block], number - self._firsts[block]
        return self._sets[block][starts[place] : starts[place + 1]]

    def _counts(self, shingles: Hashes) -> Numbers:
        """How many texts hold each shingle; those not yet in a run are not counted: it is an order of looking up."""
        counts = np.zeros(len(shingles), dtype=np.int64)
        for run in self._runs:
            low = np.searchsorted(run, shingles >> _LOW << _LOW, side="left")
            counts += np.searchsorted(run, shingles | _ID, side="right") - low
        return counts

    def _found(self, shingles: Hashes) -> Numbers:
        """Numbers of the texts that hold one of these shingles (in their high half), some more than once."""
        found = []
        for run in self._runs:
            low = np.searchsorted(run, shingles >> _LOW << _LOW, side="left")
            high = np.searchsorted(run, shingles | _ID, side="right")
            found += [run[a:b] for a, b in zip(low.tolist(), high.tolist(), strict=True) if a < b]
        if self._recent:
            recent = np.concatenate(self._recent)
            self._recent = [recent]
            found.append(recent[np.isin(recent >> _LOW, shingles >> _LOW)])
        return (np.concatenate(found) & _ID).astype(np.int64) if found else np.zeros(0, dtype=np.int64)
