"""Write a quantised model as a folder that GPTQModel, transformers, vLLM and belle read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from belle import __version__
from belle.errors import BelleError
from belle.jsonl import atomic_path, read_json, write_json
from belle.models.tensors import Tensors, opened

SHARD = 4_000_000_000
"""Bytes of a weights file."""
TAKEN_ALONG = ("generation_config.json", "LICENSE", "LICENSE.txt", "NOTICE")


@dataclass(frozen=True)
class PackedFacts:
    """What the configuration says of how a model was quantised.

    Args:
        bits_of: each quantised layer's bits.
        wide: Linears of the blocks that were left as they were.
    """

    method: str
    bits: int
    group_size: int
    symmetric: bool
    act_order: bool
    static_groups: bool
    true_sequential: bool
    damp: float
    bits_of: Mapping[str, int] = field(default_factory=dict)
    wide: Sequence[str] = ()

    def config(self) -> dict[str, Any]:
        """The value of quantization_config.

        Layers that are other than the rest stand in `dynamic` with a pattern of their own, as GPTQModel and vLLM read it.
        """
        dynamic: dict[str, dict[str, int]] = {f"-:^{re.escape(name)}$": {} for name in self.wide}
        dynamic |= {f"+:^{re.escape(name)}$": {"bits": bits} for name, bits in self.bits_of.items() if bits != self.bits}
        return {
            "quant_method": "gptq", "checkpoint_format": "gptq", "pack_dtype": "int32", "bits": self.bits,
            "group_size": self.group_size, "sym": self.symmetric, "desc_act": self.act_order and not self.static_groups,
            "static_groups": self.static_groups, "true_sequential": self.true_sequential, "damp_percent": self.damp,
            "lm_head": False, **({"dynamic": dynamic} if dynamic else {}),
            "meta": {"quantizer": [f"belle:{__version__}"], "method": self.method},
        }  # fmt: skip


def as_rest(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that is not quantised, as it is written: in its own type, float32 as bfloat16."""
    return tensor.to(torch.bfloat16) if tensor.dtype in (torch.float32, torch.float64) else tensor


def write_packed(
    folder: Path, source: Path, blocks: Iterable[Path], facts: PackedFacts, tokenizer: Any, end_token_ids: Sequence[int]
) -> int:
    """Write the whole folder, or nothing.

    Args:
        source: the model it came from; everything outside of its blocks is taken from there.
        blocks: a safetensors file for each block, with all of its tensors.
        tokenizer: saved beside it, with its template.
        end_token_ids: generation ends at these, and at those of the source.

    Returns:
        Bytes of the weights.
    """
    original, files = Tensors(source), [opened(path) for path in blocks]
    names = {name for file in files for name in file.keys()}  # noqa: SIM118 - not a dict
    replaced = {name.rsplit(".", 1)[0] for name in names if name.endswith(".qweight")}
    rest = [name for name in original if name not in names and name.removesuffix(".weight") not in replaced]

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        yield from ((name, as_rest(original[name])) for name in rest)
        for file in files:
            yield from ((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118

    dtype = next((t.dtype for name in rest if (t := as_rest(original[name])).is_floating_point()), torch.float16)
    config = read_json(source / "config.json")
    said = {"dtype": str(dtype).removeprefix("torch."), "quantization_config": facts.config()}
    config = {key: value for key, value in config.items() if key != "torch_dtype"} | said
    with atomic_path(folder) as part:
        part.mkdir()
        size = _write_shards(part, tensors())
        write_json(part / "config.json", config)
        write_json(part / "quantize_config.json", facts.config())
        for name in TAKEN_ALONG:
            if (source / name).is_file():
                shutil.copyfile(source / name, part / name)
        _write_ends(part / "generation_config.json", end_token_ids, config)
        tokenizer.save_pretrained(part)
    return size


def _write_ends(path: Path, end_token_ids: Sequence[int], config: Mapping[str, Any]) -> None:
    value = read_json(path) if path.is_file() else {}
    old = value.get("eos_token_id", config.get("eos_token_id"))
    before = old if isinstance(old, list) else [] if old is None else [old]
    ends = list(dict.fromkeys([*end_token_ids, *before]))
    if not ends:
        raise BelleError("the model has no end token: what leaves would never stop", "set model.template=chatml")
    write_json(path, value | {"eos_token_id": ends if len(ends) > 1 else ends[0]})


def _write_shards(folder: Path, tensors: Iterable[tuple[str, torch.Tensor]]) -> int:
    """One file, or several of about `SHARD` bytes with an index; one of them is in memory at a time."""
    from safetensors.torch import save_file

    shards: list[list[str]] = []
    waiting: dict[str, torch.Tensor] = {}
    size = total = 0

    def close() -> None:
        save_file(waiting, folder / f"{len(shards)}.safetensors", {"format": "pt"})
        shards.append(list(waiting))
        waiting.clear()

    for name, tensor in tensors:
        if waiting and size + tensor.nbytes > SHARD:
            close()
            size = 0
        waiting[name] = tensor.contiguous()
        size += tensor.nbytes
        total += tensor.nbytes
    close()
    if len(shards) == 1:
        (folder / "0.safetensors").rename(folder / "model.safetensors")
        return total
    where: dict[str, str] = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        (folder / f"{number}.safetensors").rename(folder / file)
        where |= dict.fromkeys(names, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    return total
