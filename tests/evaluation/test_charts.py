from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.evaluation.charts import axis, loss_curve, smoothed

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_an_axis_holds_its_values_and_rises(values: list[float]) -> None:
    scale = axis(values)
    slack = 1e-8 * (1 + max(values) - min(values))
    assert scale.low <= min(values) + slack
    assert scale.high >= max(values) - slack
    places = [tick[1] for tick in scale.ticks]
    assert 2 <= len(places) <= 12
    assert places == sorted(set(places))
    assert len({tick[2] for tick in scale.ticks}) == len(places)  # labels have digits enough to differ


def test_round_ticks() -> None:
    assert [tick[2] for tick in axis([0.93, 2.61]).ticks] == ["0.5", "1.0", "1.5", "2.0", "2.5", "3.0"]
    assert [tick[2] for tick in axis([], share=True).ticks] == ["0%", "50%", "100%"]
    assert [tick[2] for tick in axis([0, 112], tight=True).ticks] == ["0", "50", "100"]


def test_smoothing_keeps_a_line_and_damps_noise() -> None:
    line = [2 - 0.01 * i for i in range(100)]
    assert smoothed(line)[:-4] == pytest.approx(line[:-4])
    assert smoothed(line)[-1] == pytest.approx(sum(line[-5:]) / 5)
    noisy = smoothed([1 + (-1) ** i for i in range(100)])
    assert max(noisy[10:-10]) - min(noisy[10:-10]) < 0.5


def test_curve() -> None:
    rows = [{"step": i, "loss": math.exp(-i / 10), "learning_rate": 1e-3} for i in range(1, 51)]
    curve = loss_curve([*rows, {"step": 50, "eval_loss": 0.4}])
    assert curve is not None
    assert len(curve.points) == 50
    assert curve.points[-1]["x"] == 100
    assert [point["loss"] for point in curve.points] == [row["loss"] for row in rows]
    assert curve.evaluations[0]["step"] == 50
    assert curve.raw.count("L") == 49
    assert loss_curve([{"step": 1, "loss": 2.0}]) is None


def test_a_long_curve_is_drawn_by_means() -> None:
    curve = loss_curve([{"step": i, "loss": float(i % 2)} for i in range(1, 10_001)])
    assert curve is not None
    assert len(curve.points) <= 600
    assert {round(point["loss"], 1) for point in curve.points} <= {0.4, 0.5, 0.6}
