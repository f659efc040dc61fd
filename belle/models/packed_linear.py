"""A Linear that stays packed, where memory is dear. The default is to unpack once at loading, which is never slower in bulk.

For 4 bits torch has a kernel that reads the codes themselves (CPU, bfloat16 arithmetic, groups in order). Measured on two cores
with AVX-512 at 4096 x 4096: one token 0.22 ms against 0.92 ms for bfloat16 weights, 16 tokens 1.6 against 1.2, 128 tokens 13.6
against 5.0: it speeds up generation and slows down reading. Its float32 and float16 forms are 50 times slower than a plain
matmul and are not used. torch's int8 kernel knows no groups. Every other form is unpacked in each forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import linear

from belle.models.packed_layout import Codes, pack, unpack

KERNEL_GROUPS = (32, 64, 128, 256)


class PackedLinear(torch.nn.Module):
    """y = x W^T + b, W kept as codes: about bits / 16 of a bfloat16 weight's memory."""

    bias: torch.Tensor | None

    def __init__(self, layer: Codes, bits: int, bias: torch.Tensor | None, dtype: torch.dtype) -> None:
        """`dtype` is that of the arithmetic."""
        super().__init__()
        self.bits, self.dtype = bits, dtype
        self.in_features, self.out_features = layer.codes.shape
        self.group_size = kernel_group_size(layer, bits, dtype)
        self.register_buffer("bias", bias)
        if self.group_size:
            codes, scales = _kernel_form(layer)
            self.register_buffer("codes", codes)
            self.register_buffer("scales", scales)
        else:
            self.register_buffer("codes", pack(layer.codes, bits))
            self.register_buffer("zeros", layer.zeros)
            self.register_buffer("scales", layer.scales)
            self.register_buffer("groups", layer.groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out]."""
        if not self.group_size:
            return linear(x, self.weight.to(x.dtype), self.bias)
        rows = x.reshape(-1, self.in_features).to(self.dtype).contiguous()
        y = self._kernel(rows).reshape(*x.shape[:-1], self.out_features).to(x.dtype)
        return y if self.bias is None else y + self.bias

    def _kernel(self, rows: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.codes, self.group_size, self.scales)
        return y

    @property
    def weight(self) -> torch.Tensor:
        """[out, in], unpacked."""
        if self.group_size:  # column i of W^T is the answer to unit vector i
            return self._kernel(torch.eye(self.in_features, dtype=self.dtype)).t()
        layer = Codes(unpack(self.codes, self.bits), self.zeros, self.scales, self.groups)  # type: ignore[arg-type]
        return layer.weight(self.dtype)

    def extra_repr(self) -> str:
        """What stands in a printed model."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bits={self.bits}"


def kernel_group_size(layer: Codes, bits: int, dtype: torch.dtype) -> int:
    """The group size with which torch's 4-bit kernel can read a layer; 0 where it cannot."""
    inputs, count = len(layer.groups), len(layer.scales)
    size = inputs // count if count and inputs % count == 0 else 0
    ordered = size > 0 and torch.equal(layer.groups.cpu().long(), torch.arange(inputs) // size)
    usable = bits == 4 and dtype == torch.bfloat16 and layer.codes.device.type == "cpu" and layer.codes.shape[1] % 16 == 0
    return size if usable and ordered and size in KERNEL_GROUPS and has_kernel() else 0


def has_kernel() -> bool:
    """Whether this torch has the 4-bit kernel for the CPU."""
    names = ("_weight_int4pack_mm_for_cpu", "_convert_weight_to_int4pack_for_cpu")
    return all(hasattr(torch.ops.aten, name) for name in names)


def _kernel_form(layer: Codes) -> tuple[Any, Any]:
    """Codes, and [groups, out, 2] (scale, offset) in bfloat16: the kernel computes (code - 8) * scale + offset."""
    scales = layer.scales.float()
    offsets = (8 - layer.zeros.float()) * scales
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(layer.codes.t().contiguous().int(), 1)
    return packed, torch.stack([scales, offsets], -1).to(torch.bfloat16).contiguous()
