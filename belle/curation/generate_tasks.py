"""The kinds `self_instruct` (new tasks, shown some seeds and some accepted ones) and `evolve` (a given task made harder)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from belle.curation.kinds import Candidate, Reject, Settings, View
from belle.curation.parse_tasks import parse_tasks
from belle.curation.parsed import Task
from belle.curation.prompt_files import load_prompt
from belle.curation.texts import fold
from belle.data.categories import CLASSES
from belle.errors import BelleError
from belle.records import Conversation, Document, Message

if TYPE_CHECKING:
    from belle.inference.backend import Answer, Request

CLASS_NAMES = {
    "zh": {
        "math": "数学", "code": "代码", "cot": "逻辑推理", "classification": "分类", "extract": "信息抽取", "open_qa": "开放问答",
        "closed_qa": "阅读问答", "generation": "写作", "brainstorming": "出主意", "rewrite": "改写", "translation": "翻译",
        "summarization": "摘要", "chat": "闲聊",
    },
    "en": {
        "math": "mathematics", "code": "code", "cot": "logical reasoning", "classification": "classification",
        "extract": "information extraction", "open_qa": "general question", "closed_qa": "question about a given text",
        "generation": "writing", "brainstorming": "ideas and advice", "rewrite": "rewriting", "translation": "translation",
        "summarization": "summary", "chat": "small talk",
    },
}  # fmt: skip
"""What prompts call the classes."""
_WORDS = {
    "zh": ("类别：", "指令：", "输入：", "输出：", "<无输入>"),
    "en": ("Category: ", "Instruction: ", "Input: ", "Output: ", "<no input>"),
}
NO_THOUGHT = ("thought", "thought without an end")


def request(kind: str, i: int, text: str) -> Request:
    """A request of one user turn; its id says which it is."""
    from belle.inference.backend import Request

    return Request((Message("user", text),), id=f"{kind}-{i:06d}")


def first_round(record: Conversation) -> tuple[str, str]:
    """(first user turn, the assistant's answer to it); empty where there is none."""
    asked = next((n for n, message in enumerate(record.messages) if message.role == "user"), None)
    if asked is None:
        return "", ""
    answer = next((message.content for message in record.messages[asked + 1 :] if message.role == "assistant"), "")
    return record.messages[asked].content, answer


def task_record(task: Task, language: str, category: str = "") -> Conversation:
    """A task as a conversation of one round; the input stands on a line of its own."""
    asked = f"{task.instruction}\n{task.input}" if task.input else task.instruction
    return Conversation((Message("user", asked), Message("assistant", task.output)), category=category, language=language)


def read_tasks(answer: Answer, language: str, category: str = "") -> Iterator[Candidate | Reject]:
    """The tasks of an answer, and all that was not read as one."""
    parsed = parse_tasks(answer.text, answer.finish)
    for piece in parsed.pieces:
        if piece.task is not None:
            record = task_record(piece.task, language, category)
            yield Candidate(record, record.messages[0].content)
    for text, reason in parsed.rest:
        word, _, detail = reason.partition(": ")
        yield Reject(word, detail, text)


def examples(view: View, settings: Settings) -> list[Conversation]:
    """`settings.examples` records, about `ratio` of them accepted ones, the rest seeds; if possible of classes with room."""
    wanted = settings.examples
    from_accepted = min(round(wanted * settings.ratio), view.known)
    picked = [_pick(view, view.accepted, view.known) for _ in range(from_accepted)]
    picked += [_pick(view, view.seeds, len(view.seeds)) for _ in range(wanted - from_accepted if view.seeds else 0)]
    return list({id(record): record for record in picked}.values())


def _pick(view: View, pool: Sequence[Conversation], size: int) -> Conversation:
    found = pool[view.random.randrange(size)]
    for _ in range(20):
        if found.category not in view.full:
            break
        found = pool[view.random.randrange(size)]
    return found


def render_tasks(records: Sequence[Conversation], language: str) -> str:
    """Records as the prompt asks for tasks: numbered, with class, instruction, input and output."""
    category, instruction, input_, output, none = _WORDS[language]
    parts = []
    for number, record in enumerate(records, 1):
        asked, answer = first_round(record)
        head, _, rest = asked.partition("\n")
        name = CLASS_NAMES[language].get(record.category, record.category)
        lines = [f"### {number}", *([category + name] if name else []), instruction + head]
        parts.append("\n".join([*lines, input_ + (rest.strip() or none), output + answer]))
    return "\n\n".join(parts)


class NewTasks:
    """New tasks of all classes, with their answers."""

    needs: ClassVar[str] = ""
    against_seeds: ClassVar[bool] = True
    novelty: ClassVar[float] = 0.7
    category = ""
    total = None

    def __init__(self, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> None:
        if not seeds:
            raise BelleError("seeds: self_instruct needs some to begin with", "seeds.path=shipped:seed_tasks_zh.jsonl")
        self.settings, self.per_request = settings, settings.tasks
        places = {"examples": True, "number": True, "classes": False}
        self.prompt = load_prompt(settings.prompts, "self_instruct", settings.language, places)

    def compose(self, i: int, view: View) -> Request | None:
        """Some examples, and the classes of which there are too few yet."""
        open_ = [name for name in CLASSES if name not in view.full] or list(CLASSES)
        chosen = view.random.sample(open_, min(self.settings.tasks, len(open_)))
        names = CLASS_NAMES[self.settings.language]
        classes = ("、" if self.settings.language == "zh" else ", ").join(names[name] for name in chosen)
        shown = render_tasks(examples(view, self.settings), self.settings.language)
        return request("self_instruct", i, self.prompt.fill(examples=shown, number=self.settings.tasks, classes=classes))

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """Tasks with answers."""
        return list(read_tasks(answer, self.settings.language))


class Evolved:
    """Given tasks made deeper, broader or more constrained, with their answers."""

    needs: ClassVar[str] = "conversations"
    against_seeds: ClassVar[bool] = True
    novelty: ClassVar[float] = 0.9
    category = ""
    per_request = 1
    WAYS: ClassVar[dict[str, dict[str, str]]] = {
        "zh": {
            "deeper": "更深：多一步推理，追问原因、机制或边界情形，简单套话答不出来",
            "broader": "更广：换到同一领域里另一个少见的对象或场景，难度相当，不重复原来的内容",
            "constraints": "更多约束：加上一到两条可以检查的限制，如字数、格式、必须提到或不许提到的内容",
        },
        "en": {
            "deeper": "deeper: one more step of reasoning; ask for causes, mechanisms or edge cases that no stock answer covers",
            "broader": "broader: move to another, rarer subject or situation of the same field, about as hard, repeating nothing",
            "constraints": "more constrained: one or two limits that can be checked, such as length, form, what must be said",
        },
    }

    def __init__(self, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> None:
        self.settings = settings
        self.records = [record for record in data if isinstance(record, Conversation) and first_round(record)[0]]
        self.total = len(self.records) * len(self.WAYS["zh"])
        self.prompt = load_prompt(settings.prompts, "evolve", settings.language, {"instruction": True, "way": True})

    def compose(self, i: int, view: View) -> Request | None:
        """Each record one way, then each the next way, and so on."""
        if i >= self.total:
            return None
        ways = list(self.WAYS[self.settings.language].values())
        round_, place = divmod(i, len(self.records))
        way = ways[(place + round_) % len(ways)]
        return request("evolve", i, self.prompt.fill(instruction=self._asked(i), way=way))

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """One task, which is another one than the given."""
        found = list(read_tasks(answer, self.settings.language))
        same = fold(self._asked(i))
        return [
            Reject("unchanged", "", one.new) if isinstance(one, Candidate) and fold(one.new) == same else one for one in found
        ]

    def _asked(self, i: int) -> str:
        return first_round(self.records[i % len(self.records)])[0]
