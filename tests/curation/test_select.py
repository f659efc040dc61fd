"""Selections: the best share, quotas of classes, the most different ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cleaning import clean, data_file, rows
from hypothesis import given
from hypothesis import strategies as st

from belle.curation.catalogue import read_steps
from belle.curation.items import Item, Score
from belle.curation.select import ClassQuota, KCenter, TopShare, farthest_first, hashed_vectors, quotas, ranking, share_limit
from belle.errors import BelleError
from belle.records import Conversation, Message


class Lying:
    """Items with columns."""

    def __init__(self, texts: Sequence[str], columns: Mapping[str, Sequence[Score]], categories: Sequence[str] = ()) -> None:
        self.texts, self.columns, self.categories = texts, columns, categories or [""] * len(texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, position: int) -> Item:
        messages = (Message("user", self.texts[position]), Message("assistant", "ok"))
        return Item(position, Conversation(messages, category=self.categories[position]))

    def __iter__(self) -> Iterator[Item]:
        return (self[i] for i in range(len(self)))

    def column(self, name: str) -> list[Score]:
        return list(self.columns[name])


def gone(step: Any, items: Lying, pieces: int = 2) -> set[int]:
    records = [item.record for item in items]
    prepared = [step.prepare(records[:pieces]), step.prepare(records[pieces:])]
    found = list(step.decide(prepared, items))
    assert len({position for position, _ in found}) == len(found)
    return {position for position, _ in found}


NAN = float("nan")


def test_the_top_share_is_rounded_up_and_ties_go_to_the_earlier() -> None:
    items = Lying("abcde", {"judge": [3.0, 9.0, 3.0, NAN, 5.0]})
    assert gone(TopShare(score="judge", share=0.5), items) == {2, 3}  # 3 of 5: 9, 5 and the first 3
    assert gone(TopShare(score="judge", share=0.2), items) == {0, 2, 3, 4}
    assert gone(TopShare(score="judge", share=1.0), items) == set()


def test_low_can_be_good_and_no_score_is_never_good() -> None:
    items = Lying("abcd", {"perplexity": [3.0, NAN, 1.0, 2.0]})
    assert gone(TopShare(score="perplexity", share=0.5, lowest=True), items) == {0, 1}


def test_the_top_share_within_each_class() -> None:
    items = Lying("abcdef", {"s": [1.0, 2.0, 3.0, 4.0, 9.0, 8.0], "kind": ["a", "a", "a", "a", "b", "b"]})
    assert gone(TopShare(score="s", share=0.5, per_class="kind"), items) == {0, 1, 5}


def test_words_have_no_best() -> None:
    with pytest.raises(BelleError, match="'code' is a word"):
        ranking([1.0, "code"])


def test_a_quota_by_number() -> None:
    items = Lying("abcde", {"instruction_class": ["x", "x", "y", "x", "x"]})
    assert gone(ClassQuota(number=2), items) == {3, 4}
    best = Lying("abcde", {"instruction_class": ["x", "x", "y", "x", "x"], "judge": [1.0, 2.0, 0.0, 4.0, 3.0]})
    assert gone(ClassQuota(number=2, best="judge"), best) == {0, 1}


def test_a_quota_by_the_records_own_category() -> None:
    items = Lying("abcd", {}, ["诗", "诗", "", ""])
    assert gone(ClassQuota(number=1, by="category"), items) == {1, 3}


def test_a_quota_by_share_holds_in_what_is_left() -> None:
    # 100 of x, 10 of y, 10 of z: with at most half each, x may keep 20
    kinds = ["x"] * 100 + ["y"] * 10 + ["z"] * 10
    items = Lying(kinds, {"instruction_class": kinds})
    left = Counter(kinds[i] for i in range(120) if i not in gone(ClassQuota(share=0.5), items))
    assert left == {"x": 20, "y": 10, "z": 10}


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 50), min_size=1), st.floats(0.05, 1.0))
def test_the_share_limit_is_the_largest_that_holds(counts: dict[str, int], share: float) -> None:
    fits = [m for m in range(1, max(counts.values()) + 1) if m <= share * sum(min(c, m) for c in counts.values()) + 1e-9]
    if not fits:
        with pytest.raises(BelleError, match="cannot each have at most"):
            share_limit(Counter(counts), share)
    else:
        assert share_limit(Counter(counts), share) == max(fits)


@pytest.mark.parametrize(
    ("way", "want", "expected"),
    [("none", 5, {"a": 10, "b": 3, "c": 1}), ("proportional", 7, {"a": 5, "b": 2, "c": 0}),
     ("equal", 7, {"a": 3, "b": 3, "c": 1}), ("equal", 14, {"a": 10, "b": 3, "c": 1}), ("equal", 2, {"a": 1, "b": 1, "c": 0})],
)  # fmt: skip
def test_quotas(way: str, want: int, expected: dict[str, int]) -> None:
    assert quotas(Counter({"a": 10, "b": 3, "c": 1}), want, way) == expected


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 20), min_size=1), st.data(),
    st.sampled_from(["proportional", "equal"]),
)  # fmt: skip
def test_quotas_sum_to_what_is_wanted(counts: dict[str, int], data: st.DataObject, way: str) -> None:
    want = data.draw(st.integers(1, sum(counts.values())))
    room = quotas(Counter(counts), want, way)
    assert sum(room.values()) == want
    assert all(0 <= room[name] <= counts[name] for name in counts)


def test_farthest_first_on_points_that_can_be_checked_by_hand() -> None:
    angles = np.radians([0, 5, 90, 180, 10])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    chosen, near, _ = farthest_first(vectors, 3, [""] * 5, {"": 5})
    # the mean points to about 35 degrees: the nearest is 10; then 180 is farthest (170 away), then 90
    assert chosen == [4, 3, 2]
    assert near.tolist() == [4, 4, 2, 3, 4]


def test_a_full_class_is_passed_over() -> None:
    angles = np.radians([0, 90, 180, 270])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    chosen, _, _ = farthest_first(vectors, 2, ["a", "b", "a", "b"], {"a": 0, "b": 2})
    assert sorted(chosen) == [1, 3]


def test_k_center_keeps_one_of_each_group() -> None:
    texts = ["写一首关于春天的诗", "写一首关于春天的诗吧", "写一首春天的诗", "计算三乘以七等于几", "计算三乘以七", "Bake"]
    kept = set(range(6)) - gone(KCenter(number=3), Lying(texts, {}))
    assert len(kept & {0, 1, 2}) == len(kept & {3, 4}) == 1
    assert 5 in kept


def test_k_center_does_not_depend_on_the_order() -> None:
    texts = [f"{a}{b}的{c}" for a in ("红色", "蓝色", "绿色") for b in ("汽车", "房子", "大树") for c in ("价格", "历史")]
    step = KCenter(share=0.3)
    kept = {texts[i] for i in set(range(18)) - gone(step, Lying(texts, {}))}
    turned = texts[::-1]
    assert len(kept) == 6
    first = hashed_vectors(texts)
    assert np.allclose(first[::-1], hashed_vectors(turned))


def test_identical_texts_are_chosen_last_and_in_order() -> None:
    assert gone(KCenter(number=2), Lying(["甲乙丙", "甲乙丙", "甲乙丙"], {})) == {2}


@pytest.mark.parametrize(
    ("options", "said"),
    [({"class_quota": {}}, "give either number or share"), ({"class_quota": {"number": 1, "share": 0.1}}, "give either"),
     ({"k_center": {"share": 0.5, "quota": "equal"}}, "quota is equal, and by is absent"),
     ({"top_share": {"score": "turns", "share": 0}}, "greater than 0"), ({"top_share": {"score": "x", "share": 0.5}}, "x")],
)  # fmt: skip
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BelleError, match=said):
        read_steps(["turns", "instruction_class", options])


def test_in_a_cleaning(tmp_path: Path) -> None:
    data = data_file(tmp_path / "d.jsonl", [f"{word}{'长' * n}" for n in range(5) for word in ("写诗", "算数")])
    steps = ["length_characters", {"top_share": {"score": "length_characters", "share": 0.6}}, {"k_center": {"number": 2}}]
    results = []
    for shard in (3, 100):
        _, stages = clean(data, tmp_path / str(shard), steps, shard)
        assert [stage.after for stage in stages][1:] == [10, 6, 2]
        results.append(rows(tmp_path / str(shard) / "kept.jsonl"))
    assert results[0] == results[1]
