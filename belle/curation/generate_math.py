"""The kind `math`: problems with steps and a final answer that can be checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from belle.curation.final_answer import final_answer, form, plain, value, wrong_sum
from belle.curation.generate_tasks import examples, first_round, read_tasks, request
from belle.curation.kinds import Candidate, Reject, Settings, View
from belle.curation.prompt_files import load_prompt, load_topics
from belle.records import Conversation, Document, Message

if TYPE_CHECKING:
    from belle.inference.backend import Answer, Request

WORDS = {"zh": ("题目：", "解答：", "（没有例题）", "答案："), "en": ("Question: ", "Answer: ", "(no example)", "Final answer: ")}


class MathProblems:
    """Word problems and calculations by topic. A record's last line is `答案：...` or `Final answer: ...`."""

    needs: ClassVar[str] = ""
    against_seeds: ClassVar[bool] = True
    novelty: ClassVar[float] = 0.8
    category = "math"
    total = None

    def __init__(self, seeds: Sequence[Conversation], data: Sequence[Conversation | Document], settings: Settings) -> None:
        self.settings, self.per_request = settings, settings.tasks
        places = {"topic": True, "number": True, "examples": False}
        self.prompt = load_prompt(settings.prompts, "math", settings.language, places)
        self.topics = load_topics(settings.prompts, "math", settings.language)

    def compose(self, i: int, view: View) -> Request | None:
        """A topic by lot, and examples of the class."""
        asked, answered, none, _ = WORDS[self.settings.language]
        shown = [record for record in examples(_of_math(view), self.settings) if all(first_round(record))]
        parts = []
        for number, record in enumerate(shown, 1):
            question, answer = first_round(record)
            parts.append(f"### {number}\n{asked}{question}\n{answered}{answer}")
        topic = view.random.choice(self.topics)
        text = self.prompt.fill(topic=topic, number=self.settings.tasks, examples="\n\n".join(parts) or none)
        return request("math", i, text)

    def read(self, i: int, answer: Answer) -> list[Candidate | Reject]:
        """Problems whose answer has a form that can be checked, stands in the steps, and whose sums hold."""
        return [
            self._checked(one) if isinstance(one, Candidate) else one
            for one in read_tasks(answer, self.settings.language, "math")
        ]

    def _checked(self, one: Candidate) -> Candidate | Reject:
        question, solution = first_round(one.record)
        answer = final_answer(solution)
        row = f"{question}\n{solution}"
        if why := form(answer):
            return Reject(why, answer or "", row)
        assert answer is not None
        steps = solution.rpartition(answer)[0]
        if len(steps.strip()) < 8:
            return Reject("no steps", answer, row)
        if value(answer) is not None and not _mentions(steps, answer):
            return Reject("answer is not in the steps", answer, row)
        if wrong := wrong_sum(solution):
            return Reject("a sum is wrong", wrong, row)
        mark = WORDS[self.settings.language][3]
        if not solution.rstrip().split("\n")[-1].strip().startswith(mark.strip()):
            solution = f"{solution.rstrip()}\n{mark}{answer}"
        messages = (Message("user", question), Message("assistant", solution))
        return Candidate(Conversation(messages, category="math", language=self.settings.language), question)


def _of_math(view: View) -> View:
    seeds = [record for record in view.seeds if record.category in ("math", "")]
    return View(view.random, seeds, view.accepted, view.known, view.full)


def _mentions(steps: str, answer: str) -> bool:
    """Whether the steps come to the number of the answer, in whatever writing (1/4, 0.25, 25%)."""
    import re

    number = value(answer)
    body = plain(steps)
    found = [value(match[0]) for match in re.finditer(r"-?\d[\d,]*(?:\.\d+)?(?: ?/ ?\d+| ?%)?|-?\d[\d,]*(?:\.\d+)?", body)]
    whole = [value(part) for part in re.findall(r"\d[\d,]*(?:\.\d+)?%?", body)]
    return number is not None and any(one is not None and abs(one) == abs(number) for one in found + whole)
