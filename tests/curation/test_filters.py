from __future__ import annotations

import importlib
import pickle
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filter_records import talk
from hypothesis import given, settings
from hypothesis import strategies as st

from belle.curation.filters import FILTERS
from belle.curation.items import Drop
from belle.curation.normalise import EDITS
from belle.records import Document

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


HOSTILE = {
    "spaces": " " * 400_000 + "x",
    "lines": "\n" * 400_000 + "x",
    "address": "a.a" * 130_000 + "@",
    "fences": "```x\n" * 80_000 + "a b c d,",
    "brackets": "（" * 400_000,
    "question marks": "?" * 400_000 + "中",
    "digits": "1 " * 200_000,
    "tags": "<a " * 130_000,
    "ask": "请GPT" * 100_000,
    "items": "1. " * 130_000,
}


@pytest.fixture
def alarm() -> Iterator[None]:
    """Stops a test that hangs: a pass takes under a second, what takes quadratic time takes from minutes to hours."""

    def stop(number: int, frame: object) -> None:
        raise AssertionError("it did not end within a minute")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", [*ALONE, *EDITS])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_text_takes_no_more_than_passes_over_it(name: str, kind: str, alarm: None) -> None:
    step = BUILT[name] if name in BUILT else EDITORS[name]
    step(talk(HOSTILE[kind], "好的。"))
    step(talk("写一首诗", HOSTILE[kind]))
