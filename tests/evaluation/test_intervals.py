from __future__ import annotations

import numpy as np
import pytest

from belle.evaluation.intervals import Interval, bootstrap, macro, paired_bootstrap


def test_mean_and_its_interval_agree_with_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = bootstrap(values, draws=4000)
    error = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - error, abs=0.03)
    assert found.high == pytest.approx(values.mean() + error, abs=0.03)
    assert found.n == 400


def test_loss_is_weighted_by_tokens() -> None:
    # 10 nats over 10 tokens and 1 over 2: 11 / 12, not the mean of 1.0 and 0.5
    assert bootstrap([10.0, 1.0], [10.0, 2.0]).value == pytest.approx(11 / 12)
    assert bootstrap([10.0, 1.0], [10.0, 2.0]).high == pytest.approx(1.0)
    assert bootstrap([10.0, 1.0], [10.0, 2.0]).low == pytest.approx(0.5)


def test_seed_decides() -> None:
    values = list(np.random.default_rng(0).random(30))
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)


def test_all_or_none_is_not_certainty() -> None:
    # exact binomial bound for 0 of 12: 1 - 0.025 ** (1 / 12)
    assert bootstrap([False] * 12) == Interval(0.0, 0.0, pytest.approx(0.26465, abs=1e-5), 12)
    assert bootstrap([True] * 12) == Interval(1.0, pytest.approx(0.73535, abs=1e-5), 1.0, 12)


def test_paired_difference_is_narrower_than_the_two_intervals() -> None:
    random = np.random.default_rng(2)
    before = random.normal(0, 5, 100)
    after = before + random.normal(0.5, 0.1, 100)
    found = paired_bootstrap(before, after)
    assert found.value == pytest.approx((after - before).mean())
    assert 0.45 < found.low < found.value < found.high < 0.55
    assert bootstrap(before).high > bootstrap(after).low  # on their own they overlap


def test_paired_weighted() -> None:
    found = paired_bootstrap([4.0, 4.0], [2.0, 2.0], [2.0, 2.0], [2.0, 2.0])
    assert found == Interval(-1.0, -1.0, -1.0, 2)


def test_macro_weighs_each_class_alike() -> None:
    found = macro({"many": ([1.0] * 90 + [0.0] * 10, None), "few": ([0.0, 0.2], None)})
    assert found.value == pytest.approx((0.9 + 0.1) / 2)
    assert found.low < found.value < found.high
    assert found.n == 102


@pytest.mark.parametrize("values", [[], [[1.0]]])
def test_nothing_to_average(values: list[float]) -> None:
    with pytest.raises(ValueError):
        bootstrap(values)


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="not pairs"):
        paired_bootstrap([1.0], [1.0, 2.0])


def test_coverage_is_near_95_percent() -> None:
    random = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        found = bootstrap(random.random(60), draws=500, seed=trial)
        hits += found.low <= 0.5 <= found.high
    assert 180 <= hits <= 198
