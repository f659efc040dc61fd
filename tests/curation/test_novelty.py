from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.curation.novelty import Novelty
from belle.curation.shingles import jaccard, shingle_hashes

WORDS = ["写", "翻译", "概括", "解释", "列出", "比较", "设计", "计算", "诗", "报告", "句子", "段落"]
WORDS += ["程序", "菜单", "计划", "电路", "春天", "海洋", "历史", "朋友", "城市", "旅行", "音乐", "机器"]


def sentence(number: int) -> str:
    """One of 24^6 sentences; another number is another sentence."""
    words = []
    for _ in range(6):
        number, digit = divmod(number, len(WORDS))
        words.append(WORDS[digit])
    return "".join(words) + str(number)


def filled(size: int) -> Novelty:
    novelty = Novelty(0.7)
    numbers = random.Random(1).sample(range(24**6), size)
    novelty.add_many([sentence(number) for number in numbers], [str(n) for n in range(size)])
    novelty.add("讲个笑话", "joke")
    return novelty


@pytest.mark.parametrize("size", [175, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_short_duplicate_is_found_at_any_size(size: int) -> None:
    """Three tokens (讲 / 个 / 笑话): a threshold on BM25 keeps this duplicate among 175 texts."""
    novelty = filled(size)
    assert novelty.nearest("讲个笑话") == (1.0, "joke")
    assert novelty.nearest("讲个　笑话！") == (1.0, "joke")
    assert novelty.nearest("讲讲相对论的两个假设") is None
    assert novelty.nearest("笑话集怎么编") is None, "two shared tokens are no duplicate, however rare"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("甲乙丙丁 ab"), min_size=1, max_size=12), min_size=2, max_size=30),
    st.sampled_from([0.5, 0.7, 1.0]),
)
def test_the_nearest_is_that_of_brute_force(texts: list[str], threshold: float) -> None:
    novelty = Novelty(threshold)
    *added, query = texts
    for n, text in enumerate(added):
        novelty.add(text, str(n))
    found = novelty.nearest(query)
    own = shingle_hashes(query, 2)
    shares = [jaccard(own, shingle_hashes(text, 2)) for text in added]
    best = max(shares)
    if best < threshold:
        assert found is None or found[0] == 1.0
    else:
        assert found is not None
        assert found[0] == pytest.approx(best)


@pytest.mark.parametrize("threshold", [0, -1, 1.1])
def test_a_threshold_that_is_none(threshold: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        Novelty(threshold)
