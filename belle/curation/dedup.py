"""Duplicates: the same text, nearly the same text, and the same meaning. The best of them stays.

The best is the one with the highest score, where the option `best` names a score column; else, and among equals, the one
with the longest answer; then the one whose content has the lowest hash, so that neither the order of the input nor how it
was cut into shards plays a part; then, among records with the same content, the first. A record goes only if it is itself
as similar as the threshold to one that stays: duplicates of duplicates may stay. An empty text is nobody's duplicate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from belle.curation.embeddings import Embedder, EndpointEmbedder, ModelEmbedder, alike
from belle.curation.items import Drop
from belle.curation.keepers import duplicates
from belle.curation.minhash import signatures
from belle.curation.shingle_store import Sets
from belle.curation.shingles import Hashes, Numbers, fold_keys, shingle, shingle_sets
from belle.curation.steps import Context, Duplicate, Items
from belle.curation.texts import Curated, answer_text, instruction_text, whole_text
from belle.errors import BelleError
from belle.inference.backend import connect
from belle.records import Document
from belle.sections import BackendSection

Part = Literal["instruction", "answer", "both", "whole"]
"""What is compared: the user's turns, the assistant's, these two, or every turn but the system's (tools' too)."""
Share = Annotated[float, Field(gt=0, le=1)]
RANKING: list[tuple[str, str]] = [("length", "<u4"), ("content", "<u8")]
_AT_ONCE = 1024
"""Records cut into shingles at once: what is made of them stays in the cache of a core."""
_NO_CONTEXT = Context()


def both_text(record: Curated) -> str:
    """The user's turns, then the assistant's; of a document its text."""
    return record.text if isinstance(record, Document) else f"{instruction_text(record)}\n{answer_text(record)}"


PARTS: dict[Part, Callable[[Curated], str]] = {
    "instruction": instruction_text, "answer": answer_text, "both": both_text, "whole": whole_text,
}  # fmt: skip
_PARTS: dict[Part, str] = {"instruction": "question", "answer": "answer", "both": "question and answer", "whole": "text"}


class ExactDuplicates:
    """Drop records whose text is the same but for case, width, white space and punctuation.

    Args:
        on: what is compared: instruction, answer, both (user's and assistant's turns), whole (tools' too).
        best: a score column; the record with the highest stays. Absent: the one with the longest answer.
    """

    def __init__(self, *, on: Part = "both", best: str | None = None) -> None:
        self.on, self.best = on, best

    @property
    def columns(self) -> tuple[str, ...]:
        """The score column that decides, if any."""
        return (self.best,) if self.best else ()

    def prepare(self, records: Sequence[Curated]) -> NDArray[Any]:
        """[n] of key (16 bytes, 0 for an empty text), length of the answer, hash of the content."""
        rows = np.zeros(len(records), dtype=[("key", "<u8", 2), *RANKING])
        keys = fold_keys([PARTS[self.on](record) for record in records])
        rows["key"] = np.frombuffer(b"".join(key or bytes(16) for key in keys), dtype="<u8").reshape(-1, 2)
        _rank_by(rows, records)
        return rows

    def decide(self, prepared: Iterable[NDArray[Any]], items: Items) -> Iterator[tuple[int, Drop]]:
        """Which positions go; each for the best with the same text."""
        rows = np.concatenate(list(prepared))
        order = _ranked(rows, items, self.best)
        order = order[rows["key"][order].any(axis=1)]
        keys = rows["key"][order]
        by_key = np.lexsort((np.arange(len(order)), keys[:, 1], keys[:, 0]))
        same = np.concatenate(([False], (keys[by_key[1:]] == keys[by_key[:-1]]).all(axis=1)))[: len(order)]
        firsts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
        gone, kept = order[by_key[same]], order[by_key[firsts[same]]]
        yield from _dropped("exact duplicate", gone, kept, items, [f"the same {_PARTS[self.on]} as"] * len(gone))


class NearDuplicates:
    """Drop records whose text is nearly the same: Jaccard similarity of shingles at or above the threshold.

    Candidates are found by MinHash and LSH (`minhash.py`), then measured exactly, so nothing below the threshold goes.

    Args:
        on: what is compared: instruction, answer, both (user's and assistant's turns), whole (tools' too).
        threshold: the least Jaccard similarity of a duplicate.
        shingle: length of a shingle in characters (Chinese) or words (English).
        permutations: places of a sketch; more find a few more pairs and take more time and memory, a byte each a record.
        best: a score column; the record with the highest stays. Absent: the one with the longest answer.
        seed: of the sketches.
    """

    def __init__(
        self, *, on: Part = "both", threshold: Share = 0.7, shingle: Annotated[int, Field(ge=1, le=100)] = 3,
        permutations: Annotated[int, Field(ge=8, le=4096)] = 128, best: str | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.on, self.threshold, self.shingle = on, threshold, shingle
        self.permutations, self.best, self.seed = permutations, best, seed

    @property
    def columns(self) -> tuple[str, ...]:
        """The score column that decides, if any."""
        return (self.best,) if self.best else ()

    def prepare(self, records: Sequence[Curated]) -> NDArray[Any]:
        """[n] of digest (0 for an empty text), sketch, length of the answer, hash of the content."""
        rows = np.zeros(len(records), dtype=[("digest", "<u8"), ("sketch", "u1", self.permutations), *RANKING])
        for start in range(0, len(records), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            cut = shingle([PARTS[self.on](record) for record in records[some]], self.shingle)
            rows["digest"][some] = np.where(np.diff(cut.starts) > 0, np.maximum(cut.digests, 1), 0)
            rows["sketch"][some] = signatures(cut.hashes, cut.starts, self.permutations, self.seed)
        _rank_by(rows, records)
        return rows

    def decide(self, prepared: Iterable[NDArray[Any]], items: Items) -> Iterator[tuple[int, Drop]]:
        """Which positions go; each for the most similar one that stays, a copy of a record that goes for the same one."""
        shards = [(np.ascontiguousarray(shard["sketch"]), shard[["digest", "length", "content"]].copy()) for shard in prepared]
        sketches = np.concatenate([sketch for sketch, _ in shards])
        rows = np.concatenate([row for _, row in shards])
        del shards
        order = _ranked(rows, items, self.best)
        digests = rows["digest"].copy()
        order = order[digests[order] > 0]
        found = duplicates(order, digests, sketches, self.threshold, Sets(partial(self._load, items)))
        details = [f"Jaccard {similarity:.3f} with" for similarity in found.similarity.tolist()]
        yield from _dropped("near duplicate", found.text, found.kept, items, details)

    def _load(self, items: Items, positions: Numbers) -> list[Hashes]:
        return shingle_sets([PARTS[self.on](items[position].record) for position in positions.tolist()], self.shingle)


class SemanticDuplicates:
    """Drop records whose texts mean the same: cosine of their embeddings at or above the threshold.

    All records that stay are compared with each other, so time grows with their square: put it behind the other two.

    Args:
        model: what `model.path` may be; with base_url, the endpoint's name of the model.
        on: what is compared: instruction, answer, both (user's and assistant's turns), whole (tools' too).
        threshold: the least cosine of a duplicate; it depends on the model, so look at the report before you trust it.
        base_url: an endpoint with OpenAI's protocol for embeddings; absent means a model in this process.
        key_variable: the environment variable that holds the endpoint's key.
        tokens: of a model in this process: a longer text counts by its first so many.
        best: a score column; the record with the highest stays. Absent: the one with the longest answer.
    """

    alone = True

    def __init__(
        self, *, model: str, on: Part = "both", threshold: Share = 0.95, base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY", tokens: Annotated[int, Field(ge=1)] = 512, best: str | None = None,
        context: Context = _NO_CONTEXT,
    ) -> None:  # fmt: skip
        self.on, self.threshold, self.best = on, threshold, best
        if base_url is not None:
            section = BackendSection(model=model, base_url=base_url, key_variable=key_variable)
            self._embed: Embedder = EndpointEmbedder(connect(section, context.variables.get(key_variable)), model)
        else:
            self._embed = ModelEmbedder(model, tokens)

    @property
    def columns(self) -> tuple[str, ...]:
        """The score column that decides, if any."""
        return (self.best,) if self.best else ()

    def prepare(self, records: Sequence[Curated]) -> NDArray[Any]:
        """[n] of vector (zeros for an empty text), length of the answer, hash of the content."""
        texts = [PARTS[self.on](record).strip() for record in records]
        some = [i for i, text in enumerate(texts) if text]
        vectors = self._embed([texts[i] for i in some])
        rows = np.zeros(len(records), dtype=[("vector", "<f2", vectors.shape[1]), *RANKING])
        rows["vector"][some] = vectors
        _rank_by(rows, records)
        return rows

    def decide(self, prepared: Iterable[NDArray[Any]], items: Items) -> Iterator[tuple[int, Drop]]:
        """Which positions go; each for the most similar one that stays."""
        rows = np.concatenate(list(prepared))
        order = _ranked(rows, items, self.best)
        found = list(alike(rows["vector"], order[rows["vector"][order].any(axis=1)], self.threshold))
        gone, kept = (np.array([row[i] for row in found], dtype=np.int64) for i in (0, 1))
        yield from _dropped("same meaning", gone, kept, items, [f"cosine {row[2]:.3f} with" for row in found])


def _rank_by(rows: NDArray[Any], records: Sequence[Curated]) -> None:
    """Fill in what the rank of a record depends on beside its scores."""
    rows["length"] = [len(answer_text(record)) for record in records]
    rows["content"] = [_content_hash(record) for record in records]


def _content_hash(record: Curated) -> int:
    """A hash of all that a record says."""
    if isinstance(record, Document):
        said = record.text
    else:
        said = "\0".join(f"{m.role}\0{m.content}\0{m.tool_calls}\0{m.train}" for m in record.messages)
        said += f"\0{record.tools}\0{record.label}"
    said += f"\0{record.id}\0{record.category}"
    return int.from_bytes(blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _ranked(rows: NDArray[Any], items: Items, best: str | None) -> Numbers:
    """[n] positions, the best first.

    Raises:
        BelleError: the score column holds words.
    """
    keys = [np.arange(len(rows)), rows["content"], -rows["length"].astype(np.int64)]
    if best:
        column = items.column(best)
        words = [score for score in column if isinstance(score, str)]
        if words:
            raise BelleError(f"the score {best!r} is a word ({words[0]!r}), so no record is the best by it", "name a number")
        scores = np.array(column, dtype=np.float64)
        keys.append(-np.where(np.isnan(scores), -np.inf, scores))
    order: Numbers = np.lexsort(keys).astype(np.int64)
    return order


def _dropped(reason: str, gone: Numbers, kept: Numbers, items: Items, details: Sequence[str]) -> Iterator[tuple[int, Duplicate]]:
    """The drops, each naming the record that stays; records are read in rising order."""
    names = {position: _name(items[position].record) for position in np.unique(kept).tolist()}
    for position, of, detail in zip(gone.tolist(), kept.tolist(), details, strict=True):
        yield position, Duplicate(reason, f"{detail} {names[of]}", of)


def _name(record: Curated) -> str:
    return f"{record.source} (id {record.id})" if record.id else str(record.source)
