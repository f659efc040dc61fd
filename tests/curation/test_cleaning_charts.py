from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from belle.curation.charts import length_chart, score_chart, shares


def test_lengths_before_and_after() -> None:
    chart = length_chart({"4": 10, "6": 5, "-1": 1}, {"4": 5})
    assert chart is not None
    assert len(chart.columns) == 8, "-1 to 6"
    assert [(c.before, c.after) for c in chart.columns] == [(10, 0), *[(0, 0)] * 4, (100, 50), (0, 0), (50, 0)]
    assert chart.columns[5].title == "4 to 5 characters: 10 before, 5 after"
    assert length_chart({}, {}) is None


def test_a_score_has_its_limit_drawn_where_it_lies() -> None:
    chart = score_chart({"0": 3, "10": 1}, {"at_least": 5, "at_most": 20})
    assert sum(column.after > 0 for column in chart.columns) == 2
    assert chart.limits == [(50.0, "at_least 5"), (100.0, "at_most 20 →")]
    assert [text for _, text in chart.ticks] == ["0", "2", "4", "6", "8", "10"]


def test_a_score_of_words_is_a_list() -> None:
    assert score_chart({"zh": 3, "": 1}, {}).words == [("zh", 3, 100.0), ("none given", 1, 33.33)]
    assert score_chart({"nan": 4}, {}).words == [("not scored", 4, 100.0)]


def test_wide_scores_are_drawn_on_a_logarithmic_axis() -> None:
    chart = score_chart({"1": 1, "10000": 1}, {"at_most": 100, "at_least": 0})
    assert [text for _, text in chart.ticks] == ["1", "10", "100", "1,000", "10,000"]
    assert chart.limits == [(50.0, "at_most 100")]


@given(st.dictionaries(st.floats(-1e6, 1e6).map(lambda value: f"{value:.3g}"), st.integers(1, 99), min_size=1))
def test_every_record_stands_in_some_column(values: dict[str, int]) -> None:
    chart = score_chart(values, {})
    assert chart.columns
    assert all(0 <= column.after <= 100 for column in chart.columns)
    counts = [int(column.title.split(": ")[1].split(" ")[0].replace(",", "")) for column in chart.columns]
    assert sum(counts) == sum(values.values())


def test_shares_beyond_the_commonest_are_one_row() -> None:
    rows = shares({"a": 5, "b": 3, "c": 2}, {"a": 5, "d": 5}, most=2)
    assert [(r.name, r.before, r.after, r.before_share, r.after_share) for r in rows] == [
        ("a", 5, 5, 0.5, 0.5), ("b", 3, 0, 0.3, 0.0), ("2 others", 2, 5, 0.2, 0.5),
    ]  # fmt: skip
