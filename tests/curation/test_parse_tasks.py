from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from belle.curation.parse_tasks import parse_tasks
from belle.curation.parsed import Task
from belle.curation.task_labels import RULE, header_title, is_no_input, read_label

TWO = [Task("写一首关于秋天的诗。", "", "秋风起，落叶黄。"), Task("把下面的句子译成英文。", "今天下雨。", "It is raining today.")]


def both(text: str, **options: object) -> None:
    parsed = parse_tasks(text, **options)  # type: ignore[arg-type]
    assert parsed.tasks == TWO
    assert parsed.rest == []


ANSWERS = {
    "half-width colons": "1. 指令: {0}\n1. 输入:\n<无输入>\n1. 输出:\n{1}\n###\n2. 指令: {2}\n2. 输入:\n{3}\n2. 输出:\n{4}",
    "full-width colons": "指令：{0}\n输入：无\n输出：{1}\n\n指令：{2}\n输入：{3}\n输出：{4}\n",
    "numbers 1、": "1、指令：{0}\n输入：＜无输入＞\n输出：{1}\n\n2、指令：{2}\n输入：{3}\n输出：{4}",
    "numbers （1）": "（1）\n指令：{0}\n输出：{1}\n\n（2）\n指令：{2}\n输入：{3}\n输出：{4}",
    "第1条": "第1条\n指令：{0}\n输入：N/A\n输出：{1}\n第2条\n指令：{2}\n输入：{3}\n输出：{4}",
    "### 1": "### 1\n指令：{0}\n输入：(无)\n输出：{1}\n\n### 2\n指令：{2}\n输入：{3}\n输出：{4}\n###",
    "### 任务 1": "### 任务 1\n**指令**：{0}\n**输入**：无需输入\n**输出**：{1}\n\n---\n\n### 任务 2\n**指令**："
    "{2}\n**输入**：{3}\n**输出**：{4}",
    "bold with the colon": "**指令：** {0}\n**输入：** 无\n**输出：** {1}\n\n**指令：** {2}\n**输入：** {3}\n**输出：** {4}",
    "all bold": "**指令：{0}**\n**输入：无**\n输出：{1}\n\n**指令：{2}**\n输入：{3}\n输出：{4}",
    "headings": "## 指令\n{0}\n## 输入\n无\n## 输出\n{1}\n\n## 指令\n{2}\n## 输入\n{3}\n## 输出\n{4}",
    "brackets": "【指令】{0}\n【输入】无\n【输出】{1}\n【指令】{2}\n【输入】{3}\n【输出】{4}",
    "numbered labels": "指令1：{0}\n输入1：无\n输出1：{1}\n指令2：{2}\n输入2：{3}\n输出2：{4}",
    "English labels": "1. Instruction: {0}\nInput: None\nOutput: {1}\n\n2. Instruction: {2}\nInput: {3}\nOutput: {4}",
    "Task and Answer": "Task 1: {0}\nInput: <no input>\nAnswer: {1}\n\nTask 2: {2}\nInput: {3}\nAnswer: {4}",
    "traditional": "指令：{0}\n輸入：無\n輸出：{1}\n\n指令：{2}\n輸入：{3}\n輸出：{4}",
    "a fence around all": "```text\n1. 指令：{0}\n输入：无\n输出：{1}\n2. 指令：{2}\n输入：{3}\n输出：{4}\n```",
    "a fence for each": "```\n指令：{0}\n输入：无\n输出：{1}\n```\n```\n指令：{2}\n输入：{3}\n输出：{4}\n```",
    "quotes": "指令：“{0}”\n输入：“无”\n输出：“{1}”\n\n指令：\"{2}\"\n输入：\"{3}\"\n输出：\"{4}\"",
    "bullets": "- 指令：{0}\n- 输入：无\n- 输出：{1}\n\n- 指令：{2}\n- 输入：{3}\n- 输出：{4}",
    "BOM and CRLF": "\ufeff1. 指令：{0}\r\n输入：无\r\n输出：{1}\r\n\r\n2. 指令：{2}\r\n输入：{3}\r\n输出：{4}\r\n",
    "indented": "\u3000\u3000指令：{0}\n\u3000\u3000输入：无\n\u3000\u3000输出：{1}\n\u3000\u3000指令：{2}\n\u3000"
    "\u3000输入：{3}\n\u3000\u3000输出：{4}",
    "JSON lines": '{{"instruction": "{0}", "input": "", "output": "{1}"}}\n{{"instruction": "{2}", "input": "{3}"'
    ', "output": "{4}"}}',
    "JSON array": '[{{"指令": "{0}", "输入": null, "输出": "{1}"}}, {{"指令": "{2}", "输入": "{3}", "输出": "{4}"}}]',
    "JSON in a fence": '```json\n[\n  {{"instruction": "{0}", "input": "无", "output": "{1}"}},\n'
    '  {{"id": 2, "instruction": "{2}", "input": "{3}", "output": "{4}",}},\n]\n```',
    "JSON in an object": '{{"tasks": [{{"Instruction": "{0}", "Output": "{1}"}}, {{"Instruction": "{2}", "Input":'
    ' "{3}", "Output": "{4}"}}]}}',
}  # fmt: skip


@pytest.mark.parametrize("shape", ANSWERS)
def test_a_shape_is_read(shape: str) -> None:
    both(ANSWERS[shape].format(TWO[0].instruction, TWO[0].output, TWO[1].instruction, TWO[1].input, TWO[1].output))


@pytest.mark.parametrize(
    "text",
    [
        "<无输入>",
        "＜无输入＞",
        "无输入",
        "(无)",
        "（无）",
        "无",
        "N/A",
        "n/a",
        "无需输入",
        "無輸入",
        "None",
        "[no input]",
        "无。",
        "-",
        "",
        "不需要输入",
    ],
)
def test_no_input_is_understood(text: str) -> None:
    assert is_no_input(text)


@pytest.mark.parametrize("text", ["无锡", "无花果是水果吗", "0", "空气", "nonexistent", "N", "无输入法时怎么打字？"])
def test_an_input_stays_one(text: str) -> None:
    assert not is_no_input(text)


def test_a_markdown_heading_in_an_output_survives() -> None:
    output = "### 标题\n\n第一段。\n\n### 第二节\n1. 甲\n2. 乙\n###\n收尾"
    text = f"###\n1. 指令: 写一篇短文\n1. 输入:\n<无输入>\n1. 输出:\n{output}\n###\n2. 指令: 做加法\n2. 输入:\n1+1\n2. 输出:\n2\n"
    assert parse_tasks(text).tasks == [Task("写一篇短文", "", output), Task("做加法", "1+1", "2")]


@pytest.mark.parametrize("output", ["他出生于2020.", "2020.", "一共20.5元", "价格是\n20.5元", "答案是\n2020."])
def test_numbers_at_the_end_are_untouched(output: str) -> None:
    text = f"1. 指令：问\n输出：{output}\n\n2.\n指令：再问\n输出：{output}"
    assert [task.output for task in parse_tasks(text.replace("1. 指令", "1.\n指令")).tasks] == [output, output]
    assert [task.output for task in parse_tasks(text.replace("2.\n指令", "2. 指令")).tasks] == [output, output]


def test_labels_in_an_output_are_output() -> None:
    output = "输入：nums = [1]\n输出：1\n答案：1\n类别：数组"
    assert parse_tasks(f"指令：举例\n输出：{output}\n\n指令：乙\n输出：丙").tasks == [
        Task("举例", "", output),
        Task("乙", "", "丙"),
    ]
    code = "```python\n指令：x\nprint('# 1')\n```"
    assert parse_tasks(f"指令：举例\n输出：{code}\n\n指令：乙\n输出：丙").tasks == [Task("举例", "", code), Task("乙", "", "丙")]
    assert parse_tasks("1. 指令：举例\n输出：指令：甲\n指令：乙\n2. 指令：乙\n输出：丙").tasks == [
        Task("举例", "", "指令：甲\n指令：乙"), Task("乙", "", "丙"),
    ]  # fmt: skip


def test_a_fence_that_is_not_closed_swallows_nothing() -> None:
    text = "1. 指令：甲\n输出：\n```python\nprint(1)\n\n2. 指令：乙\n输出：\n```\nprint(2)\n```"
    assert [task.instruction for task in parse_tasks(text).tasks] == ["甲", "乙"]


def test_classes_are_read_where_they_lead() -> None:
    text = "### 1\n类别：分类\n指令：体育还是财经？\n输入：球赛\n输出：类别：体育\n\n"
    text += "### 2\n类别：数学\n指令：一加一\n输出：\n类别：二\n"
    assert parse_tasks(text).tasks == [
        Task("体育还是财经？", "球赛", "类别：体育", "分类"), Task("一加一", "", "类别：二", "数学"),
    ]  # fmt: skip


def test_a_thought_is_put_aside() -> None:
    parsed = parse_tasks("<think>\n指令：别当真\n输出：不\n</think>\n\n指令：甲\n输出：乙")
    assert parsed.tasks == [Task("甲", "", "乙")]
    assert [reason for _, reason in parsed.rest] == ["thought"]
    assert [reason for _, reason in parse_tasks("<think>没完").rest] == ["thought without an end"]


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("", ["empty answer"]),
        (" \n", ["empty answer"]),
        ("抱歉，我不能。", ["no task found"]),
        ("好的：\n指令：甲\n输出：乙", ["before the first task"]),
        ("指令：甲\n输入：乙", ["no output"]),
        ("指令：\n输出：乙", ["empty instruction"]),
        ("指令：甲\n输出：乙\n\n### 3 写诗\n指令：丙\n输出：丁", ["title: 写诗"]),
        ('{"instruction": "甲", "output": "乙" "x": 1}', ["broken JSON: expecting ',' delimiter"]),
        ('{"instruction": "甲", "output": "乙", "难度": 3}', ["unknown key"]),
        ('好的，如下：\n[{"instruction": "甲", "output": "乙"}]\n希望有用', ["outside of the tasks", "outside of the tasks"]),
        ("###\n指令：甲\n输出：乙\n###\n以上是一个任务。", ["after the last task"]),
    ],
)
def test_what_is_not_read_has_its_reason(text: str, reasons: list[str]) -> None:
    assert [reason for _, reason in parse_tasks(text).rest] == reasons


def test_a_cut_item_is_kept_only_when_it_is_whole() -> None:
    text = "###\n1. 指令：甲\n输出：乙。\n###\n2. 指令：丙\n输出：丁。"
    assert [task.instruction for task in parse_tasks(text, "length").tasks] == ["甲"]
    assert parse_tasks(text, "length").rest == [("###\n2. 指令：丙\n输出：丁。", "cut off")]
    for end in ("\n###", "\n###\n", "\n\n### 3"):
        assert [task.instruction for task in parse_tasks(text + end, "length").tasks] == ["甲", "丙"]
    array = '[{"instruction": "甲", "output": "乙"}, {"instruction": "丙", "output": "{}'
    assert [task.instruction for task in parse_tasks(array, "length").tasks] == ["甲"]
    assert parse_tasks(array, "length").rest == [('{"instruction": "丙", "output": "{}', "cut off")]
    assert [task.instruction for task in parse_tasks(array + '"}', "length").tasks] == ["甲", "丙"]


# -- properties

LINES = st.one_of(
    st.sampled_from([
        "### 标题", "## 小结", "1. 第一点", "2、第二点", "2020.", "20.5 元", "输入：x", "答案：42", "```python", "- 项",
        "**重点**：好", "# 注",
        "Note: this", "> 引文", "𠮷野家", "👍🏽", "类别：体育", "a: b", '{"a": 1}', "<无输入>", "无", "", "｜表｜格｜",
        "    缩进",
    ]),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\ufeff\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=12),
)  # fmt: skip


def clean(lines: list[str]) -> str:
    """A text as a part may hold it: no item of its own, nothing at its ends that sets items off."""
    kept: list[str] = []
    for line in lines:
        label = read_label(line)
        if (label and label.part == "instruction") or line.lstrip().startswith(("```", "~~~")):
            continue
        kept += line.split("\n")
    while kept and (not kept[-1].strip() or RULE.match(kept[-1]) or any(header_title(kept[-1], n) is not None for n in range(9))):
        kept.pop()
    return "\n".join(kept).strip()


def no_label(text: str, *parts: str) -> bool:
    return all((label := read_label(line)) is None or label.part not in parts for line in text.split("\n"))


def plain(text: str) -> bool:
    return bool(text) and not text.endswith(("*", "_")) and text[0] not in "“\"「『'‘*_《[【:：" and not is_no_input(text)


BODY = st.lists(LINES, min_size=1, max_size=5).map(clean).filter(lambda text: bool(text) and plain(text))
ASKED = BODY.filter(lambda text: no_label(text, "input", "output", "category"))
TASKS = st.lists(
    st.builds(Task, ASKED, st.one_of(st.just(""), ASKED), BODY, st.sampled_from(["", "数学", "open_qa"])), min_size=1, max_size=4
)
Render = Callable[[int, Task], str]


def style(head: str, label: str, words: tuple[str, str, str, str], gap: str, behind: str = "", none: str = "<无输入>") -> Render:
    def render(number: int, task: Task) -> str:
        def part(word: str, text: str) -> str:
            return label.replace("WORD", word).replace("N", str(number)) + gap + text + "\n"

        klass = part(words[3], task.category) if task.category else ""
        parts = [part(words[0], task.instruction), part(words[1], task.input or none), part(words[2], task.output)]
        return head.replace("N", str(number)) + klass + "".join(parts) + behind

    return render


CHINESE, TRADITIONAL, ENGLISH = (
    ("指令", "输入", "输出", "类别"),
    ("指令", "輸入", "輸出", "類別"),
    ("Instruction", "Input", "Output", "Category"),
)
STYLES = {
    "half": style("", "N. WORD:", CHINESE, " "), "rule": style("###\n", "N. WORD:", CHINESE, "\n"),
    "comma": style("", "N、WORD：", CHINESE, ""), "round": style("（N）\n", "WORD：", CHINESE, ""),
    "heading": style("### N\n", "WORD：", CHINESE, "", "\n", "无"),
    "bold": style("### 任务 N\n", "**WORD**：", CHINESE, "", "\n"),
    "bold colon": style("---\n", "**WORD：** ", CHINESE, ""),
    "traditional": style("第N条\n", "WORD：", TRADITIONAL, "", "", "無"),
    "English": style("", "N. WORD: ", ENGLISH, "", "\n", "None"),
    "Task": style("Task N\n", "**WORD:**", ENGLISH, "\n", "\n", "N/A"),
    "headings": style("### N\n", "#### WORD", CHINESE, "\n"), "bracket": style("N.\n", "【WORD】", CHINESE, ""),
    "number behind": style("", "WORDN：", CHINESE, ""),
}  # fmt: skip


def fits(tasks: list[Task]) -> bool:
    """A class stands before each item or before none: a class that only some have cannot be told from an output's last line."""
    return len({bool(task.category) for task in tasks}) == 1


@pytest.mark.parametrize("name", STYLES)
@settings(max_examples=60, deadline=None)
@given(tasks=TASKS.filter(fits))
@example(tasks=[Task("a", "", "### 标题\n2020."), Task("b", "20.5 元", "###\n输出：x")])
def test_what_was_rendered_is_read(name: str, tasks: list[Task]) -> None:
    if name in ("half", "rule", "comma", "English", "bracket", "number behind", "bold colon") and tasks[0].category:
        tasks = [Task(task.instruction, task.input, task.output) for task in tasks]
    text = "".join(STYLES[name](number, task) for number, task in enumerate(tasks, 1))
    parsed = parse_tasks(text)
    assert parsed.tasks == tasks
    assert parsed.rest == []
    assert "".join(piece.text for piece in parsed.pieces) == text


@settings(max_examples=100, deadline=None)
@given(tasks=TASKS, fence=st.booleans(), wrap=st.sampled_from(["array", "lines", "object"]), indent=st.sampled_from([None, 2]))
def test_json_is_read(tasks: list[Task], fence: bool, wrap: str, indent: int | None) -> None:
    rows = [{"category": t.category, "instruction": t.instruction, "input": t.input, "output": t.output} for t in tasks]
    value: object = {"tasks": rows} if wrap == "object" else rows
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) if wrap == "lines" else json.dumps(value, indent=indent)
    text = f"```json\n{text}\n```" if fence else text
    parsed = parse_tasks(text)
    assert parsed.tasks == tasks
    assert parsed.rest == []
    assert "".join(piece.text for piece in parsed.pieces) == text


PIECES = st.sampled_from([
    "指令：", "输入:", "\n", "###", "1. ", "输出：", "```", "{", "}", '"instruction": ', '"output": "', '"', "[", "]", ",",
    "<think>",
    "</think>",
    "**", "### 2\n", "类别：", "\\", "甲", " ", "Task 1:", "---\n", '{"tasks": [', "\r\n", "\ufeff", "\ud83d", "第2条",
])  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)), finish=st.sampled_from(["stop", "length"]))
def test_any_text_is_accounted_for(text: str, finish: str) -> None:
    parsed = parse_tasks(text, finish)  # type: ignore[arg-type]
    assert "".join(piece.text for piece in parsed.pieces) == re.sub(r"\r\n?", "\n", text.replace("\ufeff", ""))
    assert all(piece.reason for piece in parsed.pieces if piece.kind == "rest")
    marks = "".join(piece.text for piece in parsed.pieces if piece.kind == "mark")
    assert not re.search(r"[\u4e00-\u9fff]", re.sub(r"第2条|类别", "", marks))
    if not parsed.tasks:
        assert parsed.rest


@pytest.mark.parametrize(
    "unit", ['{"a": {', "指令：", "指令：甲\n输出：乙\n", "[\n", " ", "```\n", '"\\"', "#", "1. ", "\n---\n甲\n", "\u3000"]
)
def test_ten_megabytes_of_anything_take_seconds(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    started = time.perf_counter()
    parse_tasks(text, "length")
    parse_tasks('{"instruction": "' + text, "length")
    parse_tasks("指令：甲\n输出：" + text, "length")
    assert time.perf_counter() - started < 20


def test_instructions_right_behind_a_class_are_one() -> None:
    text = "### 1\nCategory: code\nInstruction: Say hi.\nOutput: hi\n\n### 2\nCategory: math\nInstructions: Add.\nOutput: 3"
    assert [(task.instruction, task.output) for task in parse_tasks(text).tasks] == [("Say hi.", "hi"), ("Add.", "3")]
    recipe = "Instruction: How is tea made?\nOutput: Ingredients: tea, water\nInstructions: Pour the water over the tea."
    assert [task.output for task in parse_tasks(recipe).tasks] == [
        "Ingredients: tea, water\nInstructions: Pour the water over the tea."
    ]
