"""How samples share forward passes: the order of an epoch, and the cheapest way to split one step into micro-batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PASS_COST = 64
"""What one more forward and backward pass is taken to cost, in tokens; an estimate, not a measurement."""


def step_indices(samples: int, batch_size: int, steps: int, seed: int) -> list[list[int]]:
    """The samples of every optimiser step: each epoch is one permutation, its last step may be smaller.

    The whole plan is known before training starts, so a resumed run reads the same samples in the same order.
    """
    plan: list[list[int]] = []
    epoch = 0
    while len(plan) < steps:
        order = np.random.default_rng([seed, epoch]).permutation(samples)
        plan += [order[i : i + batch_size].tolist() for i in range(0, samples, batch_size)]
        epoch += 1
    return plan[:steps]


def micro_batches(lengths: Sequence[int], largest: int | None = None, most_tokens: int | None = None) -> list[list[int]]:
    """Split one step into groups of similar length so that padding and passes together cost least.

    The loss of a step is a mean over its tokens, so the split changes the cost and not the result. Dynamic programming
    over the samples sorted by length: best[j] = min over i of best[i] + (j - i) * length[j] + PASS_COST.

    Args:
        lengths: tokens of each sample of the step.
        largest: the most samples in a group, or None.
        most_tokens: the most tokens in a group, padding included (a longer single sample stands alone), or None.

    Returns:
        Groups of positions in `lengths`, longest first: if memory does not suffice, it shows in the first pass.
    """
    order = sorted(range(len(lengths)), key=lambda k: (lengths[k], k))
    best: list[float] = [0.0]
    cut: list[int] = [0]
    for j in range(1, len(order) + 1):
        width = lengths[order[j - 1]]
        options = [
            (best[i] + (j - i) * width + PASS_COST, i)
            for i in range(max(0, j - (largest or j)), j)
            if j - i == 1 or most_tokens is None or (j - i) * width <= most_tokens
        ]
        cost, start = min(options)
        best.append(cost)
        cut.append(start)
    groups: list[list[int]] = []
    j = len(order)
    while j:
        groups.append(order[cut[j] : j])
        j = cut[j]
    return groups
