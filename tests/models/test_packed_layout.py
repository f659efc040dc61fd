"""The layout of GPTQ checkpoints against a reader of its own, which goes bit by bit through Python's integers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.errors import BelleError
from belle.models.packed_layout import BITS, Codes, fits, pack, pack_layer, unpack, unpack_layer


def bit_reader(words: list[int], bits: int, count: int) -> list[int]:
    """`count` values from int32 words: one long number, the first word lowest, `bits` bits after the other."""
    stream = sum((word & 0xFFFFFFFF) << (32 * i) for i, word in enumerate(words))
    return [(stream >> (i * bits)) & ((1 << bits) - 1) for i in range(count)]


def random_layer(inputs: int, outputs: int, bits: int, size: int, seed: int = 0) -> Codes:
    make = torch.Generator().manual_seed(seed)
    groups = -(-inputs // size)
    return Codes(
        torch.randint(0, 1 << bits, (inputs, outputs), generator=make).to(torch.uint8),
        torch.randint(1, 1 << bits, (groups, outputs), generator=make).to(torch.uint8),
        (torch.rand(groups, outputs, generator=make) + 0.01).half(),
        (torch.arange(inputs) // size).int(),
    )


@pytest.mark.parametrize("bits", BITS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_packing_and_unpacking_give_the_values_back(bits: int, data: st.DataObject) -> None:
    step = {2: 16, 3: 32, 4: 8, 8: 4}[bits]
    n, m = step * data.draw(st.integers(1, 9)), data.draw(st.integers(1, 5))
    values = torch.tensor(data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=n * m, max_size=n * m))).view(n, m)
    words = pack(values, bits)
    assert words.dtype == torch.int32
    assert words.shape == (n * bits // 32, m)
    assert torch.equal(unpack(words, bits).long(), values)
    for column in range(m):
        assert bit_reader(words[:, column].tolist(), bits, n) == values[:, column].tolist()


def test_three_bits_straddle_words_as_the_published_kernels_have_it() -> None:
    values = torch.zeros(32, 1, dtype=torch.uint8)
    values[10], values[21] = 0b101, 0b011
    # Value 10: its low two bits on top of word 0, its high bit at the bottom of word 1. Value 21: one bit and two.
    assert [word & 0xFFFFFFFF for word in pack(values, 3)[:, 0].tolist()] == [0b01 << 30, 0b1 | 0b1 << 31, 0b01]


@pytest.mark.parametrize("bits", BITS)
def test_a_layer_means_what_the_formula_says(bits: int) -> None:
    layer = random_layer(64, 32, bits, 24)  # the last group is shorter
    parts = pack_layer(layer, bits)
    assert {name: list(t.shape) for name, t in parts.items()} == {
        "qweight": [2 * bits, 32], "qzeros": [3, bits], "scales": [3, 32], "g_idx": [64],
    }  # fmt: skip
    weight = layer.weight()
    for o in range(0, 32, 5):
        column = bit_reader(parts["qweight"][:, o].tolist(), bits, 64)
        for i in range(0, 64, 7):
            group = int(parts["g_idx"][i])
            zero = bit_reader(parts["qzeros"][group].tolist(), bits, 32)[o] + 1
            assert float(weight[o, i]) == pytest.approx(float(parts["scales"][group, o]) * (column[i] - zero), rel=1e-6)


@pytest.mark.parametrize("bits", BITS)
def test_a_layer_is_read_back_exactly(bits: int) -> None:
    layer = random_layer(96, 64, bits, 32)
    back = unpack_layer(pack_layer(layer, bits), bits, 1)
    assert torch.equal(back.codes, layer.codes)
    assert torch.equal(back.zeros.long(), layer.zeros.long())
    assert torch.equal(back.weight(), layer.weight())


def test_the_second_form_has_the_zero_points_themselves() -> None:
    layer = random_layer(32, 32, 4, 32)
    parts = pack_layer(layer, 4) | {"qzeros": pack(layer.zeros.t(), 4).t().contiguous()}
    assert torch.equal(unpack_layer(parts, 4, 0).weight(), layer.weight())


def test_what_does_not_fit_is_refused() -> None:
    assert fits(48, 16, 4)
    assert not fits(48, 16, 3)
    with pytest.raises(ValueError, match="do not fill whole words"):
        pack(torch.zeros(48, 1), 3)
    with pytest.raises(ValueError, match="larger than 2 bits"):
        pack(torch.full((16, 1), 4), 2)
    layer = random_layer(32, 32, 4, 32)
    with pytest.raises(ValueError, match="0 has no place"):
        pack_layer(Codes(layer.codes, layer.zeros * 0, layer.scales, layer.groups), 4)
    with pytest.raises(BelleError, match=r"'q' is no layer of 8 bits"):
        unpack_layer(pack_layer(layer, 4), 8, 1, "q")
    wild = pack_layer(layer, 4) | {"g_idx": torch.full((32,), 5, dtype=torch.int32)}
    with pytest.raises(BelleError, match="is no layer"):
        unpack_layer(wild, 4, 1)
