"""Small runs as the verbs would leave them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from belle.config import Section
from belle.evaluation.runner import answer_row
from belle.evaluation.summary import summarise
from belle.evaluation.tasks import Question
from belle.jsonl import write_rows
from belle.records import Message
from belle.runs import Run, sha256_text
from belle.sections import GenerationSection

ATTACK = (
    "</script><script>document.documentElement.dataset.injected=1</script>"
    '<img src=x onerror="document.documentElement.dataset.injected=2"> &amp; {{ 7*7 }} ${1+1} \' "'
)
QUESTIONS = [
    Question(f"q{i}", category, language, (Message("user", f"{text} {i}"),), reference)
    for i, (category, language, text, reference) in enumerate(
        [("math", "zh", "一加一等于几？", "等于二")] * 6
        + [("rewrite", "en", "Say it politely", "Please do")] * 6
        + [("generation", "zh", "写一句诗", None)] * 2
        + [("identity", "zh", "你是谁？", "我是 Belle")] * 6
    )
]


class Recipe(Section):
    """What stands in the recipe of each run here."""

    output_dir: str
    overwrite: bool = False
    name_to_say: str = "Belle"
    generation: GenerationSection = GenerationSection()


def evaluation(
    folder: Path, answers: dict[str, str], loss: float, parent: Path | None = None, length: int = 1, template: str = "chatml"
) -> Path:
    """An evaluate run whose answers are by class; `length` is the number of tokens of each character."""
    run = Run.open("evaluate", Recipe(output_dir=str(folder)), str(folder))
    run.note(template=template, template_sha256=sha256_text(template))
    run.add_input("questions", folder.parent / "evaluation.jsonl")
    if parent:
        run.add_parent(parent)
    rows = []
    for i, question in enumerate(QUESTIONS):
        tokens = length * len(question.reference or "")
        answer = {"answer": answers[question.category], "finish": "stop", "prompt_tokens": 1, "answer_tokens": 1, "error": ""}
        score = {"loss_sum": (loss + 0.01 * (i % 3)) * tokens, "loss_tokens": tokens, "loss_characters": tokens // length}
        rows.append(answer_row(question, answer, score if tokens else None))
    write_rows(folder / "answers.jsonl", rows)
    run.finish(summarise(rows, "Belle", str(folder), draws=300), {"answers": "answers.jsonl"})
    return folder


def training(folder: Path, steps: int = 30) -> Path:
    """An SFT run with a falling loss."""
    run = Run.open("sft", Recipe(output_dir=str(folder)), str(folder))
    run.add_input("data", folder.parent / "data.jsonl")
    run.note(template="chatml", dtype="float32")
    tokens = {"min": 3, "median": 20, "p95": 50, "max": 90, "total": 12345, "supervised": 6000}
    counts = {"records": 77, "categories": {"math": 70, ATTACK: 7}, "languages": {"zh": 77}, "dropped": {"too long": 3}}
    run.note(data=counts | {"tokens": tokens})
    with run.metrics_file() as file:
        for step in range(1, steps + 1):
            loss = 1 + math.exp(-step / 5)
            file.write({"step": step, "epoch": step / steps, "loss": loss, "learning_rate": 1e-3, "tokens": 100 * step})
        file.write({"step": steps, "eval_loss": 1.25})
    metrics: dict[str, Any] = {"loss_first": 2.0, "loss_last": 1.0, "steps": steps, "tokens": 3000, "supervised_tokens": 1500}
    metrics |= {"tokens_per_second": 277.0, "peak_memory_gb": 2.0, "trainable_parameters": 5_000_000, "parameters": 139_000_000}
    run.finish(metrics, {"adapter": "adapter"})
    return folder


def merging(folder: Path, parent: Path) -> Path:
    """A merge run."""
    run = Run.open("merge", Recipe(output_dir=str(folder)), str(folder))
    run.add_parent(parent)
    run.finish({"max_logit_difference": 0.01, "prompts": 4, "changed_tensors": 9}, {"model": "."})
    return folder
