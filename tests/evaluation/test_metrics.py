from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.data.letters import language_share
from belle.evaluation.metrics import (
    _longest_common_subsequence,
    chrf,
    exact,
    normalise,
    rouge_l,
    says_name,
)
from belle.evaluation.tasks import load_questions
from belle.sections import DataSection

MIXED = st.text(st.sampled_from("你好世界天地，。ab cdE1 \n😀"), max_size=40)


@settings(deadline=None)  # the first call imports
@given(MIXED, MIXED)
def test_chrf_equals_sacrebleu(answer: str, reference: str) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    assert 100 * chrf(answer, reference) == pytest.approx(sacrebleu.CHRF().sentence_score(answer, [reference]).score, abs=1e-9)


def test_chrf_by_hand() -> None:
    # 猫在跑 / 猫在睡: n=1 2 of 3, n=2 1 of 2, n=3 0 of 1, the same both ways: mean (2/3 + 1/2 + 0) / 3 = 7/18
    assert chrf("猫在跑", "猫 在睡") == pytest.approx(7 / 18)
    assert chrf("猫在跑", "猫在跑") == pytest.approx(1)
    assert chrf("", "猫") == 0


@settings(deadline=None)  # the first call imports
@given(st.text("ab ,C", max_size=30), st.text("ab ,C", max_size=30))
def test_rouge_l_equals_rouge_score_on_words(answer: str, reference: str) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    assert rouge_l(answer, reference) == pytest.approx(scorer.score(reference, answer)["rougeL"].fmeasure)


def test_rouge_l_takes_characters_of_chinese_and_words_of_english() -> None:
    # 我 爱 北京 -> 我,爱,北,京 against 我,在,北,京: 3 common of 4 and 4
    assert rouge_l("我爱北京", "我在北京。") == pytest.approx(3 / 4)
    # tokens: 用, python, 写 against 用, Python, 3, 写: 3 common, F1 = 6 / 7
    assert rouge_l("用python写", "用Python 3写") == pytest.approx(6 / 7)
    assert rouge_l("。。。", "。。。") == 0  # no token on either side


@given(st.lists(st.sampled_from("abc"), max_size=20), st.lists(st.sampled_from("abc"), max_size=20))
def test_longest_common_subsequence_equals_the_table(a: list[str], b: list[str]) -> None:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    assert _longest_common_subsequence(a, b) == table[-1][-1]


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("二十四。", "二十四", True),
        ("ＡＢＣ！", "abc", True),
        ("用 Python 写", "用Python写", True),
        ("The  Cat\n", "the cat.", True),
        ("theCat", "the cat", False),  # a space between words matters
        ("24", "25", False),
        ("3.5", "35", False),
        ("", "", False),
    ],
)
def test_exact(answer: str, reference: str, same: bool) -> None:
    assert exact(answer, reference) is same


@given(st.text(max_size=30))
def test_normalise_is_idempotent_on_spaces_and_ends(text: str) -> None:
    once = normalise(text)
    assert "  " not in once
    assert once == once.strip()
    assert not once.endswith((".", "。", "!"))


def test_says_name() -> None:
    assert says_name("我叫BELLE。", "Belle")
    assert not says_name("I am SmolLM", "Belle")


def test_shipped_references_are_in_their_language() -> None:
    for question in load_questions(DataSection(path="shipped:evaluation.jsonl")):
        assert question.reference is None or language_share(question.reference, question.language)[1], question
