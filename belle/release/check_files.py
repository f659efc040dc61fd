"""What can be wrong with the files of a model: shards, values, shapes, types, tied heads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from belle.errors import Finding
from belle.models.packed_layout import PARTS, WORD
from belle.models.packed_load import PackedForm, packed_form
from belle.models.weights import Weights
from belle.release.subject import Subject

Shapes = dict[str, tuple[int, ...]]

FLOATS = ("F16", "BF16", "F32", "F64")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_AGAIN = "make the model again: these values were not trained"


def files(subject: Subject) -> Iterator[Finding]:
    """Every file is there, whole, and in the index; nothing leaves that is not looked at."""
    weights, config = subject.weights, subject.config
    if "model_type" not in config:
        yield Finding("error", "files", "config.json names no model_type: no program knows what the model is", "mend config.json")
    if pickled := sorted(path.name for path in subject.folder.iterdir() if path.suffix in PICKLED):
        what = f"{', '.join(pickled[:3])}: pickled files run code when they are opened, and are not looked at"
        yield Finding("warning", "files", what, "leave them behind")
    if ggufs := sorted(path.name for path in subject.folder.glob("*.gguf")):
        yield Finding("warning", "files", f"{ggufs[0]} stands beside the model and is not looked at", f"belle verify {ggufs[0]}")
    size = sum(weights.entry(name).size for name in weights)
    yield Finding("ok", "files", f"{len(weights)} tensors in {len(weights.files)} files, {size / 1e6:.1f} MB")


def tensors(subject: Subject) -> Iterator[Finding]:
    """No tensor is empty, holds a value that is not finite, or the same value everywhere."""
    bad = []
    for name in subject.weights:
        if found := _fault(subject.weights, name):
            bad.append(Finding("error", "tensors", f"{name} {found}", _AGAIN))
    yield from bad or [Finding("ok", "tensors", "all values are finite, no tensor is empty or constant")]


def _fault(weights: Weights, name: str) -> str:
    entry = weights.entry(name)
    if entry.size == 0:
        return f"is empty, its shape is {list(entry.shape)}"
    if entry.dtype not in FLOATS and not name.endswith(".qweight"):
        return ""
    values = weights.values(name)
    finite = np.isfinite(values)
    if not finite.all():
        where = np.unravel_index(int(np.argmin(finite)), values.shape)
        first = f"{float(values[where]):g} at {[int(i) for i in where]}"
        return f"has {int(np.count_nonzero(~finite))} values that are not finite, the first is {first}"
    if values.size > 1 and values.min() == values.max():
        value = float(values.flat[0])
        # A fresh norm is all ones and a fresh bias all zeros. A matrix is never constant, and a norm of zeros ends everything.
        if values.ndim > 1 or (value != 0 if name.endswith("bias") else value != 1):
            return f"is {value:g} everywhere"
    if values.ndim == 2 and entry.dtype in FLOATS and (dead := int(np.count_nonzero(~values.any(1)))) > values.shape[0] // 2:
        return f"has {dead} of {values.shape[0]} rows that are zero"
    return ""


def shapes(subject: Subject) -> Iterator[Finding]:
    """Tensors are those that config.json describes."""
    have = {name: subject.weights.entry(name).shape for name in subject.weights}
    if not subject.whole:
        yield from _adapter_shapes(have)
        return
    if _renamed(subject.config):
        yield Finding("warning", "shapes", "transformers renames tensors of this architecture while it loads them: not compared")
        return
    wanted, may_lack = _wanted(subject, have)
    ignored = re.compile("|".join(_ignored(subject)))
    faults = [f"{name} is missing" for name in sorted(wanted.keys() - have.keys() - may_lack)]
    strange = sorted(name for name in have.keys() - wanted.keys() if not ignored.search(name))
    faults += [f"{name} belongs to no layer of the model" for name in strange]
    faults += [f"{name} has shape {list(have[name])}, the config wants {list(wanted[name])}"
               for name in sorted(wanted.keys() & have.keys()) if have[name] != wanted[name]]  # fmt: skip
    fix = "make config.json and the weights one model again"
    if any(".lora_" in name for name in strange):
        fix = "the adapter stands beside the weights and not in them: belle merge"
    yield from [Finding("error", "shapes", fault, fix) for fault in faults] or [
        Finding("ok", "shapes", f"{len(have)} tensors as config.json describes them")
    ]


def types(subject: Subject) -> Iterator[Finding]:
    """All numbers are of one type, the one that config.json names."""
    kinds = Counter(subject.weights.entry(name).dtype for name in subject.weights)
    said = str(subject.config.get("dtype") or subject.config.get("torch_dtype") or "")
    names = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    if len(kinds) > 1 and "quantization_config" not in subject.config:
        yield Finding("warning", "types", f"tensors are of several types: {told}", "store them in one type")
    elif subject.whole and said in names and names[said] not in kinds:
        fix = "write the right dtype into config.json"
        yield Finding("error", "types", f"config.json says {said}, the tensors are {told}", fix)
    else:
        yield Finding("ok", "types", told)


def tied(subject: Subject) -> Iterator[Finding]:
    """Where head and embedding are one, they are the same; where not, both are there."""
    if not subject.whole:
        return
    head, embedding = subject.head, subject.embedding
    if not getattr(subject.skeleton.config, "tie_word_embeddings", False):
        yield Finding("ok", "tied", "the head is a matrix of its own")
    elif head != embedding and not np.array_equal(subject.weights.raw(head), subject.weights.raw(embedding)):
        yield Finding("error", "tied", f"config.json ties head and embedding, and {head} and {embedding} differ",
                      "set tie_word_embeddings to false, or leave the head out")  # fmt: skip
    else:
        yield Finding("ok", "tied", "head and embedding are one")


def _adapter_shapes(have: Shapes) -> Iterator[Finding]:
    """Every A [rank, in] has its B [out, rank]."""
    faults, ranks = [], set()
    for name, shape in have.items():
        if ".lora_A." not in name:
            continue
        other = have.get(name.replace(".lora_A.", ".lora_B."))
        ranks.add(shape[0])
        if other is None or len(shape) != 2 or len(other) != 2 or other[1] != shape[0]:
            said = list(other) if other is not None else "missing"
            faults.append(Finding("error", "shapes", f"{name} is {list(shape)}, its B is {said}", "train the adapter again"))
    told = f"{len(have)} matrices of rank {', '.join(map(str, sorted(ranks)))}" if ranks else "no matrix of low rank"
    yield from faults or [Finding("ok", "shapes", told)]


def _renamed(config: dict[str, Any]) -> bool:
    try:
        from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    except ImportError:
        return False
    return get_checkpoint_conversion_mapping(config.get("model_type")) is not None


def _ignored(subject: Subject) -> list[str]:
    """Patterns of what older programs stored and every program recomputes."""
    own = getattr(subject.skeleton, "_keys_to_ignore_on_load_unexpected", None) or ()
    return [r"\.rotary_emb\.inv_freq$", r"\.attn\.(masked_)?bias$", *own]


def _wanted(subject: Subject, have: Shapes) -> tuple[Shapes, set[str]]:
    """Shape of every tensor of the model that config.json describes, and the names that may be lacking."""
    model = subject.skeleton
    keys = getattr(model, "_tied_weights_keys", None) or ()
    tied_names = set(keys) if getattr(model.config, "tie_word_embeddings", False) else set()
    wanted = {subject.named(name): tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    form = packed_form(subject.folder)
    for name in [n.removesuffix(".qweight") for n in have if n.endswith(".qweight")] if form is not None else []:
        if f"{name}.weight" in wanted and form is not None:
            wanted |= _packed_shapes(name, wanted.pop(f"{name}.weight"), form)
    return wanted, tied_names | {name for name in wanted if name.endswith(".g_idx")}


def _packed_shapes(name: str, shape: tuple[int, ...], form: PackedForm) -> Shapes:
    """The four tensors of a packed layer, see `models/packed_layout.py`."""
    outputs, inputs = shape
    bits = form.bits_of(name)
    groups = -(-inputs // form.group_size) if form.group_size > 0 else 1
    sizes = ((inputs * bits // WORD, outputs), (groups, outputs * bits // WORD), (groups, outputs), (inputs,))
    return {f"{name}.{part}": size for part, size in zip(PARTS, sizes, strict=True)}
