"""Kinds of tasks: the list, the seeds, the classifier and its score step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.config import shipped
from belle.curation.classify import SEEDS, Classifier, asked, classify, labelled
from belle.curation.instruction_features import SIZE, pieces, squeeze, vectors
from belle.curation.softmax import train
from belle.data.categories import CATEGORIES, CLASSES, category_name
from belle.records import Conversation, Document, Message


def talk(*texts: str) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[i % 2], text) for i, text in enumerate(texts)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("请把“明天见”翻译成法语", "translation"), ("Translate into English: 我饿了", "translation"),
        ("写一首关于台风的诗", "generation"), ("用Python写一个函数，求列表里的最大值", "code"),
        ("37乘以18等于多少？", "math"), ("你好呀", "chat"), ("What is the capital of Peru?", "open_qa"),
        ("给我五个打发雨天的主意", "brainstorming"), ("判断这句评论的情感是正面还是负面：太难吃了", "classification"),
        ("Summarize the article in two sentences.\nThe lake froze early this year and skaters came from afar.", "summarization"),
        ("把这句话改得更有礼貌：快点还钱", "rewrite"),
        ("从下面的句子中提取人名：王建国昨天和李芳去了长沙。", "extract"),
    ],
)  # fmt: skip
def test_plain_cases(text: str, expected: str) -> None:
    (word, chance), *_ = classify([text])
    assert word == expected
    assert chance > 0.3


def test_there_are_thirteen_classes_and_the_house_knows_them_all() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 13
    given = {json.loads(line)["category"] for line in (shipped("data") / "evaluation.jsonl").read_text("utf-8").splitlines()}
    assert given - {"identity"} == set(CATEGORIES)
    assert {category for _, category, _ in labelled()} == set(CLASSES)


@pytest.mark.parametrize(
    ("name", "expected"), [("Closed\xa0QA", "closed_qa"), ("role playing", "chat"), ("close qa", "closed_qa")]
)
def test_names_of_others(name: str, expected: str) -> None:
    assert category_name(name) == expected


def test_the_seeds_are_many_balanced_and_different() -> None:
    rows = [json.loads(line) for line in SEEDS.read_text("utf-8").splitlines()]
    texts = [squeeze(row["text"]) for row in rows]
    assert len(rows) >= 600
    assert len(set(texts)) == len(texts)
    counts = Counter(row["category"] for row in rows)
    assert min(counts.values()) >= 40
    assert max(counts.values()) <= 90
    chinese = sum(any("\u4e00" <= char <= "\u9fff" for char in text) for text in texts) / len(texts)
    assert 0.6 < chinese < 0.8


def test_no_seed_is_in_the_evaluation_set() -> None:
    asked_there = {
        "".join(pieces(squeeze(json.loads(line)["question"])))
        for line in (shipped("data") / "evaluation.jsonl").read_text("utf-8").splitlines()
    }
    learnt = {"".join(pieces(squeeze(text))) for text, _, _ in labelled()}
    assert not asked_there & learnt


def test_blank_texts_have_no_class() -> None:
    assert classify(["", " \n\u3000"]) == [("", 0.0)] * 2
    assert classify([]) == []


def test_neighbours_do_not_matter() -> None:
    texts = ["写一封请假信", "1+1=?", "讲个笑话", "x" * 3000, "翻译：hello"]
    together = classify(texts)
    assert together == [classify([text])[0] for text in texts]
    assert together == classify(texts[::-1])[::-1]


def test_another_process_says_the_same_and_needs_no_torch() -> None:
    texts = ["帮我想个店名", "Fix this: he go home"]
    code = f"import sys; from belle.curation.classify import classify; print(classify({texts!r}), 'torch' in sys.modules)"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert again == f"{classify(texts)} False"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_one_class_or_is_blank(text: str) -> None:
    (word, chance), *_ = classify([text])
    assert (word in CLASSES and 1 / 13 <= chance <= 1) or (word == "" and not text.strip())


def test_the_step_looks_at_the_first_user_turn() -> None:
    record = talk("用Java写一个冒泡排序", "……", "谢谢，再见", "不客气")
    assert asked(record) == "用Java写一个冒泡排序"
    assert Classifier()([record, Document("")]) == ["code", ""]
    assert Classifier(minimum=1.0)([record]) == ["unsure"]


def test_vectors_have_the_length_of_their_groups() -> None:
    rows, columns, values = vectors(["翻译：hello", "写诗"])
    assert set(rows) == {0, 1}
    assert columns.max() < SIZE
    # head 1, tail 0.7, whole 0.8, marks 1: 1 + 0.49 + 0.64 + 1
    assert np.isclose((values[rows == 0] ** 2).sum(), 3.13, atol=1e-4)


def test_training_finds_the_minimum() -> None:
    """At the minimum of sum w_i * -log p + ridge/2 |W|^2 the gradient is zero: checked on the loss itself, by differences."""
    texts, labels = ["甲乙", "甲丙", "丁戊", "丁己", "庚"], ["a", "a", "b", "b", "b"]
    model = train(texts, labels, ("a", "b"), ridge=0.5)

    def loss(weights: np.ndarray) -> float:
        rows, columns, values = vectors(texts)
        total = 0.25 * float((weights.astype(np.float64) ** 2).sum())
        for row, label in enumerate(labels):
            part = rows == row
            scores = values[part].astype(np.float64) @ weights[columns[part]] + weights[SIZE]
            weight = 5 / (2 * labels.count(label))
            total += weight * (np.log(np.exp(scores).sum()) - scores["ab".index(label)])
        return total

    least = loss(model.weights.astype(np.float64))
    random = np.random.default_rng(0)
    for column in {int(vectors(texts)[1][0]), SIZE, 5}:
        for size in (0.05, -0.05):
            moved = model.weights.astype(np.float64).copy()
            moved[column, random.integers(2)] += size
            assert loss(moved) > least


def test_better_than_the_commonest_class_on_questions_of_others() -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "belle" / "eval_set.json"
    if not path.exists():
        pytest.skip("BELLE's questions are not here")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    said = [word for word, _ in classify([row["question"] for row in rows])]
    right = sum(category_name(row["class"]) == word for row, word in zip(rows, said, strict=True)) / len(rows)
    assert right > 0.55  # always open_qa: 0.285
