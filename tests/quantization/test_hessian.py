from __future__ import annotations

import pytest
import torch

from belle.quantization import hessian
from belle.quantization.hessian import Hessian


@pytest.mark.parametrize("block", [3, 8, 512])
def test_it_is_the_mean_over_tokens_of_every_batch(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hessian, "BLOCK", block)
    batches = [torch.randn(2, 5, 20), torch.randn(1, 3, 20)]
    found = Hessian(20, torch.device("cpu"))
    for batch in batches:
        found.add(batch)
    rows = torch.cat([batch.reshape(-1, 20) for batch in batches]).double()
    assert found.tokens == 13
    assert torch.allclose(found.mean.double(), rows.t() @ rows / 13, atol=1e-5)
    assert torch.equal(found.mean, found.mean.t())


def test_bfloat16_inputs_are_summed_in_float32() -> None:
    found = Hessian(4, torch.device("cpu"))
    for _ in range(600):
        found.add(torch.ones(1, 1, 4, dtype=torch.bfloat16))
    assert torch.equal(found.mean, torch.ones(4, 4))


def test_nothing_seen_is_an_error() -> None:
    with pytest.raises(ValueError, match="no token"):
        _ = Hessian(4, torch.device("cpu")).mean
