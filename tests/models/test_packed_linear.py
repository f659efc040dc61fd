"""Packed Linears answer like the unpacked weight; torch's kernel is used where it is exact, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from test_packed_layout import random_layer

from belle.models.packed_layout import Codes
from belle.models.packed_linear import PackedLinear, kernel_group_size


@pytest.mark.parametrize(("bits", "dtype", "size"), [
    (2, torch.float32, 32), (3, torch.float32, 40), (8, torch.float32, 128), (4, torch.float32, 32), (4, torch.bfloat16, 32),
    (4, torch.bfloat16, 64), (4, torch.bfloat16, 40), (3, torch.bfloat16, 32),
])  # fmt: skip
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_it_answers_like_the_weight(bits: int, dtype: torch.dtype, size: int, rows: int) -> None:
    layer = random_layer(128, 64, bits, size)
    bias = torch.randn(64).to(dtype)
    packed = PackedLinear(layer, bits, bias, dtype)
    x = torch.randn(2, rows, 128).to(dtype)
    wanted = x.float() @ layer.weight().t() + bias.float()
    got = packed(x)
    assert got.shape == (2, rows, 64)
    assert got.dtype == dtype
    assert float((got.float() - wanted).norm() / wanted.norm()) < (1e-2 if dtype == torch.bfloat16 else 1e-5)


def test_the_kernel_is_used_only_where_groups_are_in_order_and_of_its_sizes() -> None:
    layer = random_layer(128, 64, 4, 32)
    assert kernel_group_size(layer, 4, torch.bfloat16) == 32
    assert kernel_group_size(layer, 4, torch.float32) == 0, "its float32 form is slow"
    assert kernel_group_size(layer, 8, torch.bfloat16) == 0
    assert kernel_group_size(random_layer(128, 64, 4, 16), 4, torch.bfloat16) == 0
    assert kernel_group_size(random_layer(144, 64, 4, 32), 4, torch.bfloat16) == 0, "a shorter last group"
    turned = Codes(layer.codes, layer.zeros, layer.scales, layer.groups.flip(0))
    assert kernel_group_size(turned, 4, torch.bfloat16) == 0


def test_it_takes_a_fraction_of_the_memory_and_gives_its_weight() -> None:
    for dtype in (torch.bfloat16, torch.float32):
        layer = random_layer(256, 128, 4, 64)
        packed = PackedLinear(layer, 4, None, dtype)
        assert sum(buffer.nbytes for buffer in packed.buffers()) < 0.7 * 2 * 256 * 128 / 2
        difference = (packed.weight.float() - layer.weight()).norm() / layer.weight().norm()
        assert float(difference) < (5e-3 if dtype == torch.bfloat16 else 1e-7), "the kernel's scales are bfloat16"
    assert "bits=4" in repr(packed)
