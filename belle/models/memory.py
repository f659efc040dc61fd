"""How much memory a model will take: arithmetic on its shape, before anything is loaded. All sizes are in bytes.

Training, per process, without recomputation:

    weights      P b            frozen (LoRA), or 4 P with every weight trained
    adapter      4 A            A = rank * sum over adapted layers of (inputs + outputs)
    gradients    4 T            T trained weights: A, or P
    AdamW        8 T            two moments in float32 (Loshchilov & Hutter 2017, arXiv:1711.05101)
    casts        2 P            bfloat16 copies that autocast keeps of float32 weights
    activations  n L (26 h + 4 b i + 3 b q + 2 b v + 4 H + 4 r m)
                                n tokens of one forward pass, L layers, h hidden, i intermediate, q and v the widths of all
                                query and key heads, H query heads, r rank, m adapted linear layers in each layer
    logits       s V (2 b + 12) s supervised tokens of one pass, V vocabulary; float32 copies for the softmax and its gradient

with P weights and b bytes of the arithmetic (2 or 4). The activations are what autograd keeps of a Llama-like layer (both
residuals and their norms in float32; gate, up, SiLU and their product; queries, keys, values and the attention's output;
no attention matrix), counted from below by a test. Generation keeps a cache of 2 L v b for each token instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from belle.sections import LoraSection

OVERHEAD = 700_000_000
"""Python, torch and transformers themselves."""


@dataclass(frozen=True)
class Size:
    """What of a model's shape its memory depends on; `linear` is (last part of the name, inputs, outputs), heads excepted."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    query_width: int
    key_width: int
    heads: int
    vocabulary: int
    context: int
    linear: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Estimate:
    """Bytes of each part, largest use at once."""

    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        listed = ", ".join(f"{name} {gigabytes(value)}" for name, value in self.parts.items() if value)
        return f"{gigabytes(self.total)} ({listed})"


def size_of(config: Any) -> Size:
    """The size of a causal language model from its transformers config: it is built without memory for its weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    linear = tuple(
        (name.rsplit(".", 1)[-1], module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    text = config.get_text_config()
    heads = text.num_attention_heads
    dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    return Size(
        parameters=sum(p.numel() for p in model.parameters()),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        query_width=heads * dim,
        key_width=(getattr(text, "num_key_value_heads", None) or heads) * dim,
        heads=heads,
        vocabulary=text.vocab_size,
        context=getattr(text, "max_position_embeddings", None) or 0,
        linear=linear,
    )


def lora_parameters(size: Size, lora: LoraSection) -> int:
    """Weights of a fresh adapter: A is [rank, inputs] and B is [outputs, rank] for each adapted layer."""
    return lora.rank * sum(inputs + outputs for _, inputs, outputs in _adapted(size, lora))


def training_memory(size: Size, lora: LoraSection | None, width: int, tokens: int, supervised: int) -> Estimate:
    """The largest use while training.

    Args:
        lora: the adapter, or None where every weight is trained.
        width: bytes of a number in the arithmetic, 2 or 4.
        tokens: of the largest forward pass, padding included.
        supervised: those of them that carry loss.
    """
    trained = lora_parameters(size, lora) if lora else size.parameters
    layer = 26 * size.hidden + 4 * width * size.intermediate + 3 * width * size.query_width + 2 * width * size.key_width
    layer += 4 * size.heads
    adapted = 4 * lora.rank * len(_adapted(size, lora)) if lora else 0
    return Estimate({
        "weights": size.parameters * (width if lora else 4),
        "adapter": 4 * trained if lora else 0,
        "gradients": 4 * trained,
        "AdamW": 8 * trained,
        "casts": 0 if lora or width == 4 else 2 * size.parameters,
        "activations": tokens * (size.layers * layer + adapted),
        "logits": supervised * size.vocabulary * (2 * width + 12),
        "libraries": OVERHEAD,
    })  # fmt: skip


def generation_memory(size: Size, width: int, tokens: int, rows: int) -> Estimate:
    """The largest use while answering `rows` prompts at once that come, with their answers, to `tokens` tokens in all."""
    return Estimate({
        "weights": size.parameters * width,
        "cache": tokens * 2 * size.layers * size.key_width * width,
        "logits": rows * size.vocabulary * (width + 8),
        "libraries": OVERHEAD,
    })  # fmt: skip


def merging_memory(size: Size) -> Estimate:
    """The largest use while merging: the base in float32, and a copy of it to tell what changed."""
    return Estimate({"weights": 8 * size.parameters, "libraries": OVERHEAD})


def gigabytes(count: float) -> str:
    """`count` bytes as `1.2 GB`, where GB is 10^9."""
    return f"{count / 1e9:.1f} GB" if count >= 5e7 else f"{count / 1e6:.1f} MB"


def _adapted(size: Size, lora: LoraSection) -> list[tuple[str, int, int]]:
    return [item for item in size.linear if lora.targets == "all-linear" or item[0] in lora.targets]
