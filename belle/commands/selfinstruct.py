"""Make instruction data with a model: new tasks from seeds, answers, dialogues, problems, questions about papers of your own.

In: seeds or given records, and a backend: an endpoint that speaks OpenAI's protocol, a model in this process, or a script. Out:
generated.jsonl, which every verb reads; rejected.jsonl, everything that was not accepted, with its step and reason; calls.jsonl,
every request with its raw answer. Nothing enters twice: each text is compared with the seeds and all accepted ones. A killed run
goes on with the same command, pays for nothing twice and ends with the same records. Limits of budget and backend may change.

Examples:
    belle selfinstruct zh backend.base_url=http://127.0.0.1:8000/v1 backend.model=mine budget.requests=500 output_dir=runs/zh
    belle selfinstruct from_document data.path=handbook.md backend.model=mine output_dir=runs/questions
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from belle import logs
from belle.config import Section
from belle.data.categories import CLASSES
from belle.errors import BelleError, nearest
from belle.jsonl import read_json
from belle.runs import Run
from belle.sections import BackendSection, BudgetSection, DataSection, GenerationSection, Positive, Share

if TYPE_CHECKING:
    from belle.curation.kinds import Kind, Settings
    from belle.curation.quotas import Quotas
    from belle.curation.self_instruct import Outcome, Plan
    from belle.inference.call_log import CallLog
    from belle.records import Conversation, Document

EVERY = 10.0
"""Seconds between two lines about what was accepted and spent."""
FREE = ("base_url", "key_variable", "concurrency", "requests_per_minute", "timeout", "retries", "input_price", "output_price")
"""Keys of `backend` that may be others when a run goes on; so may those of `budget`."""


class QuotaSection(Section):
    """Shares of `count` that no part may pass; for kinds that make tasks of all classes."""

    each: Share | None = 0.25
    """The largest share of one class; null for no limit."""
    classes: dict[str, Share] = {}
    """Classes with another limit, such as {generation: 0.1, math: 0.3}."""
    task: Share | None = 0.02
    """The largest share of one verb with one object, such as 写 and 诗; two records are always let in; null for no limit."""

    @field_validator("classes")
    @classmethod
    def _known(cls, classes: dict[str, float]) -> dict[str, float]:
        for name in classes:
            if name not in CLASSES:
                raise ValueError(f"unknown class {name!r}.{nearest(name, CLASSES)} One of {', '.join(CLASSES)}")
        return classes


class Config(Section):
    """What to make, from what, with which model, how much."""

    kind: str = "self_instruct"
    """self_instruct, answer, multi_turn, role_play, math, evolve, rewrite, from_document, multiple_choice, or module:class."""
    language: Literal["zh", "en"] = "zh"
    """The language of the prompts and of what is made."""
    seeds: DataSection | None = None
    """Examples to show, from which the new must differ."""
    data: DataSection | None = None
    """What answer, multi_turn, evolve and rewrite work on; for from_document, documents or .txt and .md files."""
    count: Positive | None = None
    """Records that are wanted; absent, where a kind works on given records, is all that they give."""
    backend: BackendSection
    """What writes."""
    budget: BudgetSection = BudgetSection()
    """Where to stop at the latest."""
    generation: GenerationSection = GenerationSection(max_new_tokens=2048, temperature=1.0)
    """How answers are made."""
    tasks: Positive = 5
    """Tasks, problems or questions to ask for in one request."""
    examples: Annotated[int, Field(ge=0)] = 4
    """Examples to show in one request."""
    ratio: Share = 0.25
    """The share of the examples that are accepted records instead of seeds, as soon as there are so many."""
    rounds: Positive = 3
    """Rounds of a dialogue, for multi_turn and role_play."""
    chunk: Annotated[int, Field(ge=100)] = 1200
    """Characters of a document in one request, for from_document."""
    with_text: bool = False
    """Put the passage into the question, for from_document; otherwise questions must do without it."""
    novelty: Annotated[float, Field(gt=0, le=1)] | None = None
    """Jaccard similarity (pairs of characters or words) from which a text is not new; absent is the kind's own, 0.7 to 1."""
    quotas: QuotaSection = QuotaSection()
    """What keeps the set diverse."""
    filters: tuple[str | dict[str, Any], ...] = ("empty", "repetition", "refusal", "missing_input", "media")
    """Filters of `belle clean` that a record must pass to be accepted."""
    prompts: str | None = None
    """A folder with prompts of your own, named like belle's; files that are not in it are belle's."""
    window: Positive = 64
    """How far one answer may be behind the others, in requests; another window is another result, another concurrency is not."""
    patience: Positive = 50
    """Stop after so many answers in a row from which nothing was accepted, for kinds without an end."""
    seed: int = 0
    """Seed of what is drawn by lot."""
    output_dir: str
    """The run folder."""
    overwrite: bool = False
    """Begin anew where output_dir holds another run; all answers are paid for again."""

    @field_validator("filters")
    @classmethod
    def _only_filters(cls, filters: tuple[Any, ...]) -> tuple[Any, ...]:
        from belle.curation.catalogue import read_steps

        try:
            steps = read_steps(filters)
        except BelleError as error:
            raise ValueError(error.message) from error
        for step in steps:
            if step.kind != "filter":
                raise ValueError(f"{step.name} is no filter but a {step.kind}: use it in `belle clean` afterwards")
        return filters


def run(config: Config) -> None:
    """Generate; a finished run only prints its table again, unless it ended at a budget that is larger now."""
    run = Run.open("selfinstruct", _as_before(config), config.output_dir, config.overwrite)
    if run.finished and not _has_more(run, config):
        logs.say(f"{run.path} is finished already")
        show(run.info["metrics"], run.path)
        return
    from belle.curation.kinds import open_kind
    from belle.curation.self_instruct import GENERATED, REJECTED, SelfInstruct
    from belle.inference.backend import connect
    from belle.inference.call_log import NAME, CallLog

    seeds = _load(config, "seeds")
    data = _load(config, "data")
    kind = open_kind(config.kind, seeds.conversations, data.records, _settings(config))
    plan, quotas = _plan(config, kind), _quotas(config, kind)
    backend = connect(config.backend, os.environ.get(config.backend.key_variable))
    for role, loaded in (("seeds", seeds), ("data", data)):  # from here on, the folder is this run's
        for name, records in loaded.files:
            if Path(name).is_file():
                run.add_input(role, Path(name), records=records)
    prompt = getattr(kind, "prompt", None)
    if prompt is not None:
        run.add_input("prompt", prompt.path)
    run.info |= {"status": "running", "finished": None}
    run.note(
        budget=config.budget.model_dump(), concurrency=config.backend.concurrency, normalised={**seeds.counts, **data.counts}
    )
    with CallLog.open(run.path / NAME, backend, config.backend, config.budget) as log:
        work = SelfInstruct(plan, kind, seeds.conversations, data.conversations, quotas, run.path)
        try:
            outcome = work.run(log, _Progress(log, config.count))
        except BelleError:
            logs.say(
                f"so far: {_line(work.outcome, log, config.count)}; all of it is in {run.path}, the same command goes on there"
            )
            raise
        metrics = _metrics(outcome, log)
    if not outcome.accepted:
        show(metrics, run.path)
        raise BelleError(f"nothing was accepted from {outcome.answers} answers; {_first_reason(outcome)}",
                         f"look at {run.path / REJECTED}; change the recipe and pass overwrite=true")  # fmt: skip
    products = {"data": GENERATED, "calls": NAME} | ({"rejected": REJECTED} if outcome.rejected else {})
    run.finish(metrics, products)
    show(metrics, run.path)


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    find = _find_kind(config)
    lines = [f"{name}: read {', '.join([s.path] if isinstance(s.path, str) else s.path)}"
             for name, s in (("seeds", config.seeds), ("data", config.data)) if s is not None]  # fmt: skip
    budget = ", ".join(f"{value:g} {name}" for name, value in config.budget.model_dump().items() if value is not None)
    count = f"until {config.count} records are accepted" if config.count else f"for everything that the {find.needs} give"
    return [
        *lines,
        f"ask {config.backend.model} at {config.backend.base_url or 'this process'}, {config.backend.concurrency} at once, "
        f"{count}, and for at most {budget or 'any cost: no budget is set'}",
        f"write generated.jsonl, rejected.jsonl, calls.jsonl and run.json to {config.output_dir}",
    ]


def help_lines() -> list[str]:
    """The kinds and filters, for `belle selfinstruct --help`."""
    from belle.curation.filters import FILTERS
    from belle.curation.kinds import KINDS, find_kind
    from belle.curation.prompt_files import SHIPPED

    lines = ["Kinds:"]
    for name in KINDS:
        lines.append(f"  {name:<16} {(find_kind(name).__doc__ or '').splitlines()[0]}")
    return [*lines, "", f"Filters: {', '.join(FILTERS)} (`belle clean --help` explains them)",
            f"Prompts to copy and edit: the folder {SHIPPED.relative_to(SHIPPED.parents[2])} of belle"]  # fmt: skip


def show(metrics: Mapping[str, Any], path: Path) -> None:
    """Print what became of the answers."""
    rows = [[step, reason, count] for step, reason, count in metrics["reasons"]]
    logs.table(["step", "not accepted because", "records"], rows) if rows else None
    logs.table(["class", "accepted"], [[name, count] for name, count in metrics["classes"].items()])
    logs.say(
        f"{metrics['accepted']} accepted of {metrics['candidates']} records in {metrics['answers']} answers; spent: "
        f"{metrics['requests']} requests, {metrics['tokens']} tokens, {metrics['money']:.4g} money; ended: {metrics['ended']}"
    )
    if metrics["ended"].startswith("budget"):
        logs.warn(f"the {metrics['ended']} is used up; raise it and give the same command again to go on")
    elif metrics["ended"].startswith("nothing"):
        logs.warn(f"{metrics['ended']}: other seeds, a higher novelty or wider quotas would let more in")
    logs.out(str(path / "generated.jsonl"))


class _Loaded:
    """A section's records; none where it is absent."""

    def __init__(
        self, records: Sequence[Any] = (), files: Sequence[tuple[str, int]] = (), counts: Mapping[str, int] | None = None
    ):
        self.records: Sequence[Conversation | Document] = records
        self.files, self.counts = files, dict(counts or {})

    @property
    def conversations(self) -> list[Conversation]:
        from belle.records import Conversation

        return [record for record in self.records if isinstance(record, Conversation)]


def _load(config: Config, name: Literal["seeds", "data"]) -> _Loaded:
    from belle.curation.generate_questions import TEXT_FILES, read_texts
    from belle.data.formats import load_records
    from belle.records import Conversation, Document

    section: DataSection | None = getattr(config, name)
    needs = _find_kind(config).needs
    if section is None:
        if name == "data" and needs:
            raise BelleError(f"data: {config.kind} works on given {needs}, and there are none", "data.path=FILE")
        return _Loaded()
    if name == "data" and not needs:
        raise BelleError(f"data: {config.kind} works on no given records", "give examples as seeds.path=FILE")
    paths = [section.path] if isinstance(section.path, str) else list(section.path)
    texts = [path for path in paths if path.lower().endswith(TEXT_FILES)]
    if name == "data" and needs == "documents" and texts:
        if len(texts) < len(paths):
            raise BelleError(f"data.path names text files ({texts[0]}) and others", "give them to two runs")
        documents = read_texts([Path(path) for path in texts])
        return _Loaded(documents, [(path, 1) for path in texts])
    try:
        loaded = load_records(section, Document if name == "data" and needs == "documents" else Conversation)
    except BelleError as error:
        raise BelleError(f"{name}: {error.message}", error.fix.replace("data.", f"{name}.")) from error
    return _Loaded(loaded.records, loaded.files, loaded.counts)


def _find_kind(config: Config) -> Any:
    from belle.curation.kinds import find_kind

    return find_kind(config.kind)


def _settings(config: Config) -> Settings:
    from belle.curation.kinds import KINDS, Settings
    from belle.curation.prompt_files import check_folder

    folder = Path(config.prompts) if config.prompts is not None else None
    if folder is not None:
        check_folder(folder, KINDS)
    return Settings(
        config.language, folder, config.tasks, config.examples, config.ratio, config.rounds, config.chunk, config.with_text
    )


def _plan(config: Config, kind: Kind) -> Plan:
    from belle.curation.catalogue import read_steps
    from belle.curation.self_instruct import Plan
    from belle.curation.steps import Context

    if config.count is None and kind.total is None:
        raise BelleError(f"count: {config.kind} has no end of its own", "count=1000")
    filters = [(step.label, step.build(Context())) for step in read_steps(config.filters)]
    novelty = config.novelty if config.novelty is not None else kind.novelty
    return Plan(config.kind, config.count, novelty, config.window, config.patience, config.seed, config.generation, filters)


def _quotas(config: Config, kind: Kind) -> Quotas | None:
    """None for kinds of one class, and for those whose records are given."""
    from belle.curation.quotas import Quotas

    if kind.category or not kind.against_seeds or config.count is None:
        return None
    quotas = Quotas(config.count, config.quotas.each, config.quotas.classes, config.quotas.task)
    if quotas.room is not None and quotas.room < config.count:
        raise BelleError(
            f"quotas: {config.count} records are wanted, and the classes have room for {quotas.room}", "raise quotas.each"
        )
    return quotas


def _as_before(config: Config) -> Config:
    """With those keys of an earlier run in output_dir that are free to change."""
    path = Path(config.output_dir) / "run.json"
    if config.overwrite or not path.is_file():
        return config
    earlier = read_json(path)
    recipe = earlier.get("recipe") if isinstance(earlier, dict) and earlier.get("verb") == "selfinstruct" else None
    if not isinstance(recipe, dict):
        return config
    backend = {key: value for key, value in recipe["backend"].items() if key in FREE}
    update = {"backend": config.backend.model_copy(update=backend), "budget": BudgetSection(**recipe["budget"])}
    return config.model_copy(update=update)


def _has_more(run: Run, config: Config) -> bool:
    """Whether a finished run ended at a budget that is another one now."""
    ended = str(run.info["metrics"].get("ended", ""))
    return ended.startswith("budget") and run.info["notes"].get("budget") != config.budget.model_dump()


class _Progress:
    """A line every few seconds: what was accepted, and what it cost."""

    def __init__(self, log: CallLog, count: int | None) -> None:
        self._log, self._count, self._said = log, count, time.monotonic()

    def __call__(self, outcome: Outcome) -> None:
        if time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            logs.say(_line(outcome, self._log, self._count))


def _line(outcome: Outcome, log: CallLog, count: int | None) -> str:
    share = outcome.accepted / max(outcome.candidates, 1)
    wanted = f" of {count}" if count else ""
    spent = log.spent
    return (
        f"{outcome.accepted}{wanted} accepted ({share:.0%} of what was read), {outcome.answers} answers; "
        f"{spent.requests} requests, {spent.tokens} tokens, {spent.money:.4g} money, {log.retries} retries"
    )


def _metrics(outcome: Outcome, log: CallLog) -> dict[str, Any]:
    reasons = sorted(outcome.counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "accepted": outcome.accepted, "candidates": outcome.candidates, "answers": outcome.answers, "rejected": outcome.rejected,
        "classes": dict(sorted(outcome.classes.items(), key=lambda item: (-item[1], item[0]))),
        "reasons": [[step, reason, count] for (step, reason), count in reasons],
        "requests": log.spent.requests, "tokens": log.spent.tokens, "money": log.spent.money, "ended": outcome.ended,
    }  # fmt: skip


def _first_reason(outcome: Outcome) -> str:
    if not outcome.counts:
        return outcome.ended
    (step, reason), count = outcome.counts.most_common(1)[0]
    return f"most often ({count} times): {step}, {reason}"
