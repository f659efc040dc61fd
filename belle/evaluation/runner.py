"""Ask a model every question of a set and score what it says.

Answers are written as they come; a run that was killed goes on where it stopped. `summary.py` turns the rows into metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from belle.data.letters import language_share
from belle.errors import BelleError
from belle.evaluation.metrics import chrf, exact, rouge_l
from belle.evaluation.tasks import Question
from belle.inference.backend import Answer, Backend, Request
from belle.jsonl import Appender, read_rows, remove, write_rows
from belle.records import Conversation, Message
from belle.sections import GenerationSection

Row = dict[str, Any]
Progress = Callable[[int, int], None]
_SCORED_AT_ONCE = 32  # references scored between two writes to the disk


def evaluate(
    backend: Backend, questions: Sequence[Question], generation: GenerationSection, out: Path, progress: Progress | None = None
) -> list[Row]:
    """Score the references, generate the answers and write `out` (answers.jsonl), one row a question in their order.

    Work in progress stands beside `out` in two growing files; running again after a kill asks only what is missing.
    Loss is measured where the backend is a `Scorer` and the question has a reference. A question on which the backend
    failed keeps its row with finish "error": it counts as wrong, and is asked again if the run is resumed.

    Args:
        progress: called with (done, total) pieces of work, first with those that an earlier, killed run has done.
    """
    can_score = hasattr(backend, "score")  # a served model may answer without showing its likelihoods
    referenced = [q for q in questions if q.reference and can_score]
    score_part, answer_part = out.with_name("scores.part.jsonl"), out.with_name("answers.part.jsonl")
    scores = _earlier(score_part, {q.id for q in referenced})
    answers = _earlier(answer_part, {q.id for q in questions})

    def tell() -> None:
        if progress:
            progress(len(scores) + len(answers), len(referenced) + len(questions))

    tell()
    with Appender(score_part) as file:
        for row in _score(backend, [q for q in referenced if q.id not in scores]):
            file.write(row)
            scores[row["id"]] = row
            tell()
    with Appender(answer_part, keep=lambda row: row["id"] in answers and row["finish"] != "error") as file:
        todo = [q for q in questions if q.id not in answers]

        def keep(index: int, answer: Answer) -> None:
            identity = todo[index].id
            if identity not in answers:
                answers[identity] = {"id": identity, **_answer_dict(answer)}
                file.write(answers[identity])
                tell()

        requests = [Request(q.messages, q.tools, q.id) for q in todo]
        for index, answer in enumerate(backend.generate(requests, generation, keep) if requests else ()):
            keep(index, answer)  # those of a backend that only returns them at the end
    rows = [answer_row(question, answers[question.id], scores.get(question.id)) for question in questions]
    write_rows(out, rows)
    remove(score_part)
    remove(answer_part)
    return rows


def _earlier(part: Path, wanted: set[str]) -> dict[str, Row]:
    """What a killed run left: the rows by id, failed answers excepted."""
    if not part.exists():
        return {}
    return {row["id"]: row for row in read_rows(part) if row["id"] in wanted and row.get("finish") != "error"}


def _score(backend: Any, questions: Sequence[Question]) -> Iterator[Row]:
    # Texts of like length together: less padding.
    ordered = sorted(questions, key=lambda q: len(q.text) + len(q.reference or ""))
    for start in range(0, len(ordered), _SCORED_AT_ONCE):
        batch = ordered[start : start + _SCORED_AT_ONCE]
        try:
            scores = backend.score([_conversation(q) for q in batch])
        except BelleError:
            scores = [_score_one(backend, question) for question in batch]  # to find out which, and keep the others
        for question, score in zip(batch, scores, strict=True):
            if isinstance(score, str):
                yield {"id": question.id, "loss_sum": None, "loss_tokens": None, "loss_characters": None, "loss_error": score}
            else:
                yield {
                    "id": question.id, "loss_sum": score.loss_sum, "loss_tokens": score.tokens,
                    "loss_characters": score.characters,
                }  # fmt: skip


def _score_one(backend: Any, question: Question) -> Any:
    """The score of one reference, or the reason why it has none, such as more tokens than the model's context."""
    try:
        return backend.score([_conversation(question)])[0]
    except BelleError as error:
        return f"{question.source}: {error.message}"


def _answer_dict(answer: Answer) -> Row:
    return {
        "answer": answer.text, "finish": answer.finish, "error": answer.error,
        "prompt_tokens": answer.prompt_tokens, "answer_tokens": answer.answer_tokens,
    }  # fmt: skip


def answer_row(question: Question, answer: Row, score: Row | None = None) -> Row:
    """The row of answers.jsonl for one question: what was asked, what was said, and every score of it."""
    text, reference, failed = answer["answer"], question.reference, answer["finish"] == "error"
    share, match = language_share("" if failed else text, question.language)
    row = {
        "id": question.id, "category": question.category, "language": question.language, "question": question.text,
        "reference": reference, "answer": text, "finish": answer["finish"],
        "prompt_tokens": answer["prompt_tokens"], "answer_tokens": answer["answer_tokens"],
        "loss_sum": score["loss_sum"] if score else None, "loss_tokens": score["loss_tokens"] if score else None,
        "loss_characters": score["loss_characters"] if score else None,
        "chrf": chrf(text, reference) if reference else None,
        "rouge_l": rouge_l(text, reference) if reference else None,
        "exact": exact(text, reference) if reference else None,
        "language_match": match, "language_share": share, "stopped": answer["finish"] == "stop",
    }  # fmt: skip
    if score and "loss_error" in score:
        row["loss_error"] = score["loss_error"]
    return row | {"error": answer["error"]} if failed else row


def _conversation(question: Question) -> Conversation:
    """Question and reference, of which the reference alone carries loss."""
    before = [replace(m, train=False) if m.role == "assistant" else m for m in question.messages]
    answer = Message("assistant", question.reference or "", train=True)
    return Conversation((*before, answer), question.tools, id=question.id, source=question.source)
