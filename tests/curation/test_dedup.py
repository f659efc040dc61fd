from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cleaning import clean, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from openai_server import Reply, Seen, serving

from belle.curation import keepers, minhash
from belle.curation.catalogue import read_steps
from belle.curation.dedup import ExactDuplicates, NearDuplicates, SemanticDuplicates
from belle.curation.executors import OneProcess, Processes
from belle.curation.items import Item, Score
from belle.curation.steps import Context
from belle.curation.texts import Curated
from belle.errors import BelleError
from belle.records import Conversation, Document, Message, Source

RUNNING = "北京今天的天气非常好适合出门散步也适合去公园跑步锻炼身体"
CYCLING = RUNNING.replace("跑步", "骑车")
SENTENCES = st.text(st.sampled_from("天气很好"), min_size=1, max_size=9)


class Memory:
    """Items in memory, with a column of scores."""

    def __init__(self, records: Sequence[Curated], scores: Sequence[Score] = ()) -> None:
        self.records, self.scores = records, list(scores)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> Item:
        return Item(position, self.records[position])

    def __iter__(self) -> Iterator[Item]:
        return map(self.__getitem__, range(len(self)))

    def column(self, name: str) -> list[Score]:
        assert name == "score"
        return self.scores


def asked(question: str, answer: str = "", **fields: Any) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), **fields)


def gone(step: Any, records: Sequence[Curated], scores: Sequence[Score] = (), shard: int = 1000) -> dict[int, tuple[int, str]]:
    """position that goes -> (position that stays, detail)."""
    prepared = [step.prepare(records[i : i + shard]) for i in range(0, len(records), shard)] or [step.prepare([])]
    drops = list(step.decide(prepared, Memory(records, scores)))
    assert len({position for position, _ in drops}) == len(drops)
    return {position: (drop.of, drop.detail) for position, drop in drops}


@contextmanager
def sure() -> Iterator[None]:
    """Bands and sketches that miss nothing, so that brute force is the measure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash, "RECALL", 1 - 1e-9)
        patch.setattr(keepers, "surely_below", lambda threshold, permutations: -1.0)
        yield


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("ＡＢＣ１２３好", "abc123好", True), ("好 的", "好\u00a0的", True), ("好，的！", "好的", True),
        ("\ufeff好的\r\n", "好的", True), ("ｶﾞﾗｽ", "ガラス", True), ("New York", "newyork", True), ("好😀", "好 😀", True),
        ("？", "?", True), ("好😀", "好😁", False), ("好", "好😀", False), ("𠮷野家", "吉野家", False), ("漢字", "汉字", False),
        ("1+1", "11", False), ("？", "！", False), ("", "", False), (" \n", "\u3000", False),
    ],
)  # fmt: skip
def test_what_counts_as_the_same_text(a: str, b: str, same: bool) -> None:
    assert len(gone(ExactDuplicates(on="instruction"), [asked(a), asked(b)])) == int(same)


@pytest.mark.parametrize("step", [ExactDuplicates, NearDuplicates])
@pytest.mark.parametrize(
    ("on", "same_question", "same_answer"), [("instruction", True, False), ("answer", False, True), ("both", False, False)]
)
def test_what_is_compared(step: Any, on: Any, same_question: bool, same_answer: bool) -> None:
    one = asked("写一首关于春天的诗", "春眠不觉晓处处闻啼鸟")
    assert len(gone(step(on=on), [one, replace(one, id="2")])) == 1
    assert bool(gone(step(on=on), [one, asked("写一首关于春天的诗", "夜来风雨声花落知多少")])) == same_question
    assert bool(gone(step(on=on), [one, asked("孟浩然的春晓怎么背", "春眠不觉晓处处闻啼鸟")])) == same_answer
    document = Document("写一首关于春天的诗")
    assert len(gone(step(on=on), [document, replace(document, id="2")])) == 1


def test_whole_sees_tools_and_both_does_not() -> None:
    first, second = (
        Conversation((Message("user", "北京的天气"), Message("tool", weather), Message("assistant", "好")))
        for weather in ("晴转多云二十六度", "小雨转阴气温十七度")
    )
    assert gone(ExactDuplicates(), [first, second])
    assert not gone(ExactDuplicates(on="whole"), [first, second])


@pytest.mark.parametrize("step", [ExactDuplicates, NearDuplicates])
def test_the_best_stays(step: Any) -> None:
    short, long, longer = (asked("怎样才能睡得好", "多走" * n) for n in (1, 2, 3))
    records = [short, longer, long]
    assert {p: of for p, (of, _) in gone(step(on="instruction"), records).items()} == {0: 1, 2: 1}, "the longest answer"
    by_score = step(on="instruction", best="score")
    assert by_score.columns == ("score",)
    assert set(gone(by_score, records, [0.2, 0.1, 0.9])) == {0, 1}
    assert set(gone(by_score, records, [0.9, 0.9, 0.1])) == {0, 2}, "of equal scores the longest answer"
    assert set(gone(by_score, records, [float("nan"), -5.0, float("nan")])) == {0, 2}, "no score is the worst"
    with pytest.raises(BelleError, match="'zh'"):
        gone(by_score, records, [1.0, "zh", 2.0])


@pytest.mark.parametrize("step", [ExactDuplicates, NearDuplicates])
def test_among_the_same_the_first_stays(step: Any) -> None:
    one = asked("怎样才能睡得好", "少喝咖啡")
    assert set(gone(step(), [replace(one, source=Source("a", n)) for n in range(4)])) == {1, 2, 3}
    names = [asked("怎样才能睡得好", "少喝咖啡", id=str(n)) for n in range(6)]
    stays = {names[next(iter(set(range(6)) - set(gone(step(), names))))].id}
    stays |= {names[::-1][next(iter(set(range(6)) - set(gone(step(), names[::-1]))))].id}
    assert len(stays) == 1, "the content decides, not the order"


def test_a_near_duplicate_is_named_with_its_similarity() -> None:
    records = [asked(RUNNING, id="a"), asked(CYCLING, source=Source("b.jsonl", 7))]
    of = gone(NearDuplicates(on="instruction"), records)
    assert [detail[: len("Jaccard 0.733 with ")] for _, detail in of.values()] == ["Jaccard 0.733 with "]
    assert of in ({1: (0, "Jaccard 0.733 with (memory) (id a)")}, {0: (1, "Jaccard 0.733 with b.jsonl:7")})
    assert not gone(NearDuplicates(on="instruction", threshold=0.734), records)
    assert gone(NearDuplicates(on="instruction", threshold=0.793, shingle=2), records)


def test_empty_texts_are_nobodys_duplicates() -> None:
    records = [asked("", " "), asked("", "\u3000"), asked("\n", "")]
    for step in (ExactDuplicates(), NearDuplicates(), ExactDuplicates(on="answer"), NearDuplicates(on="answer")):
        assert gone(step, records) == {}
        assert gone(step, []) == {}


def trigrams(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


@given(st.lists(SENTENCES, max_size=25), st.sampled_from([0.4, 0.5, 0.7, 1.0]), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_near_duplicates_are_those_of_brute_force(texts: list[str], threshold: float, shuffled: random.Random) -> None:
    lengths = list(range(1, len(texts) + 1))
    shuffled.shuffle(lengths)
    stay: list[int] = []
    expected: dict[int, int] = {}
    for i in sorted(range(len(texts)), key=lambda i: -lengths[i]):
        like = next((k for k in expected if texts[k] == texts[i]), None)
        if like is not None:
            expected[i] = expected[like]
            continue
        shares = [len(trigrams(texts[i]) & trigrams(texts[k])) / len(trigrams(texts[i]) | trigrams(texts[k])) for k in stay]
        if shares and max(shares) >= threshold:
            expected[i] = stay[shares.index(max(shares))]
        else:
            stay.append(i)
    with sure():
        step = NearDuplicates(on="instruction", threshold=threshold)
        found = gone(step, [asked(text, "答" * n) for text, n in zip(texts, lengths, strict=True)], shard=7)
    assert {position: of for position, (of, _) in found.items()} == expected


@given(st.lists(SENTENCES, max_size=25), st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_neither_order_nor_shards_change_what_stays(texts: list[str], shard: int, other: int, shuffled: random.Random) -> None:
    records = [asked(text, text[:2], id=text[-1:]) for text in texts]
    mixed = list(records)
    shuffled.shuffle(mixed)
    for step in (ExactDuplicates(on="answer"), NearDuplicates(threshold=0.5)):
        left, right = gone(step, records, shard=shard), gone(step, mixed, shard=other)
        kept = Counter(record for i, record in enumerate(records) if i not in left)
        assert kept == Counter(record for i, record in enumerate(mixed) if i not in right)


def test_processes_and_shards_end_with_the_same_files(tmp_path: Path) -> None:
    chance = random.Random(3)
    texts = ["".join(chance.choices("春夏秋冬风花雪月山水日星", k=40)) for _ in range(30)]
    texts += [text[:20] + "好" + text[21:] for text in texts[:20]] + texts[:10]
    chance.shuffle(texts)
    steps = [{"own_steps:Length": {}}, {"exact_duplicates": {}}, {"near_duplicates": {"best": "own_steps:Length"}}]
    data = tmp_path / "d.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    outputs = []
    for name, shard, executor in (("one", 60, OneProcess()), ("many", 7, Processes(2))):
        _, stages = clean(data, tmp_path / name, steps, shard, executor, kind=Document)
        outputs.append([(tmp_path / name / f"{each}.jsonl").read_bytes() for each in ("kept", "dropped", "scores")])
    assert [(stage.before, stage.after) for stage in stages[2:]] == [(60, 50), (50, 30)]
    assert outputs[0] == outputs[1]
    reasons = Counter(row["reason"] for row in rows(tmp_path / "one/dropped.jsonl"))
    assert reasons == {"exact duplicate": 10, "near duplicate": 20}


def meaning(seen: Seen) -> Reply:
    """Texts that hold 跑 or 骑 point one way, others the other way."""
    vectors = [[1.0, 0.1] if set("跑骑") & set(text) else [0.1, 1.0] for text in seen.body["input"]]
    return Reply(body=json.dumps({"data": [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]}).encode())


def test_the_same_meaning_by_an_endpoint() -> None:
    records = [asked("去跑步", "好的"), asked("去骑车", "好的吧"), asked(" ", ""), asked("睡觉", "不"), asked("", "")]
    with serving(meaning) as (url, seen):
        options = {"model": "bge", "base_url": url, "key_variable": "MY_KEY", "on": "instruction"}
        step = read_steps([{"semantic_duplicates": options}])[0].build(Context(variables={"MY_KEY": "secret"}))
        found = gone(step, records, shard=2)
    assert found == {0: (1, "cosine 1.000 with (memory)")}
    assert [request.body for request in seen] == [
        {"model": "bge", "input": texts} for texts in (["去跑步", "去骑车"], ["睡觉"], ["text"])
    ]
    assert {request.headers["authorization"] for request in seen} == {"Bearer secret"}
    assert step.alone


def test_an_address_that_is_none_is_said_before_any_work() -> None:
    for address in ("", "localhost:8000"):
        with pytest.raises(BelleError, match="base_url"):
            SemanticDuplicates(model="bge", base_url=address)


def test_rows_have_one_type_whatever_the_shard() -> None:
    with serving(meaning) as (url, _):
        for step in (ExactDuplicates(), NearDuplicates(permutations=64), SemanticDuplicates(model="bge", base_url=url)):
            some, none = step.prepare([asked("好", "的")]), step.prepare([])
            assert (some.dtype, none.dtype, none.shape) == (none.dtype, some.dtype, (0,))
            assert not some.dtype.hasobject
            assert np.array_equal(step.prepare([asked("天", "气"), asked("好", "的")])[1:], some)
