"""Load a GPTQ checkpoint with what stands here: no package beside torch, on any machine that runs torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from belle.errors import BelleError
from belle.jsonl import read_json
from belle.models.packed_layout import BITS, PARTS, unpack_layer
from belle.models.packed_linear import PackedLinear
from belle.models.tensors import Tensors, empty_model, fill, settle_tied

_TOGETHER = "check that its files are complete and belong together"
OFFSETS = {"gptq": 1, "gptq_v2": 0}
"""checkpoint_format -> what was taken from the zero points before they were packed."""


@dataclass(frozen=True)
class PackedForm:
    """What a folder's quantization_config says.

    Args:
        bits: of a layer that `exceptions` does not name.
        group_size: inputs that share a scale; -1 is all of them.
        offset: see `OFFSETS`.
        exceptions: (pattern of the layer's name, its bits), the first that fits counts.
    """

    bits: int
    group_size: int
    offset: int
    exceptions: tuple[tuple[str, int], ...] = ()

    def bits_of(self, name: str) -> int:
        """Bits of the layer of that name."""
        return next((bits for pattern, bits in self.exceptions if re.match(pattern, name)), self.bits)


def packed_form(folder: str | Path) -> PackedForm | None:
    """How a folder is quantised; None where it is not, or not by GPTQ.

    Raises:
        BelleError: it is of a GPTQ form that is not known here.
    """
    path = Path(folder) / "config.json"
    config = read_json(path) if path.is_file() else {}
    said = config.get("quantization_config") if isinstance(config, dict) else None
    if not isinstance(said, dict) or said.get("quant_method") != "gptq":
        return None
    bits, form, size = said.get("bits"), said.get("checkpoint_format", "gptq"), said.get("group_size", -1)
    if form not in OFFSETS:
        raise BelleError(f"{str(path)!r}: checkpoint_format {form!r} is not known", f"one of: {', '.join(OFFSETS)}")
    if bits not in BITS or not isinstance(size, int):
        what = f"{str(path)!r}: {bits!r} bits in groups of {size!r} are not known"
        raise BelleError(what, f"bits: {', '.join(map(str, BITS))}")
    exceptions = []
    for pattern, changes in (said.get("dynamic") or {}).items():
        if not pattern.startswith("-:") and isinstance(changes, dict) and "bits" in changes:
            exceptions.append((pattern.removeprefix("+:"), int(changes["bits"])))
    return PackedForm(bits, size, OFFSETS[form], tuple(exceptions))


def load_packed(
    folder: Path, form: PackedForm, dtype: torch.dtype, device: torch.device, keep: bool = False, trust_remote_code: bool = False
) -> Any:
    """The model, in evaluation mode.

    Args:
        dtype: of the arithmetic and of everything that is not quantised.
        keep: leave the weights packed (`PackedLinear`); else each is unpacked once, into an ordinary Linear.

    Raises:
        BelleError: a tensor is missing, or its shape does not fit.
    """
    from transformers import GenerationConfig

    tensors = Tensors(folder)
    model = empty_model(folder, dtype, trust_remote_code)
    plain: set[str] = set()
    for name in sorted(name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")):
        _put(model, name, form, tensors, dtype, keep)
        plain.add(name)
    whole = tuple(f"{name}." for name in plain) if keep else ()  # these have everything that is theirs
    lacking = fill(model, "", tensors, dtype, torch.device("cpu"), whole)
    settle_tied(model, [name for name in lacking if name.rsplit(".", 1)[0] not in plain])
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model.to(device).eval()


def _put(model: Any, name: str, form: PackedForm, tensors: Tensors, dtype: torch.dtype, keep: bool) -> None:
    parent, _, last = name.rpartition(".")
    try:
        linear = model.get_submodule(name)
    except AttributeError:
        linear = None
    if not isinstance(linear, torch.nn.Linear):
        raise BelleError(f"the checkpoint has {name!r} quantised, and {type(model).__name__} has no such Linear", _TOGETHER)
    bits, parts = form.bits_of(name), {part: tensors[f"{name}.{part}"] for part in PARTS if f"{name}.{part}" in tensors}
    if "g_idx" not in parts and "qweight" in parts:  # some writers leave it out where groups are in order
        size = form.group_size if form.group_size > 0 else linear.in_features
        parts["g_idx"] = (torch.arange(linear.in_features) // size).int()
    if lost := [part for part in PARTS if part not in parts]:
        raise BelleError(f"'{name}.{lost[0]}' is missing in the checkpoint", _TOGETHER)
    layer = unpack_layer(parts, bits, form.offset, name)
    if tuple(layer.codes.shape) != (linear.in_features, linear.out_features):
        found = f"[{layer.codes.shape[1]}, {layer.codes.shape[0]}]"
        raise BelleError(f"{name!r} is {found}, not [{linear.out_features}, {linear.in_features}]", _TOGETHER)
    bias = tensors[f"{name}.bias"].to(dtype) if f"{name}.bias" in tensors else None
    if keep:
        setattr(model.get_submodule(parent), last, PackedLinear(layer, bits, bias, dtype))
        return
    linear.weight = torch.nn.Parameter(layer.weight(dtype), requires_grad=False)
