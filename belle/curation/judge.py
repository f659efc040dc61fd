"""Asking a backend about a record: how good its answer is, or what kind of task it sets. No question is paid for twice."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from belle import logs
from belle.curation.classify import asked
from belle.curation.items import Score
from belle.curation.steps import Context
from belle.curation.texts import Curated
from belle.data.categories import CLASSES, category_name
from belle.data.letters import language
from belle.errors import BelleError
from belle.jsonl import Appender, read_rows
from belle.records import Document, Message
from belle.sections import BackendSection, BudgetSection, GenerationSection

if TYPE_CHECKING:
    from belle.inference.backend import Answer
    from belle.inference.call_log import CallLog

NO_LIMIT = BudgetSection()
PROMPTS = Path(__file__).parent / "prompts"
UNSCORED = "unscored.jsonl"
"""Beside the call log: records without a score, each with its reason and the judge's words."""
_SCORE = re.compile(
    r"""(?:评分|得分|分数|总分|打分|score|rating)["'*\s]*(?:[:：=]|为|是|is)?["'*\s]*(?P<value>-?\d+(?:\.\d+)?)\s*(?:分|/\s*(?P<of>\d+))?""",
    re.IGNORECASE,
)
_BARE = re.compile(r"[*\s]*(?P<value>-?\d+(?:\.\d+)?)\s*(?:分|/\s*(?P<of>\d+))?[.。*\s]*")
_AROUND = re.compile(r"^(?:类别|类型|category|class)\s*[:：]|[\"'`*.。\[\]【】]", re.IGNORECASE)
_SLOT = re.compile(r"\{\{(instruction|answer|low|high)\}\}")


class Asking:
    """What both judges share: the backend, its log, the prompt, and the list of what could not be read."""

    def __init__(
        self, name: str, backend: BackendSection, prompt: str | None, budget: BudgetSection, tokens: int, context: Context
    ) -> None:
        self.name, self.section, self.prompt, self.budget, self.context = name, backend, prompt, budget, context
        self.options = GenerationSection(max_new_tokens=tokens)
        self._log: CallLog | None = None
        self._trial: tempfile.TemporaryDirectory[str] | None = None

    def ask(
        self, records: Sequence[Curated], fill: Callable[[Curated], dict[str, str]], read: Callable[[str], Score]
    ) -> list[Score]:
        """[len(records)] what `read` makes of each reply; nan or "" where it raises ValueError, with the reason kept.

        Raises:
            BelleError: the endpoint's trouble, or the budget is used up; what was answered is in the log.
        """
        from belle.inference.backend import Request

        requests = [Request((Message("user", self._write(fill(record))),), id=self.name) for record in records]
        answers = self._open().ask(requests, self.options)
        scores: list[Score] = []
        missing = []
        for record, answer in zip(records, answers, strict=True):
            try:
                if answer.finish == "error":
                    raise ValueError(answer.error)
                scores.append(read(answer.text))
            except ValueError as error:
                scores.append("" if read is read_class else float("nan"))
                missing.append(self._row(record, str(error), answer))
        if missing:
            self._keep(missing)
            first = missing[0]["reason"]
            logs.warn(f"{self.name}: {len(missing)} of {len(records)} replies gave no score, such as {first!r}; see {UNSCORED}")
        return scores

    def _row(self, record: Curated, reason: str, answer: Answer) -> dict[str, str]:
        return {"source": str(record.source), "step": self.name, "reason": reason, "reply": answer.text, "id": record.id}

    def _write(self, values: dict[str, str]) -> str:
        name = f"{self.name}_{values['language']}.txt"
        path = Path(self.prompt) if self.prompt else PROMPTS / name
        try:
            text = path.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BelleError(f"prompt {str(path)!r} cannot be read: {error}", "give the path of a text file") from error
        if "{{instruction}}" not in text:
            raise BelleError(f"prompt {str(path)!r} has no place {{{{instruction}}}}", "write it where the task should stand")
        return _SLOT.sub(lambda slot: values[slot[1]], text)  # once only: a record may hold such a mark too

    def _folder(self) -> Path:
        if self.context.folder is not None:
            return self.context.folder
        self._trial = self._trial or tempfile.TemporaryDirectory(prefix="belle-judge-")
        return Path(self._trial.name)

    def _open(self) -> CallLog:
        if self._log is None:
            from belle.inference.backend import connect
            from belle.inference.call_log import NAME, CallLog

            backend = connect(self.section, self.context.variables.get(self.section.key_variable))
            self._log = CallLog.open(self._folder() / NAME, backend, self.section, self.budget)
        return self._log

    def _keep(self, rows: Sequence[dict[str, str]]) -> None:
        path = self._folder() / UNSCORED
        there = {json.dumps(row, sort_keys=True) for row in read_rows(path)} if path.exists() else set()
        appender = Appender(path)
        for row in rows:
            if json.dumps(row, sort_keys=True) not in there:
                appender.write(row)
        appender.close()


class Judge:
    """How good a judge finds the answers, from `low` to `high`; nan where its reply holds no such number."""

    alone = True

    def __init__(
        self, *, backend: BackendSection, context: Context, low: float = 1.0, high: float = 10.0, prompt: str | None = None,
        budget: BudgetSection = NO_LIMIT, max_new_tokens: int = 512,
    ) -> None:  # fmt: skip
        """`prompt`: a file with the places {{instruction}}, {{answer}}, {{low}} and {{high}}; absent means belle's own."""
        if low >= high:
            raise BelleError(f"judge: low is {low:g} and high is {high:g}", "low must be below high")
        self.low, self.high = low, high
        self._asking = Asking("judge", backend, prompt, budget, max_new_tokens, context)

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] numbers in low..high."""
        return self._asking.ask(records, self._fill, lambda text: read_score(text, self.low, self.high))

    def _fill(self, record: Curated) -> dict[str, str]:
        instruction, answer = _both(record)
        return {"instruction": instruction, "answer": answer, "low": f"{self.low:g}", "high": f"{self.high:g}",
                "language": _language(instruction)}  # fmt: skip


class JudgedClass:
    """The kind of task as a backend sees it, one of the thirteen words of `instruction_class`; "" where its reply is none."""

    alone = True

    def __init__(
        self, *, backend: BackendSection, context: Context, prompt: str | None = None, budget: BudgetSection = NO_LIMIT,
        max_new_tokens: int = 64,
    ) -> None:  # fmt: skip
        """`prompt`: a file with the place {{instruction}}; absent means belle's own."""
        self._asking = Asking("judged_class", backend, prompt, budget, max_new_tokens, context)

    def __call__(self, records: Sequence[Curated]) -> list[Score]:
        """[len(records)] words."""
        return self._asking.ask(records, self._fill, read_class)

    def _fill(self, record: Curated) -> dict[str, str]:
        text = asked(record)
        return {"instruction": text, "answer": "", "low": "", "high": "", "language": _language(text)}


def read_score(text: str, low: float, high: float) -> float:
    """The last number that a reply calls its score, or the number that it consists of.

    Raises:
        ValueError: there is none, it is out of range, or it is on another scale.
    """
    found = list(_SCORE.finditer(text))
    match = found[-1] if found else _BARE.fullmatch(text) or _BARE.fullmatch(text.strip().rsplit("\n", 1)[-1])
    if match is None:
        raise ValueError("no score in the reply")
    value = float(match["value"])
    if match["of"] and float(match["of"]) != high:
        raise ValueError(f"another scale: {match[0].strip()}")
    if not low <= value <= high:
        raise ValueError(f"out of range: {value:g}")
    return value


def read_class(text: str) -> str:
    """The class that a reply names; on several lines, the last line counts.

    Raises:
        ValueError: it names none, or several.
    """
    last = text.strip().rsplit("\n", 1)[-1]
    whole = category_name(_AROUND.sub("", last.strip()))
    if whole in CLASSES:
        return whole
    named = {name for name in CLASSES if re.search(rf"(?<![a-z_]){name}(?![a-z_])", last.lower())}
    if len(named) != 1:
        raise ValueError(f"names {' and '.join(sorted(named)) or 'no class'}")
    return named.pop()


def _both(record: Curated) -> tuple[str, str]:
    """(what was asked, what was answered); of several rounds, all but the last answer belongs to what was asked."""
    if isinstance(record, Document):
        return "", record.text
    messages = record.messages
    if messages and messages[-1].role == "assistant":
        before, answer = messages[:-1], messages[-1].content
    else:
        before, answer = messages, ""
    if len(before) == 1:
        return before[0].content, answer
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in before), answer


def _language(text: str) -> str:
    return "zh" if language(text) == "zh" else "en"
