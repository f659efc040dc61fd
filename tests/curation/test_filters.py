from __future__ import annotations

import importlib
import pickle
import sys
import time
from pathlib import Path

import pytest
from filter_records import talk
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.curation.filters import FILTERS
from belle.curation.items import Drop
from belle.curation.normalise import EDITS
from belle.records import Conversation, Document, Message

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import filters as benchmark

ALONE = [name for name in FILTERS if name not in ("decontaminate", "length")]
FRAGMENTS = st.sampled_from(
    [
        "以下文章",
        "翻译成英文：",
        "作为一个AI",
        "抱歉，我无法",
        "```python",
        "GPT",
        "请",
        "号",
        "室",
        "13800",
        "Ã©",
        "\ufffd",
        "涓枃",
        "http://a.cn",
        "\n",
        "。",
        "，",
        "(",
        "1. ",
    ]
)
ANY_TEXT = st.lists(st.one_of(FRAGMENTS, st.text(max_size=12)), max_size=8).map("".join)


def build(target: str) -> object:
    module, attribute = target.split(":")
    found = getattr(importlib.import_module(module), attribute)
    return found() if isinstance(found, type) else found


BUILT = {name: build(FILTERS[name]) for name in ALONE}
EDITORS = {name: build(target) for name, target in EDITS.items()}


@pytest.fixture(scope="module")
def rows() -> list[benchmark.Labelled]:
    return benchmark.read(benchmark.LABELLED)


@pytest.mark.parametrize("name", benchmark.MEASURED)
def test_a_filter_is_right_and_complete_on_the_labelled_records(name: str, rows: list[benchmark.Labelled]) -> None:
    counts = benchmark.count(rows, name)
    assert counts.right + counts.missed >= 15
    assert counts.precision[0] >= 0.95
    assert counts.recall[0] >= 0.95


def test_the_labelled_set_has_innocent_look_alikes_for_every_filter(rows: list[benchmark.Labelled]) -> None:
    assert len(rows) >= 400
    assert all(sum(row.look_alike == name for row in rows) >= 15 for name in benchmark.MEASURED)


def test_wilson_gives_the_textbook_interval() -> None:
    # 81 of 263 (Newcombe, 1998, table I): 0.2553 to 0.3662
    share, low, high = benchmark.wilson(81, 263)
    assert (round(share, 4), round(low, 4), round(high, 4)) == (0.3080, 0.2553, 0.3662)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_can_be_found(name: str) -> None:
    module, attribute = FILTERS[name].split(":")
    assert callable(getattr(importlib.import_module(module), attribute))


@pytest.mark.parametrize("name", ALONE)
def test_a_filter_can_be_sent_to_another_process(name: str) -> None:
    copy = pickle.loads(pickle.dumps(BUILT[name]))
    record = talk("翻译以下文章。", "我是ChatGPT，")
    assert copy(record) == BUILT[name](record)


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT, ANY_TEXT)
def test_no_text_makes_a_filter_or_an_edit_fail(question: str, answer: str) -> None:
    for record in (talk(question, answer), Document(answer), talk(question)):
        for name in ALONE:
            found = BUILT[name](record)
            assert found is None or (isinstance(found, Drop) and found.reason)
        for name, edit in EDITORS.items():
            edited = edit(record)
            assert isinstance(edited, Drop) or edit(edited) is edited, name


@pytest.mark.parametrize("name", [name for name in ALONE if name != "wrong_language"])
def test_a_record_without_faults_stays(name: str) -> None:
    record = talk(
        "二胡有几根弦？", "二胡有两根弦，内弦一般定音为d¹，外弦定音为a¹。", "Thanks! And a violin?", "A violin has four strings."
    )
    assert BUILT[name](record) is None


HOSTILE = [" " * 100_000 + "x", "\n" * 100_000 + "x", "a.a" * 33_000 + "@"]


@pytest.mark.parametrize("name", ["truncated", "missing_input", "wrong_language"])
@pytest.mark.parametrize("text", HOSTILE, ids=["spaces", "lines", "address"])
def test_time_is_linear_in_a_hostile_text(name: str, text: str) -> None:
    keeps = benchmark.build(name)
    begin = time.perf_counter()
    for question, answer in ((text, "好的。"), ("写一首诗", text)):
        keeps(Conversation((Message("user", question), Message("assistant", answer))))
    assert time.perf_counter() - begin < 2  # quadratic ones take from half a minute to hours
