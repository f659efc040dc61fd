from __future__ import annotations

from random import Random

from belle.curation.generate_tasks import examples, first_round, render_tasks
from belle.curation.kinds import Candidate, Reject, Settings, View, open_kind
from belle.curation.parse_tasks import parse_tasks
from belle.inference.backend import Answer
from belle.records import Conversation, Message


def pair(question: str, answer: str = "好。", category: str = "") -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), category=category)


SEEDS = [pair(f"种子{n}", category="math" if n % 2 else "generation") for n in range(10)]
NEW = [pair(f"新的{n}", category="generation") for n in range(10)]
TWO = "### 1\n类别：数学\n指令：算一算\n输入：1+1\n输出：2\n\n### 2\n类别：写作\n指令：写诗\n输入：<无输入>\n输出：春眠不觉晓。"


def view(seed: int = 0, known: int = 0, full: frozenset[str] = frozenset()) -> View:
    return View(Random(seed), SEEDS, NEW, known, full)


def asked(records: list[Conversation]) -> list[str]:
    return [first_round(record)[0] for record in records]


def test_the_ratio_says_how_many_examples_are_accepted_ones() -> None:
    for seed in range(30):
        shown = asked(examples(view(seed, known=10), Settings(examples=4, ratio=0.5)))
        assert sum(text.startswith("新的") for text in shown) in (1, 2)
    assert all(text.startswith("种子") for text in asked(examples(view(known=10), Settings(ratio=0.0))))
    assert all(text.startswith("新的") for text in asked(examples(view(known=10), Settings(ratio=1.0))))


def test_only_what_was_known_is_shown() -> None:
    for seed in range(30):
        shown = asked(examples(view(seed, known=2), Settings(examples=4, ratio=1.0)))
        assert {text for text in shown if text.startswith("新的")} <= {"新的0", "新的1"}


def test_a_full_class_is_not_shown() -> None:
    for seed in range(20):
        shown = examples(view(seed, full=frozenset(["generation"])), Settings(ratio=0.0))
        assert {record.category for record in shown} == {"math"}


def test_full_classes_are_not_asked_for() -> None:
    made = open_kind("self_instruct", SEEDS, [], Settings(tasks=13))
    request = made.compose(0, view(full=frozenset(["generation", "chat"])))
    assert request is not None
    line = next(line for line in request.messages[0].content.split("\n") if line.startswith("类别依次"))
    assert "写作" not in line
    assert "闲聊" not in line
    assert "翻译" in line


def test_examples_are_written_as_answers_are_read() -> None:
    records = [pair("译成英文。\n今天下雨。", "It rains.", "translation"), pair("写一首诗。", "秋风起。", "generation")]
    tasks = parse_tasks(render_tasks(records, "zh")).tasks
    assert [(task.instruction, task.input, task.output) for task in tasks] == [
        ("译成英文。", "今天下雨。", "It rains."), ("写一首诗。", "", "秋风起。"),
    ]  # fmt: skip
    assert [task.instruction for task in parse_tasks(render_tasks(records, "en")).tasks] == ["译成英文。", "写一首诗。"]


def test_tasks_become_records() -> None:
    found = open_kind("self_instruct", SEEDS, [], Settings()).read(0, Answer("好的：\n" + TWO, "stop", 1, 1))
    records = [one.record for one in found if isinstance(one, Candidate)]
    assert [[m.content for m in record.messages] for record in records] == [["算一算\n1+1", "2"], ["写诗", "春眠不觉晓。"]]
    assert [record.language for record in records] == ["zh", "zh"]
    assert [(one.reason, one.row) for one in found if isinstance(one, Reject)] == [("before the first task", "好的：\n")]


def test_a_cut_item_has_its_reason() -> None:
    found = open_kind("self_instruct", SEEDS, [], Settings()).read(0, Answer(TWO, "length", 1, 1))
    assert [one.reason for one in found if isinstance(one, Reject)] == ["cut off"]
    assert sum(isinstance(one, Candidate) for one in found) == 1


def test_each_task_evolves_in_three_ways() -> None:
    made = open_kind("evolve", [], SEEDS[:2], Settings())
    assert made.total == 6
    texts = [request.messages[0].content for i in range(6) if (request := made.compose(i, view()))]
    assert ["种子0" in text for text in texts] == [True, False] * 3
    ways = [text.split("改造方向：")[1][:2] for text in texts]
    assert set(ways[::2]) == set(ways[1::2]) == {"更深", "更广", "更多"}


def test_what_did_not_evolve_is_rejected() -> None:
    made = open_kind("evolve", [], SEEDS[:2], Settings())
    found = made.read(1, Answer("指令：种子 1。\n输入：无\n输出：好", "stop", 1, 1))
    assert [one.reason for one in found if isinstance(one, Reject)] == ["unchanged"]
    assert isinstance(made.read(1, Answer("指令：种子 1 为什么发芽？\n输出：水", "stop", 1, 1))[0], Candidate)
