"""Extend the vocabulary of a model by what a corpus needs, and give the model rows for it.

A byte-level BPE tokenizer (Qwen's, Llama 3's, SmolLM2's) goes on with its own training: old tokens keep their ids, a text without
new tokens is cut as before, and all texts come back as they did. New rows begin as the mean of those that stood for the
same bytes. The result is an ordinary model folder; train its new rows before you use it.

Examples:
  belle tokenizer extend_zh model.path=embedded:smollm2-135m-instruct data.path=corpus.jsonl output_dir=runs/extended
  belle tokenizer extend_zh data.path='[a.jsonl, b.jsonl]' count=16000 least=20 output_dir=runs/extended
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.jsonl import write_text
from belle.runs import Run
from belle.sections import DataSection, ModelSection, Positive

if TYPE_CHECKING:
    from belle.models.load import Located
    from belle.tokenizer.byte_level import Extended
    from belle.tokenizer.figures import Comparison

POSITIONAL = "data.path"


class Config(Section):
    """What to learn from, how much, and how the model gets its rows."""

    model: ModelSection
    """The model to extend."""
    data: DataSection
    """The corpus: documents or conversations."""
    records: Literal["documents", "conversations"] = "documents"
    """What its rows are."""
    count: Positive = 8000
    """New tokens, at most."""
    script: Literal["han", "any"] = "han"
    """Learn Chinese characters, punctuation and words, or those of any letters."""
    longest: Annotated[int, Field(ge=1, le=32)] = 8
    """Characters of a new word, at most."""
    least: Positive = 5
    """How often a character or a pair must occur in the corpus."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Share of the texts, chosen by their content, that nothing is learnt from: the table is measured on them."""
    start: Literal["pieces", "mean", "noise"] = "pieces"
    """What a new row begins as: the mean of the rows of its old pieces, the mean of all rows, or that with noise."""
    multiple: Positive = 64
    """The number of rows becomes a multiple of this; the rows that are over belong to no token."""
    seed: int = 0
    """Seed of the noise."""
    output_dir: str
    """The run folder, the model in `model` there."""
    overwrite: bool = False
    """Begin anew where output_dir holds another run."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    return [
        f"learn up to {config.count} tokens from {config.data.path}, {config.held_out:.0%} of its texts held out",
        f"give {config.model.path} rows for them, begun as {config.start}",
        f"write the model and its tokenizer into {config.output_dir}/model",
    ]


def run(config: Config) -> None:
    """Learn, compare on held-out texts, grow the model, write."""
    from tokenizers import Tokenizer

    from belle.models.load import load_tokenizer, locate, note_model
    from belle.tokenizer.byte_level import extend

    run = Run.open("tokenizer", config, config.output_dir, config.overwrite)
    if run.finished:
        logs.say(f"already finished: {run.path} (overwrite=true begins anew)")
        _summary(run)
        return
    found = locate(config.model.path)
    if found.adapter is not None:
        raise BelleError(f"{config.model.path!r} is an adapter", f"belle merge {quote(config.model.path)} first")
    tokenizer = load_tokenizer(config.model)
    before = tokenizer.backend_tokenizer.to_str()
    corpus = _Corpus(config)
    with logs.doing("learnt new tokens"):
        extended = extend(
            before, lambda: corpus.texts(held_out=False), config.count, _wanted(config.script), config.longest,
            config.least,
        )  # fmt: skip
    if len(extended.new) < config.count:
        logs.warn(f"the corpus gives {len(extended.new)} new tokens, not {config.count}: give more text, or a smaller `least`")
    after = Tokenizer.from_str(extended.json)
    with logs.doing("compared on held-out texts"):
        compared = _compare(corpus, Tokenizer.from_str(before), after)
        unused = _unused(extended, compared, after, corpus)
    note_model(run, found)
    for name, records in corpus.files:
        if Path(name).is_file():
            run.add_input("corpus", Path(name), records=records)
    with logs.doing(f"wrote {run.path / 'model'}"):
        rows = _grow(config, found, tokenizer, extended, run.path / "model")
    if corpus.left_out:
        run.note(left_out=corpus.left_out)
        logs.warn(
            f"{len(corpus.left_out)} rows were left out, such as {corpus.left_out[0]['source']}: {corpus.left_out[0]['reason']}"
        )
    run.finish(_metrics(extended, compared, unused, rows), {"model": "model"})
    _summary(run)


class _Corpus:
    """The texts of the corpus, gone through several times."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.files: list[tuple[str, int]] = []
        self.left_out: list[dict[str, Any]] = []

    def texts(self, held_out: bool) -> Iterator[str]:
        """The texts that are held out, or the others; which, is decided by a hash of the text."""
        from belle.data.formats import RecordStream
        from belle.records import Conversation, Document

        kind: type[Any] = Document if self.config.records == "documents" else Conversation
        stream: RecordStream[Any] = RecordStream(self.config.data, kind, empty_texts=True)
        left_out = []
        for record in stream:
            if isinstance(record, dict):
                left_out.append({"source": record["source"], "reason": record["reason"]})
                continue
            texts = [record.text] if isinstance(record, Document) else [message.content for message in record.messages]
            for text in texts:
                digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
                if text and (int.from_bytes(digest[:4], "big") < self.config.held_out * 2**32) == held_out:
                    yield text
        self.files, self.left_out = stream.files, left_out


def _wanted(script: str) -> Callable[[str], bool]:
    import re

    from belle.data.letters import HAN

    if script == "any":
        return str.isalpha
    return re.compile(f"[{HAN}\u3000-\u303f\uff00-\uffef—…“”‘’·]").match  # type: ignore[return-value]


def _compare(corpus: _Corpus, before: Any, after: Any) -> Comparison:
    from belle.data.letters import language
    from belle.tokenizer.figures import compare

    compared = compare(before, after, corpus.texts(held_out=True), language)
    if compared.changed:
        what = f"{len(compared.changed)} held-out texts come back otherwise, such as {compared.changed[0][:60]!r}"
        raise BelleError(what, "this is a fault of belle: please report it with the model's name")
    if not compared.languages:
        logs.warn("no text was held out: nothing could be measured; give more text, or a larger held_out")
    return compared


def _unused(extended: Extended, compared: Comparison, after: Any, corpus: _Corpus) -> list[str]:
    """New tokens that stand in no text at all, of the corpus or held out: beginnings of characters, mostly."""
    from itertools import islice

    from belle.tokenizer.byte_level import read

    used: Counter[int] = Counter(compared.used)
    texts = corpus.texts(held_out=False)
    while batch := list(islice(texts, 1000)):
        for encoding in after.encode_batch(batch, add_special_tokens=False):
            used.update(encoding.ids)
    return [read(token.token) or f"part of a character: {token.token}" for token in extended.new if not used[token.id]]


def _grow(config: Config, found: Located, tokenizer: Any, extended: Extended, folder: Path) -> int:
    import torch
    from transformers import AutoTokenizer

    from belle.models.load import load_model
    from belle.models.rows import add_rows
    from belle.models.save import save_model, stored_dtype

    dtype = stored_dtype(found.base)
    model = load_model(config.model, torch.float32)
    old_ids = {token.id: token.old_ids for token in extended.new}
    rows = add_rows(model, old_ids, min(old_ids), config.start, config.multiple, config.seed)
    with tempfile.TemporaryDirectory() as part:
        tokenizer.save_pretrained(part)
        for stale in ("vocab.json", "merges.txt"):
            Path(part, stale).unlink(missing_ok=True)
        write_text(Path(part, "tokenizer.json"), extended.json)
        grown = AutoTokenizer.from_pretrained(part)
    save_model(model, grown, folder, dtype, ())
    return rows


def _metrics(extended: Extended, compared: Comparison, unused: list[str], rows: int) -> dict[str, Any]:
    from belle.tokenizer.byte_level import read
    from belle.tokenizer.figures import total

    words = [text for token in extended.new[extended.characters :] if (text := read(token.token))]
    return {
        "new": len(extended.new), "characters": extended.characters, "words": len(words), "rows": rows,
        "first_id": extended.new[0].id, "longest": sorted(words, key=len)[-5:], "unused": len(unused),
        "unused_tokens": unused[:50],
        "languages": {name: counts.figures() for name, counts in sorted(compared.languages.items())},
        "all": total(compared.languages.values()).figures(),
    }  # fmt: skip


def _summary(run: Run) -> None:
    metrics = run.info["metrics"]
    rows = [
        [name, one["texts"], one["characters"], one["tokens_before"], one["tokens_after"], f"{one['fewer']:.1%}",
         f"{one['characters_a_token_before']:.2f}", f"{one['characters_a_token_after']:.2f}"]
        for name, one in [*metrics["languages"].items(), ("all", metrics["all"])]
    ]  # fmt: skip
    logs.table(["held out", "texts", "characters", "tokens before", "after", "fewer", "characters a token", "after"], rows)
    logs.say(
        f"{metrics['new']} new tokens: {metrics['characters']} for characters, {metrics['words']} words; "
        f"{metrics['unused']} stand in no text; {metrics['rows']} rows"
    )
    logs.say("next: train the new rows on text before you fine-tune")
    logs.out(str(run.path / run.info["products"]["model"]))
