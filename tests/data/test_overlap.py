from __future__ import annotations

import pickle
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belle.data.formats import load_records
from belle.data.overlap import Overlap, Question, QuestionIndex, Rules, overlap, read_questions
from belle.data.units import reads_traditional
from belle.errors import BelleError
from belle.records import Conversation, Document, Message, Preference, Record, Source
from belle.sections import DataSection

LONG = "某商店购进一批运动鞋，每双进价一百二十元。按三成利润定价后打九折出售，每双鞋能赚多少元？"
SHORT = "把0.375写成分数。"


def found(texts: str | list[str], question: str = LONG, **rules: object) -> list[tuple[str, float]]:
    """(how, share) of the one question in the texts of one record."""
    index = QuestionIndex([Question("q", question)], Rules(**rules))  # type: ignore[arg-type]
    return [(match.how, round(match.share, 2)) for match in index.matches([texts] if isinstance(texts, str) else texts)]


def talk(*texts: str, line: int = 1) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(tuple(Message(roles[i % 2], text) for i, text in enumerate(texts)), source=Source("t.jsonl", line))


def test_the_question_itself_is_exact() -> None:
    assert found(LONG) == found(" " + LONG.replace("，", ", ").replace("？", "") + "\n") == [("exact", 1.0)]


def test_a_question_inside_a_longer_turn_is_contained() -> None:
    assert found("请做下面这道题：" + LONG + "请写出过程。") == [("contained", 1.0)]


def test_a_sentence_put_between_does_not_hide_it() -> None:
    first, second = LONG.split("。")
    assert found(f"{first}。今天天气很好。{second}") == [("contained", 1.0)]


def test_a_part_of_a_sentence_is_not_contained() -> None:
    assert found("天河的水是什么颜色的呀", "河的水是什么颜色") == []


def test_short_questions_count_only_whole() -> None:
    assert found("先把0.375写成分数，再约分。", SHORT) == []
    assert found("题目：把0.375写成分数。", SHORT) == [("contained", 1.0)]
    assert found("把0.376写成分数。", SHORT) == []


def test_the_shortest_questions_count_only_as_a_turn_of_their_own() -> None:
    assert found("你是谁？", "你是谁") == [("exact", 1.0)]
    assert found("你好，你是谁？", "你是谁") == []


def test_thirteen_units_in_a_row_prove_it_and_twelve_do_not() -> None:
    question = "甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉戌亥天地玄黄宇宙"
    assert found("洪荒" + question[3:16] + "日月", question, near=2) == [("gram", round(1 / 16, 2))]
    assert found("洪荒" + question[3:15] + "日月", question, near=2) == []


def test_english_counts_in_words() -> None:
    words = [f"{letter}ord" for letter in "abcdefghijklmno"]
    assert found("so " + " ".join(words[1:14]).upper() + " end", " ".join(words), near=2) == [("gram", 0.33)]
    assert found("so " + " ".join(words[1:13]) + " end", " ".join(words), near=2) == []


def test_a_changed_question_is_near() -> None:
    assert [how for how, _ in found(LONG.replace("运", "跑"))] == ["gram"], "13 units in a row are surer"
    characters = [c for c in LONG if c not in "，。？"]
    assert len(characters) == 40
    for place in (12, 25, 38):
        characters[place] = "囧"
    # Of 38 3-grams two lose three each, and the one before the end two: 30 are shared by two sets of 38.
    changed = "".join(characters)
    assert found(changed) == [("near", round(30 / 46, 2))]
    assert found(changed, near=0.66) == []
    assert found("你好\n" + changed + "\n谢谢大家，今天就到这里。" * 9) == [("near", round(30 / 46, 2))], "as a line"


def test_boilerplate_proves_nothing() -> None:
    shared = "请根据下面给出的文章内容回答以下的问题并写出理由"
    questions = [Question(str(i), shared + own) for i, own in enumerate(("甲是什么样的", "乙在哪里出现", "丙为何离开家"))]
    text = shared + "丁后来怎么样了呢大家都想知道吧"
    assert QuestionIndex(questions, Rules(near=2)).matches([text]) == []
    assert len(QuestionIndex(questions, Rules(near=2, common=3)).matches([text])) == 3
    assert len(QuestionIndex([questions[0]] * 3, Rules(near=2)).matches([text])) == 3, "the same question thrice is one"


def test_ignored_phrases_prove_nothing() -> None:
    phrase = "请认真阅读下面的短文然后再回答问题"
    assert found(phrase + "猫为什么跑", phrase + "狗去了哪里") != []
    assert found(phrase + "猫为什么跑", phrase + "狗去了哪里", ignore=(phrase,), near=2) == []


def test_a_least_share_asks_for_more_than_one_run() -> None:
    assert found("洪荒" + LONG[:24], near=2) != []
    assert found("洪荒" + LONG[:24], near=2, share=0.9) == []


def test_runs_in_several_turns_are_added() -> None:
    ((how, both),) = found(["甲" + LONG[:19], "乙" + LONG[22:]], near=2)
    ((_, one),) = found("甲" + LONG[:19], near=2)
    assert how == "gram"
    assert both > one


def test_choices_need_their_options_where_the_question_is_short() -> None:
    question = "下列说法正确的是\nA. 水往高处流\nB. 水往低处流"
    assert found("下列说法正确的是", question) == []
    assert found("下列说法正确的是：（A）水往高处流；（B）水往低处流", question) == [("exact", 1.0)]


def traditional(text: str) -> str:
    if not reads_traditional():
        return text
    from opencc import OpenCC

    return str(OpenCC("s2t").convert(text))


def with_a_sentence_put_in(text: str) -> str:
    """Behind its first sentence, or behind all of it where it has only one."""
    head, tail = re.match(r"([^。？！\n]*(?:[。？！\n]|$))(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{head}\n顺便说一句，今天下雨了。{tail}"


LEAKS = [
    lambda q: q,
    lambda q: q.replace("，", " ").replace("。", "；").rstrip("？?.。") + "!!",
    lambda q: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in q),
    lambda q: f"老师问：「{q}」",
    lambda q: f"{q}\n请一步一步地写。",
    traditional,
    with_a_sentence_put_in,
]  # fmt: skip


def planted() -> tuple[list[Question], list[Record], set[str]]:
    """120 of belle's questions, records of its instructions, and ten questions put among them in ten ways."""
    questions = read_questions(DataSection(path="shipped:evaluation.jsonl"))[:120]
    assert len(questions) == 120
    records: list[Record] = list(load_records(DataSection(path="shipped:instructions_zh.jsonl")).records)
    several = [q for q in questions if re.search("[。？！\n].", q.text)]  # a sentence can be put in between
    chosen = random.Random(5).sample([q for q in questions if len(q.text) >= 6 and q not in several], 10)
    chosen[6] = several[0]
    for number, question in enumerate(chosen):
        text = LEAKS[number % 7](question.text)
        source = Source("planted", number)
        by_kind: tuple[Record, ...] = (
            Conversation((Message("user", text), Message("assistant", "好的")), source=source),
            Document(f"第一行\n{text}\n第三行", source=source),
            Conversation((Message("user", "给我出一道题"), Message("assistant", text)), source=source),
        )
        records.insert(37 * number, by_kind[number % 3])
    return questions, records, {q.id for q in chosen}


def test_ten_planted_leaks_of_120_are_found_and_nothing_else() -> None:
    questions, records, chosen = planted()
    result = overlap(iter(records), questions)
    assert set(result.leaked()) == chosen
    assert all(leak.record.startswith("planted") for leak in result.leaks)
    counts = result.as_dict()
    assert (counts["questions"], counts["records"], counts["leaked"], counts["leaking_records"]) == (120, len(records), 10, 10)
    assert counts["leaked_share"] == pytest.approx(10 / 120)
    assert sum(counts["by"].values()) == 10


@pytest.mark.skipif(not reads_traditional(), reason="needs opencc")
def test_traditional_script_does_not_hide_a_leak() -> None:
    traditional = "某商店購進一批運動鞋，每雙進價一百二十元。按三成利潤定價後打九折出售，每雙鞋能賺多少元？"
    assert found(traditional) == found(LONG, traditional) == [("exact", 1.0)]


def test_a_pair_leaks_by_its_rejected_answer_too() -> None:
    pair = Preference((Message("user", "出题"),), (Message("assistant", "不"),), (Message("assistant", LONG),))
    result = overlap([pair], [Question("q", LONG)])
    assert [(leak.question, leak.record, leak.how) for leak in result.leaks] == [("q", "record 1", "exact")]


def test_the_surest_record_of_a_question_comes_first() -> None:
    records = [talk("先看题。" + LONG, "好", line=1), talk(LONG, "好", line=2)]
    leaks = overlap(records, [Question("q", LONG)]).leaked()["q"]
    assert [(leak.record, leak.how) for leak in leaks] == [("t.jsonl:2", "exact"), ("t.jsonl:1", "contained")]


def test_nothing_leaked_is_a_share_of_nothing() -> None:
    assert Overlap(0, 0, Rules()).as_dict()["leaked_share"] == 0


@pytest.mark.parametrize("wrong", [{"near": 0}, {"common": 0}, {"share": 1.5}])
def test_rules_without_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BelleError, match="no rule of overlap"):
        Rules(**wrong)  # type: ignore[arg-type]


def test_an_empty_set_and_an_empty_question_are_refused() -> None:
    with pytest.raises(BelleError, match="no evaluation question"):
        QuestionIndex([])
    with pytest.raises(BelleError, match="question 'q' has no letter"):
        QuestionIndex([Question("q", "？！")])


def test_questions_keep_their_ids_or_get_their_place(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    twice = '{"id": "a", "question": "x", "category": "c"}\n' * 2
    path.write_text(twice + '{"question": "z", "category": "c"}\n', encoding="utf-8")
    assert [q.id for q in read_questions(DataSection(path=str(path)))] == ["a", f"{path}:2", f"{path}:3"]


def test_an_index_travels_to_another_process() -> None:
    index = pickle.loads(pickle.dumps(QuestionIndex([Question("q", LONG)])))
    assert index.matches([LONG])[0].how == "exact"


@given(st.text("甲乙丙丁戊，。", min_size=1, max_size=40), st.lists(st.text("甲乙丙丁戊，。", max_size=60), max_size=3))
def test_matches_agree_with_the_definition(question: str, texts: list[str]) -> None:
    """Against sets of plain slices: 13-grams and Jaccard of 3-grams, over texts whose units are single characters."""

    def fold(text: str) -> str:
        return "".join(c for c in text if c not in "，。")

    question = "甲" + question
    runs = {fold(question)[i : i + 13] for i in range(len(fold(question)) - 12)}
    gram = any(run in fold(text) for text in texts for run in runs)
    threes = lambda text: {text[i : i + 3] for i in range(len(text) - 2)}  # noqa: E731
    near = len(fold(question)) >= 13 and any(
        len(threes(fold(question)) & threes(fold(t))) >= 0.6 * len(threes(fold(question)) | threes(fold(t))) - 1e-9
        for t in texts if threes(fold(t))
    )  # fmt: skip
    how = {how for how, _ in found(texts, question)}
    if any(fold(text) == fold(question) for text in texts):
        assert how == {"exact"}
    elif gram:
        assert how in ({"gram"}, {"contained"})
    elif near:
        assert how in ({"near"}, {"contained"})
    else:
        assert how <= {"contained"}
