from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_blocks import walk_over
from tiny import tiny_model_folder

from belle.errors import BelleError
from belle.quantization.mixed import Sensitivity, allocate, block_sensitivities


def cost(layers: dict[str, Sensitivity], chosen: dict[str, int]) -> tuple[float, float]:
    """(sum of errors, bits a weight)."""
    total = sum(layer.size for layer in layers.values())
    bits = sum(layer.size * chosen[name] for name, layer in layers.items()) / total
    return sum(layer.errors[chosen[name]] for name, layer in layers.items()), bits


@given(st.data(), st.floats(2, 8))
@settings(max_examples=60, deadline=None)
def test_no_choice_that_spends_as_little_has_a_smaller_error(data: st.DataObject, average: float) -> None:
    layers = {}
    for name in "abcd":
        errors = sorted(data.draw(st.lists(st.floats(0, 1), min_size=4, max_size=4)), reverse=True)
        layers[name] = Sensitivity(data.draw(st.integers(1, 5)) * 64, dict(zip((2, 3, 4, 8), errors, strict=True)))
    chosen = allocate(layers, average)
    mine, spent = cost(layers, chosen)
    assert spent <= average + 1e-9
    every = (cost(layers, dict(zip("abcd", choice, strict=True))) for choice in itertools.product((2, 3, 4, 8), repeat=4))
    # Taken greedily on convex hulls: what is left unspent is less than one layer's dearest step, and its gain bounds the loss.
    best = min(error for error, bits in every if bits <= average)
    step = max(
        layer.errors[low] - layer.errors[high]
        for layer in layers.values()
        for low, high in ((2, 3), (2, 4), (2, 8), (3, 8), (4, 8))
    )
    assert mine <= best + step + 1e-9


def test_bits_go_where_they_help() -> None:
    layers = {
        "sore": Sensitivity(100, {2: 0.9, 3: 0.3, 4: 0.1, 8: 0.0}),
        "dull": Sensitivity(100, {2: 0.05, 3: 0.04, 4: 0.03, 8: 0.0}),
    }
    assert allocate(layers, 3.0) == {"sore": 4, "dull": 2}
    assert allocate(layers, 8.0) == {"sore": 8, "dull": 8}
    assert allocate(layers, 2.0) == {"sore": 2, "dull": 2}
    with pytest.raises(BelleError, match="less than the fewest bits, 2"):
        allocate(layers, 1.5)


def test_every_layer_is_measured_and_left_as_it_is(tmp_path: Path) -> None:
    walk = walk_over(tiny_model_folder(tmp_path / "m"))
    walk.start()
    walk.load(0)
    before = walk.output(0).clone()
    found = block_sensitivities(walk, 0, symmetric=False, group_size=16)
    assert len(found) == 7
    assert found["model.layers.0.mlp.down_proj"].size == 32 * 48
    assert sorted(found["model.layers.0.mlp.down_proj"].errors) == [2, 4, 8], "48 rows of 3 bits do not fill whole words"
    errors = found["model.layers.0.self_attn.q_proj"].errors
    assert errors[2] > errors[3] > errors[4] > errors[8] > 0
    assert bool((walk.output(0) == before).all())
