from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.data import units as module
from belle.data.units import gram_hashes, reads_traditional, sentences, shingles, units


def test_characters_words_and_numbers_are_units() -> None:
    assert units("用Python写：1.5+2，好吗？").words == ["用", "python", "写", "1.5", "+", "2", "好", "吗"]


def test_width_case_marks_and_invisible_characters_make_no_difference() -> None:
    assert units("Ｈｅｌｌｏ，\u3000世\u200b界！").words == units("hello 世界").words == ["hello", "世", "界"]


def test_what_changes_the_sum_is_kept() -> None:
    sums = ["5-3", "5*3", "5/3", "5+3", "53", "5.3"]
    assert len({tuple(units(text).words) for text in sums}) == len(sums)
    assert units("state-of-the-art").words == ["state", "of", "the", "art"]


def test_a_character_outside_the_basic_plane_is_a_unit() -> None:
    assert units("𠮷野家").words == ["𠮷", "野", "家"]


def test_edges_stand_where_marks_and_line_ends_do() -> None:
    found = units("你好，世界\n再见")
    assert found.words == list("你好世界再见")
    assert found.edges == [True, False, True, False, True, False, True]


@pytest.mark.skipif(not reads_traditional(), reason="needs opencc")
def test_traditional_and_simplified_script_are_the_same() -> None:
    assert units("請問這個圓的面積是多少").words == units("请问这个圆的面积是多少").words


def test_without_opencc_scripts_differ_and_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opencc", None)
    module._simplifier.cache_clear()
    try:
        assert not reads_traditional()
        assert units("積").words == ["積"]
    finally:
        monkeypatch.undo()
        module._simplifier.cache_clear()


def test_sentences_end_with_marks_but_not_inside_numbers() -> None:
    assert [part.words for part in sentences("算1.5乘2。好！")] == [["算", "1.5", "乘", "2"], ["好"]]
    assert sentences("。！\n") == []


def test_hashes_are_the_same_in_every_process() -> None:
    code = "from belle.data.units import gram_hashes; print(gram_hashes(['a', 'word', '字'], 2).tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    assert done.stdout.strip() == str(gram_hashes(["a", "word", "字"], 2).tolist())


@given(st.lists(st.sampled_from(["a", "b", "字", "ab"]), max_size=12), st.integers(1, 5))
def test_equal_runs_have_equal_hashes_and_others_do_not(words: list[str], size: int) -> None:
    runs = [tuple(words[i : i + size]) for i in range(max(0, len(words) - size + 1))]
    hashes = gram_hashes(words, size).tolist()
    assert len(hashes) == len(runs)
    assert len(set(hashes)) == len(set(runs))
    assert len(dict(zip(runs, hashes, strict=True)).values()) == len(set(runs))


def test_shingles_are_three_characters_each() -> None:
    assert len(shingles(["abcd", "字"])) == 3  # abc bcd cd字
    assert len(shingles(["aaaa"])) == 1
    assert len(shingles(["ab"])) == 0


@given(st.text(max_size=60))
def test_any_text_has_units(text: str) -> None:
    found = units(text)
    assert len(found.edges) == len(found) + 1
    assert found.edges[0] or not found.words
    assert found.edges[-1]
    assert units(" ".join(found.words)).words == found.words or not text.isascii()
