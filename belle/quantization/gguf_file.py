"""A model folder as one GGUF file, which llama.cpp, Ollama and LM Studio read: f32, f16, bf16 or Q8_0, one tensor in memory.

Smaller types (Q4_K_M, ...) are made from such a file by llama.cpp's own quantiser, see `gguf_small.py`. The layout is ggml's
gguf.md; names come from the package `gguf`, which is llama.cpp's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType
from numpy.typing import NDArray

from belle.errors import BelleError
from belle.jsonl import atomic_path, read_json
from belle.models.weights import Weights
from belle.quantization.gguf_vocabulary import Vocabulary

Type = Literal["F32", "F16", "BF16", "Q8_0"]

TYPES: dict[str, tuple[GGMLQuantizationType, LlamaFileType]] = {
    "F32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "F16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "BF16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "Q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
"""What is written here; vectors (norms, biases) are F32 in all of them."""


_LARGEST_F16 = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Architecture:
    """How a transformers class is called in llama.cpp, and whether its rotary halves are interleaved there."""

    name: gguf.MODEL_ARCH
    interleaved: bool


ARCHITECTURES = {
    "LlamaForCausalLM": Architecture(gguf.MODEL_ARCH.LLAMA, interleaved=True),
    "MistralForCausalLM": Architecture(gguf.MODEL_ARCH.LLAMA, interleaved=True),
    "Qwen2ForCausalLM": Architecture(gguf.MODEL_ARCH.QWEN2, interleaved=False),
    "Qwen3ForCausalLM": Architecture(gguf.MODEL_ARCH.QWEN3, interleaved=False),
}


@dataclass(frozen=True)
class Written:
    """What stands in a file: its size in bytes, and tensors by type."""

    path: Path
    size: int
    types: Mapping[str, int]
    kept_wide: tuple[str, ...]
    """Tensors that could not be stored in the asked type, and are F16 or F32 instead, each with the reason."""


def write_gguf(
    folder: Path, path: Path, kind: str, vocabulary: Vocabulary, name: str, progress: Callable[[int], None] | None = None
) -> Written:
    """Write the model of a folder in the Hugging Face layout to `path`, which appears when it is complete.

    Args:
        kind: a row of `TYPES`.
        vocabulary: of its tokenizer.
        name: what the file calls the model.
        progress: is told of every tensor that is written.

    Raises:
        BelleError: an architecture, a rotary scaling or a tensor that is not known here.
    """
    config = read_json(folder / "config.json")
    architecture = _architecture(config)
    tensors = Weights(folder)
    rows = len(vocabulary.tokens)
    plan = [_planned(tensors, source, config, architecture, kind, rows) for source in sorted(tensors, key=_layer_order)]
    frequencies = _rope_frequencies(config)
    with atomic_path(path) as part:
        writer = GGUFWriter(part, gguf.MODEL_ARCH_NAMES[architecture.name])
        _write_numbers(writer, config, name, rows, TYPES[kind][1])
        vocabulary.write(writer)
        if frequencies is not None:
            writer.add_tensor_info("rope_freqs.weight", frequencies.shape, frequencies.dtype, frequencies.nbytes)
        for each in plan:
            shape = gguf.quant_shape_to_byte_shape(each.shape, each.type) if _by_bytes(each.type) else each.shape
            size = each.count * gguf.GGML_QUANT_SIZES[each.type][1] // gguf.GGML_QUANT_SIZES[each.type][0]
            writer.add_tensor_info(each.name, shape, np.dtype(np.uint8 if _by_bytes(each.type) else np.float32), size, each.type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if frequencies is not None:
            writer.write_tensor_data(frequencies)
        for each in plan:
            writer.write_tensor_data(gguf.quants.quantize(_values(tensors, each, config, architecture), each.type))
            if progress:
                progress(1)
        writer.close()
        size = part.stat().st_size
    types: dict[str, int] = {}
    for each in plan:
        types[each.type.name] = types.get(each.type.name, 0) + 1
    return Written(path, size, types, tuple(f"{each.name}: {each.reason}" for each in plan if each.reason))


@dataclass(frozen=True)
class _Planned:
    source: str
    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    reason: str = ""

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def _architecture(config: Mapping[str, Any]) -> Architecture:
    name = (config.get("architectures") or ["none"])[0]
    if name not in ARCHITECTURES:
        raise BelleError(f"the architecture {name!r} is not exported to GGUF", f"known: {', '.join(ARCHITECTURES)}")
    if "quantization_config" in config:
        raise BelleError("the model is quantised already", "export the model that it was made from")
    return ARCHITECTURES[name]


def _planned(
    tensors: Weights, source: str, config: Mapping[str, Any], architecture: Architecture, kind: str, rows: int
) -> _Planned:
    names = gguf.get_tensor_name_map(architecture.name, config["num_hidden_layers"])
    name = names.get_name(source, (".weight", ".bias"))
    if name is None:
        raise BelleError(f"the tensor {source!r} has no place in a GGUF file of {config['architectures'][0]}")
    shape = tensors.entry(source).shape
    if name == "token_embd.weight" and shape[0] != rows:
        what = f"the embedding has {shape[0]} rows and the vocabulary {rows}"
        raise BelleError(what, "resize the model to its tokenizer first")
    if len(shape) == 1:
        return _Planned(source, name, shape, GGMLQuantizationType.F32)
    wanted = TYPES[kind][0]
    if kind == "Q8_0" and shape[-1] % 32:
        why = f"its rows of {shape[-1]} are no multiple of 32, kept as F16"
        return _Planned(source, name, shape, GGMLQuantizationType.F16, why)
    if kind == "F16" and (largest := float(np.abs(tensors.values(source)).max())) > _LARGEST_F16:
        why = f"holds {largest:.3g}, which is infinite in F16; kept as F32"
        return _Planned(source, name, shape, GGMLQuantizationType.F32, why)
    return _Planned(source, name, shape, wanted)


def _values(tensors: Weights, each: _Planned, config: Mapping[str, Any], architecture: Architecture) -> NDArray[np.float32]:
    values = tensors.values(each.source)
    if architecture.interleaved and ".self_attn." in each.source:
        heads = {"q_proj": config["num_attention_heads"], "k_proj": _kv_heads(config)}
        for projection, count in heads.items():
            if f".{projection}." in each.source:
                values = interleave(values, count)
    return np.ascontiguousarray(values, np.float32)


def interleave(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """[heads * size, ...] from transformers' order, where the two halves of a head rotate against each other, to ggml's, where
    neighbours do (Su et al., 2021, RoFormer, equation 34)."""
    size = weight.shape[0] // heads
    return weight.reshape(heads, 2, size // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _write_numbers(writer: GGUFWriter, config: Mapping[str, Any], name: str, rows: int, kind: LlamaFileType) -> None:
    head = _head_size(config)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_file_type(kind)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(rows)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(_kv_heads(config))
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = rope_parameters(config)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def rope_parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """`rope_theta`, `rope_type` and what belongs to it, as transformers 5 writes them and as earlier ones did.

    Raises:
        BelleError: a kind of scaling that is not exported.
    """
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    rope.setdefault("rope_type", rope.get("type", "default"))
    if rope["rope_type"] not in ("default", "linear", "yarn", "llama3"):
        raise BelleError(f"the rotary scaling {rope['rope_type']!r} is not exported", "known: default, linear, yarn, llama3")
    return rope


def _rope_frequencies(config: Mapping[str, Any]) -> NDArray[np.float32] | None:
    """Llama 3.1's scaling as the divisor of each frequency, which ggml reads as a tensor (transformers' `_compute_llama3`)."""
    rope = rope_parameters(config)
    if rope["rope_type"] != "llama3":
        return None
    head = _head_size(config)
    wave = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, head, 2, dtype=np.float64) / head)
    context = rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    smooth = np.clip((context / wave - low) / (high - low), 0, 1)
    divisors: NDArray[np.float32] = (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return divisors


def _by_bytes(kind: GGMLQuantizationType) -> bool:
    """Whether numpy has no type for it, so that rows go as bytes."""
    return kind in (GGMLQuantizationType.BF16, GGMLQuantizationType.Q8_0)


def _head_size(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _kv_heads(config: Mapping[str, Any]) -> int:
    return int(config.get("num_key_value_heads") or config["num_attention_heads"])


def _layer_order(name: str) -> tuple[Any, ...]:
    """layers.10 behind layers.9."""
    return tuple(int(part) if part.isdigit() else -1 for part in name.split(".")), name


def read_types(path: Path) -> Iterator[tuple[str, str]]:
    """(tensor, type) of a GGUF file."""
    for tensor in gguf.GGUFReader(path).tensors:
        yield tensor.name, tensor.tensor_type.name
