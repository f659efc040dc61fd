"""Answer every conversation of a file.

In: any format that belle reads. Out: answers.jsonl, a row for each, in their order: the prompt, the answer, why it ended and
its tokens. A row that cannot be answered keeps its reason and does not stop the others. Answers are on the disk as they
come: the same command again goes on where a killed one stopped.

Examples:
    belle infer model.path=runs/demo/merged data.path=questions.jsonl output_dir=runs/answers
    belle infer demo generation.temperature=0.7 generation.seed=1 output_dir=runs/freer
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from belle import logs
from belle.config import Section
from belle.jsonl import Appender, read_rows, remove, write_rows
from belle.records import Conversation, Message, message_dict
from belle.runs import Run
from belle.sections import DataSection, GenerationSection, ModelSection, Positive

if TYPE_CHECKING:
    from belle.inference.backend import Answer


class Config(Section):
    """What to answer, with which model, how."""

    model: ModelSection
    data: DataSection
    generation: GenerationSection = GenerationSection()
    batch_size: Positive = 16
    """Conversations answered at once."""
    backend: str = "transformers"
    """What runs the model: transformers, fake (says what a JSON file tells it to), or module:class."""
    output_dir: str
    """The run folder."""
    overwrite: bool = False
    """Begin anew where output_dir holds another run."""


PART = "answers.part.jsonl"
"""Answers in the order in which they came, while the run lasts."""


def run(config: Config) -> None:
    """Answer what is not answered yet; a finished run only prints its table again."""
    run = Run.open("infer", config, config.output_dir, config.overwrite)
    if run.finished:
        remove(run.path / PART)
        logs.say(f"{run.path} is finished already")
        show(run.info["metrics"], run.path)
        return
    from belle.data.formats import load_records
    from belle.inference.backend import Request, open_backend

    loaded = load_records(config.data)
    with logs.doing(f"loaded {config.model.path}"):
        backend = open_backend(config.backend, config.model, config.batch_size)
    _note_inputs(run, config, loaded.files, loaded.counts)  # from here on, the folder is this run's
    if loaded.dropped:
        write_rows(run.path / "dropped.jsonl", loaded.dropped)
    conversations = [record for record in loaded.records if isinstance(record, Conversation)]
    rows = _prompts(conversations)
    with Appender(run.path / PART, keep=lambda row: _is_answer_to(row, rows)) as part:
        done = {row["position"]: row for row in read_rows(run.path / PART)}
        todo = [position for position in range(len(rows)) if position not in done and rows[position]["prompt"]]
        with logs.Bar("answering", len(done) + len(todo)) as bar:
            bar.skip(len(done))
            started, tokens = time.monotonic(), 0

            def keep(index: int, answer: Answer) -> None:
                nonlocal tokens
                position = todo[index]
                done[position] = {"position": position} | rows[position] | _answer_row(answer)
                part.write(done[position])
                tokens += answer.answer_tokens
                bar.step(note=f"{tokens / max(time.monotonic() - started, 1e-6):.0f} tokens/s")

            requests = [
                Request(_prompt(conversations[i]), conversations[i].tools, conversations[i].id or f"row {i}") for i in todo
            ]
            backend.generate(requests, config.generation, keep)
    empty = {"answer": "", "finish": "error", "prompt_tokens": 0, "answer_tokens": 0, "error": "no user turn to answer"}
    answers = [done.get(position, {"position": position} | row | empty) for position, row in enumerate(rows)]
    write_rows(run.path / "answers.jsonl", [{k: v for k, v in row.items() if k != "position"} for row in answers])
    metrics = _metrics(answers, len(loaded.dropped)) | {"seconds": round(time.monotonic() - started, 1), "made_tokens": tokens}
    run.finish(metrics, {"answers": "answers.jsonl"} | ({"dropped": "dropped.jsonl"} if loaded.dropped else {}))
    remove(run.path / PART)
    show(metrics, run.path)


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    paths = config.data.path if isinstance(config.data.path, tuple) else (config.data.path,)
    part = Path(config.output_dir) / PART
    earlier = sum(1 for _ in read_rows(part)) if part.is_file() and not config.overwrite else 0
    return [
        f"read conversations from {', '.join(paths)}",
        *([f"keep the {earlier} answers that an earlier run made"] if earlier else []),
        f"load {config.model.path} and answer with at most {config.generation.max_new_tokens} tokens, "
        f"{config.batch_size} at once",
        f"write answers.jsonl and run.json to {config.output_dir}",
    ]


def show(metrics: Mapping[str, Any], path: Path) -> None:
    """Print how the answers ended."""
    logs.table(
        ["rows", "ended by itself", "cut at the limit", "failed", "dropped", "answer tokens"],
        [[metrics[key] for key in ("rows", "stop", "length", "error", "dropped", "answer_tokens")]],
    )
    if metrics["error"]:
        logs.warn(f"{metrics['error']} of {metrics['rows']} rows got no answer; the first: {metrics['first_error']}")
    if metrics["dropped"]:
        logs.warn(f"{metrics['dropped']} malformed rows were left out, with their reasons in {path / 'dropped.jsonl'}")
    logs.out(str(path / "answers.jsonl"))


def _prompt(conversation: Conversation) -> tuple[Message, ...]:
    """Up to the last turn that is not the assistant's: a user turn, or the results of tools."""
    messages = conversation.messages
    end = next((i + 1 for i in reversed(range(len(messages))) if messages[i].role in ("user", "tool")), 0)
    return messages[:end]


def _prompts(conversations: Sequence[Conversation]) -> list[dict[str, Any]]:
    """The part of each row that is known before it is answered."""
    rows = []
    for conversation in conversations:
        prompt = _prompt(conversation)
        rest = conversation.messages[len(prompt) :]
        rows.append({
            "id": conversation.id, "source": str(conversation.source), "prompt": [message_dict(m) for m in prompt],
            "reference": rest[-1].content if prompt and rest else None,
        })  # fmt: skip
    return rows


def _is_answer_to(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a row of an earlier, killed run answers what stands at its position now. Failed ones are asked again."""
    position = row["position"]
    known = position < len(rows) and all(row[key] == rows[position][key] for key in ("id", "prompt"))
    return known and row["finish"] != "error"


def _answer_row(answer: Answer) -> dict[str, Any]:
    row = {
        "answer": answer.text, "finish": answer.finish,
        "prompt_tokens": answer.prompt_tokens, "answer_tokens": answer.answer_tokens,
    }  # fmt: skip
    return row | ({"error": answer.error} if answer.finish == "error" else {})


def _metrics(answers: Sequence[Mapping[str, Any]], dropped: int) -> dict[str, Any]:
    ends = [row["finish"] for row in answers]
    failed = next((f"{row['source']}: {row['error']}" for row in answers if row["finish"] == "error"), "")
    return {
        "rows": len(answers), **{end: ends.count(end) for end in ("stop", "length", "error")}, "dropped": dropped,
        "prompt_tokens": sum(row["prompt_tokens"] for row in answers),
        "answer_tokens": sum(row["answer_tokens"] for row in answers), "first_error": failed,
    }  # fmt: skip


def _note_inputs(run: Run, config: Config, files: Sequence[tuple[str, int]], counts: Mapping[str, int]) -> None:
    """Keep the hashes of data and weights, and the run that the model came from."""
    for name, records in files:
        if Path(name).is_file():
            run.add_input("data", Path(name), records=records)
    if config.backend == "transformers":
        from belle.models.load import locate, note_model

        note_model(run, locate(config.model.path))
    run.note(model=config.model.path, normalised=dict(counts))
