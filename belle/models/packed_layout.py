"""The layout of GPTQ checkpoints: what the ecosystem's engines read, bit by bit.

A Linear with weight [out, in] becomes four tensors, with a scale and a zero point for each group of inputs and each output:

    qweight  int32 [in * bits / 32, out]      codes, packed along the inputs
    qzeros   int32 [groups, out * bits / 32]  zero points, packed along the outputs; the form `gptq` stores each less one
    scales   float16 [groups, out]
    g_idx    int32 [in]                       the group of each input

and weight[o, i] = scales[g_idx[i], o] * (code[i, o] - zero[g_idx[i], o]). Packed values are one stream of bits, the lowest
first: value i takes the bits from i * bits on, so 32 values of 3 bits fill 3 words and some straddle two.
(The layout of AutoGPTQ, GPTQModel and transformers; `gptq_v2` differs in storing the zero points themselves.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from belle.errors import BelleError

PARTS = ("qweight", "qzeros", "scales", "g_idx")
BITS = (2, 3, 4, 8)
WORD = 32


@dataclass(frozen=True)
class Codes:
    """A quantised weight.

    Args:
        codes: [in, out] uint8.
        zeros: [groups, out] uint8.
        scales: [groups, out] float16.
        groups: [in] int32, the group of each input.
    """

    codes: torch.Tensor
    zeros: torch.Tensor
    scales: torch.Tensor
    groups: torch.Tensor

    def weight(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """[out, in]: computed in float32, then rounded to `dtype` once."""
        index = self.groups.long()
        steps = self.codes.float() - self.zeros.float()[index]
        return (steps * self.scales.float()[index]).t().contiguous().to(dtype)


def fits(inputs: int, outputs: int, bits: int) -> bool:
    """Whether the layout can hold a weight: its rows and columns must fill whole words."""
    return (inputs * bits) % WORD == 0 and (outputs * bits) % WORD == 0


def pack(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack along the first dimension.

    Args:
        values: [n, m] whole numbers of at most `bits` bits; n * bits is a multiple of 32.

    Returns:
        int32 [n * bits / 32, m].

    Raises:
        ValueError: the values do not fill whole words, or do not fit into their bits.
    """
    n, m = values.shape
    if (n * bits) % WORD:
        raise ValueError(f"{n} values of {bits} bits do not fill whole words")
    wide = np.zeros((-(-n // WORD) * WORD, m), np.uint32)
    wide[:n] = values.cpu().numpy()
    if wide.size and int(wide.max()) >> bits:
        raise ValueError(f"a value is larger than {bits} bits hold")
    blocks = wide.reshape(-1, WORD, m)
    words = np.zeros((len(blocks), bits, m), np.uint32)  # 32 values of `bits` bits are `bits` words
    for i in range(WORD):
        word, shift = divmod(i * bits, WORD)
        words[:, word] |= blocks[:, i] << np.uint32(shift)
        if shift + bits > WORD:
            words[:, word + 1] |= blocks[:, i] >> np.uint32(WORD - shift)
    return torch.from_numpy(words.reshape(-1, m)[: n * bits // WORD].view(np.int32).copy())


def unpack(words: torch.Tensor, bits: int) -> torch.Tensor:
    """The inverse of `pack`: int32 [k, m] to uint8 [k * 32 / bits, m]."""
    k, m = words.shape
    padded = np.zeros((-(-k // bits) * bits, m), np.uint32)
    padded[:k] = words.cpu().contiguous().numpy().view(np.uint32)
    blocks = padded.reshape(-1, bits, m)
    values = np.empty((len(blocks), WORD, m), np.uint8)
    mask = np.uint32((1 << bits) - 1)
    for i in range(WORD):
        word, shift = divmod(i * bits, WORD)
        value = blocks[:, word] >> np.uint32(shift)
        if shift + bits > WORD:
            value = value | blocks[:, word + 1] << np.uint32(WORD - shift)
        values[:, i] = value & mask
    return torch.from_numpy(values.reshape(-1, m)[: k * WORD // bits].copy())


def pack_layer(layer: Codes, bits: int) -> dict[str, torch.Tensor]:
    """The four tensors of a layer in the form `gptq`.

    Raises:
        ValueError: a zero point is 0, which this form cannot say, or see `pack`.
    """
    if int(layer.zeros.min()) < 1:
        raise ValueError("zero points are stored less one: 0 has no place")
    return {
        "qweight": pack(layer.codes, bits),
        "qzeros": pack((layer.zeros - 1).t(), bits).t().contiguous(),
        "scales": layer.scales.half().contiguous(),
        "g_idx": layer.groups.int().contiguous(),
    }


def unpack_layer(parts: Mapping[str, torch.Tensor], bits: int, offset: int, name: str = "") -> Codes:
    """A layer from its tensors.

    Args:
        parts: `PARTS` to tensors.
        offset: what was taken from the zero points: 1 in the form `gptq`, 0 in `gptq_v2`.
        name: for the error.

    Raises:
        BelleError: their shapes do not belong together.
    """
    codes = unpack(parts["qweight"], bits)
    stored = unpack(parts["qzeros"].t(), bits).t()
    scales, groups = parts["scales"], parts["g_idx"]
    count, outputs = scales.shape
    right = groups.shape == codes.shape[:1] and stored.shape == (count, outputs) and codes.shape[1] == outputs
    if not right or int(groups.min()) < 0 or int(groups.max()) >= count:
        shapes = ", ".join(f"{part} {list(parts[part].shape)}" for part in PARTS)
        raise BelleError(f"{name!r} is no layer of {bits} bits: {shapes}", "use files that belong together")
    return Codes(codes, (stored.to(torch.int16) + offset).contiguous(), scales, groups)
