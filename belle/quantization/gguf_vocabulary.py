"""A tokenizer as GGUF carries it: every token with its type, merges or scores, special ids, and the rule that cuts text first.

llama.cpp knows the cutting rules (pre-tokenizers) by name and has its own code for each. A tokenizer whose rule is not among
`PRE_TOKENIZERS` is refused: under a wrong name the file loads, and the model reads other tokens than it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gguf import GGUFWriter, TokenType

from belle.errors import BelleError

_QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _QWEN2.replace(r"|\p{N}| ", r"|\p{N}{1,3}| ")

PRE_TOKENIZERS: dict[str, tuple[Any, ...]] = {
    "gpt-2": (("ByteLevel", True),),
    "smollm": (("Digits", True), ("ByteLevel", True)),
    "qwen2": (("Split", _QWEN2), ("ByteLevel", False)),
    "llama-bpe": (("Split", _LLAMA3), ("ByteLevel", False)),
}
"""llama.cpp's name -> the steps of `tokenizer.json`: ByteLevel (does it cut?), Digits (each alone?), Split (regex)."""


@dataclass(frozen=True)
class Vocabulary:
    """What `write` puts into a file; `tokens` has a row for each row of the embedding, `[PAD n]` where no token is."""

    model: str
    """`gpt2`: byte-level BPE by merges; `llama`: SentencePiece's BPE by scores, bytes as tokens of their own."""
    pre: str
    tokens: list[str]
    types: list[TokenType]
    merges: list[str]
    scores: list[float]
    special: Mapping[str, int]
    """bos, eos, eot, eom, unk, pad -> id. eos, eot and eom all end an answer."""
    adds_bos: bool
    space_prefix: bool
    template: str | None

    def write(self, writer: GGUFWriter) -> None:
        """Add it to a file that is being made."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.merges:
            writer.add_token_merges(self.merges)
        if self.scores:
            writer.add_token_scores(self.scores)
        for name, number in self.special.items():
            getattr(writer, f"add_{name}_token_id")(number)
        writer.add_add_bos_token(self.adds_bos)
        writer.add_add_eos_token(False)
        writer.add_add_space_prefix(self.space_prefix)
        if self.template:
            writer.add_chat_template(self.template)


def read_vocabulary(tokenizer: Any, rows: int, ends: Sequence[int]) -> Vocabulary:
    """The vocabulary of a fast tokenizer.

    Args:
        tokenizer: as `load_tokenizer` gives it, with its chat template.
        rows: of the embedding; those beyond the last token are padding.
        ends: ids that end an answer, the most usual first.

    Raises:
        BelleError: a kind of tokenizer that GGUF does not know, more tokens than rows, or more than three ends.
    """
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    model = parts["model"]
    if model["type"] != "BPE":
        raise BelleError(f"the tokenizer is of type {model['type']}, and only BPE is exported", "use a BPE tokenizer")
    if len(tokenizer) > rows:
        what = f"the tokenizer has {len(tokenizer)} tokens and the embedding {rows} rows"
        raise BelleError(what, "resize the model to its tokenizer first")
    if len(ends) > 3:
        named = ", ".join(repr(tokenizer.convert_ids_to_tokens(end)) for end in ends)
        raise BelleError(f"{len(ends)} end tokens ({named}), and GGUF has room for three", "name fewer in generation_config.json")
    by_bytes = bool(model.get("byte_fallback"))
    tokens, types = _rows(tokenizer, parts, rows, by_bytes)
    merges = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "unk", "pad")}
    special |= dict(zip(("eos", "eot", "eom"), ends, strict=False))
    return Vocabulary(
        "llama" if by_bytes else "gpt2",
        "default" if by_bytes else _pre_tokenizer(parts),
        tokens, types, [] if by_bytes else [" ".join(merge) for merge in merges],
        _scores(tokens, model["vocab"], merges) if by_bytes else [],
        {name: number for name, number in special.items() if number is not None},
        _adds_bos(tokenizer), by_bytes and _prepends_space(parts), tokenizer.chat_template,
    )  # fmt: skip


def _rows(tokenizer: Any, parts: Mapping[str, Any], rows: int, by_bytes: bool) -> tuple[list[str], list[TokenType]]:
    tokens = [f"[PAD{number}]" for number in range(rows)]
    types = [TokenType.UNUSED] * rows
    for text, number in parts["model"]["vocab"].items():
        tokens[number], types[number] = text, TokenType.NORMAL
        if by_bytes and len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            types[number] = TokenType.BYTE
    for added in parts["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    if by_bytes and tokenizer.unk_token_id is not None:
        types[tokenizer.unk_token_id] = TokenType.UNKNOWN
    doubles = len(tokens) - len(set(tokens))
    if doubles:
        raise BelleError(f"{doubles} tokens of the vocabulary stand in it twice", "mend tokenizer.json")
    return tokens, types


def _pre_tokenizer(parts: Mapping[str, Any]) -> str:
    """llama.cpp's name for the way in which `tokenizer.json` cuts a text before the merges."""
    shape = tuple(_shape(parts["pre_tokenizer"] or {"type": "none"}))
    for name, known in PRE_TOKENIZERS.items():
        if shape == known:
            return name
    raise BelleError(
        f"llama.cpp has no pre-tokenizer that is known to cut like this tokenizer's {shape}",
        f"use a tokenizer that cuts like one of: {', '.join(PRE_TOKENIZERS)}",
    )


def _shape(step: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    if step["type"] == "Sequence":
        for inner in step["pretokenizers"]:
            yield from _shape(inner)
    elif step["type"] == "ByteLevel":
        yield "ByteLevel" if not step["add_prefix_space"] else "ByteLevel with a space in front", step.get("use_regex", True)
    elif step["type"] == "Digits":
        yield "Digits", step["individual_digits"]
    elif step["type"] == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        yield "Split", step["pattern"].get("Regex", step["pattern"].get("String"))
    else:
        yield step["type"], ""


def _scores(tokens: Sequence[str], vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]]) -> list[float]:
    """SentencePiece joins the pair whose token has the highest score: the earlier a merge makes it, the higher."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        ranks.setdefault("".join(pair), rank)
    last = len(merges)
    return [-float(ranks.get(token, last)) if token in vocabulary else 0.0 for token in tokens]


def _adds_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return bool(tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id])


def _prepends_space(parts: Mapping[str, Any]) -> bool:
    text = json.dumps([parts["normalizer"], parts["pre_tokenizer"]])
    return '"Prepend"' in text or '"prepend_scheme": "first"' in text or '"prepend_scheme": "always"' in text
