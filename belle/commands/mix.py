"""Mix several sources in given shares into one file.

In: files of any format. Out: mixed.jsonl, which belle reads back, each record with its `source` (its name, file and line). Any
beginning of the file has about the asked shares: weights such as 1 to 5, or shares by size with a temperature, counted in
records, characters or tokens. Conversations can become documents by a chat template, to mix instructions into pre-training.
What came of each share, what was repeated and what was left over stands in run.json and in a table. The same recipe gives the
same file.

Examples:
    belle mix domain_1_to_5 sources.domain.path=ours.jsonl sources.general.path=theirs.jsonl output_dir=runs/mixed
    belle mix mip unit=tokens tokenizer=embedded:smollm2-135m-instruct total=100000 output_dir=runs/mip
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from belle import logs
from belle.config import Section
from belle.errors import BelleError
from belle.jsonl import atomic_path, remove, write_rows
from belle.runs import Run, sha256_file, sha256_text
from belle.sections import DataSection, ModelSection, Positive

if TYPE_CHECKING:
    from belle.curation.mix import Account, Supply
    from belle.curation.mix_sources import Measure, Spool

DRIFT = 0.02
"""A share that is further from what was asked is worth a warning."""


class SourceSection(DataSection):
    """One source of the mixture."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    """Its part of the ratio: 1 and 5 are a sixth and five sixths."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Use it at most so many times; 1 repeats nothing."""
    max_records: Positive | None = None
    """Take at most so many different records, a random choice."""
    template: str | None = None
    """Make documents of its conversations: plain, belle or another chat template; absent keeps conversations."""


class Config(Section):
    """What to mix, in what shares, how much."""

    sources: dict[str, SourceSection]
    """The sources, each a section under a name of its own."""
    unit: Literal["records", "characters", "tokens"] = "records"
    """What the shares and `total` count."""
    tokenizer: str | None = None
    """For unit tokens: as `model.path`."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Shares from sizes n instead of weights: n to the power of 1 / temperature. 1 is by size, higher evens out."""
    total: Positive | None = None
    """Stop with the record that reaches so many units; absent means when the sources are used up."""
    until: Literal["first", "all"] = "first"
    """When a source has no more to give: stop when the first has none, or go on until each was used once in full."""
    seed: int = 0
    """Seed of the order within each source."""
    output_dir: str
    """The run folder."""
    overwrite: bool = False
    """Begin anew where output_dir holds another run."""


def run(config: Config) -> None:
    """Read each source once, then write the mixture in its order."""
    _check(config)
    run = Run.open("mix", config, config.output_dir, config.overwrite)
    if run.finished:
        logs.say(f"{run.path} is finished already (overwrite=true mixes anew)")
        show(run)
        return
    # Beside the run folder: that stays as it is until everything has been read without a mistake.
    spools_at = run.path.resolve().with_name(f".{run.path.resolve().name}.sources.part")
    try:
        spools = _read(config, spools_at)
        supplies = _supplies(config, spools)
    except BelleError:
        remove(spools_at)
        raise
    for spool in spools:
        for name, records in spool.facts["files"]:
            if Path(name).is_file():
                run.add_input(spool.name, Path(name), records=records)
    run.note(kind=spools[0].facts["kind"], normalised={spool.name: spool.facts["counts"] for spool in spools})
    from belle.curation.mix import shares

    dropped = write_rows(run.path / "dropped.jsonl", (row for spool in spools for row in spool.dropped()))
    if not dropped:
        remove(run.path / "dropped.jsonl")
    account = _write(config, spools, supplies, shares(supplies, config.temperature), run.path / "mixed.jsonl")
    metrics = {"unit": config.unit, "units": account.units, "total": config.total, "dropped": dropped, "sources": account.rows()}
    run.finish(metrics, {"data": "mixed.jsonl"} | ({"dropped": "dropped.jsonl"} if dropped else {}))
    remove(spools_at)
    show(run)


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    _check(config)
    total = sum(source.weight for source in config.sources.values())
    lines = []
    for name, source in config.sources.items():
        share = f"{source.weight / total:.1%}" if config.temperature is None else "a share by its size"
        paths = ", ".join([source.path] if isinstance(source.path, str) else source.path)
        lines.append(f"{name}: {share} of the {config.unit}, from {paths}")
    end = "the first source is used up" if config.until == "first" else "each source was used in full"
    enough = f"{config.total} {config.unit} are reached, or " if config.total else ""
    return [*lines, f"stop when {enough}{end}", f"write mixed.jsonl and run.json to {config.output_dir}"]


def show(run: Run) -> None:
    """Print the table of shares, and a warning for each that is not what was asked."""
    metrics: Mapping[str, Any] = run.info["metrics"]
    rows: Sequence[Mapping[str, Any]] = metrics["sources"]
    logs.table(
        ["source", "asked", "real", metrics["unit"], *(["records"] if metrics["unit"] != "records" else []),
         "repeats", "left over"],
        [[row["source"], f"{row['asked']:.1%}", f"{row['share']:.1%}", row["units"],
          *([row["records"]] if metrics["unit"] != "records" else []), row["repeats"], row["left_over"]] for row in rows],
    )  # fmt: skip
    for row in rows:
        if abs(row["share"] - row["asked"]) > DRIFT:
            logs.warn(f"{row['source']} was asked for {row['asked']:.1%} of the {metrics['unit']} and came to {row['share']:.1%}")
    if metrics["total"] and metrics["units"] < metrics["total"]:
        logs.warn(f"the sources gave {metrics['units']} of the {metrics['total']} {metrics['unit']} of `total`; "
                  "a source's `epochs` lets it repeat, until=all lets the others go on")  # fmt: skip
    if metrics["dropped"]:
        logs.warn(f"{metrics['dropped']} rows were left out, with their reasons in {run.path / 'dropped.jsonl'}")
    logs.out(str(run.path / "mixed.jsonl"))


def _check(config: Config) -> None:
    """What no single key can say.

    Raises:
        BelleError: nothing to mix, a name that is no word, or keys that contradict each other.
    """
    if not config.sources:
        raise BelleError("sources is empty: there is nothing to mix", "name a source: sources.mine.path=my.jsonl")
    for name in config.sources:
        if not re.fullmatch(r"[\w-]+", name):
            raise BelleError(f"sources: {name!r} is no name of a source", "use letters, digits, _ and -")
    if (config.unit == "tokens") != (config.tokenizer is not None):
        unit = f"unit is {config.unit!r}, and tokenizer is {config.tokenizer or 'absent'}"
        raise BelleError(unit, "set both: unit=tokens tokenizer=embedded:smollm2-135m-instruct")
    weighed = [name for name, source in config.sources.items() if source.weight != 1]
    if config.temperature is not None and weighed:
        raise BelleError(f"temperature makes the shares, and sources.{weighed[0]}.weight does too", "take one of them away")


def _read(config: Config, folder: Path) -> list[Spool]:
    from belle.curation.mix_sources import spool

    measure = _measure(config)
    spools = []
    for name, source in config.sources.items():
        section = DataSection(**{key: getattr(source, key) for key in DataSection.model_fields})
        try:
            made_from = _made_from(config, source)
            with logs.doing(f"read {name}"):
                spools.append(spool(name, section, folder, measure, source.template, made_from))
        except BelleError as error:
            raise BelleError(f"sources.{name}: {error.message}", error.fix.replace("data.", f"sources.{name}.")) from error
    kinds = {spool.facts["kind"]: spool.name for spool in spools}
    if len(kinds) > 1:
        found = ", ".join(f"{name} has {kind}s" for kind, name in kinds.items())
        talk = kinds.get("Conversation")
        fix = f"make documents of conversations: sources.{talk}.template=plain, or belle"
        fix = fix if set(kinds) == {"Conversation", "Document"} else "mix each kind by itself"
        raise BelleError(f"the sources are of different kinds ({found}), and one file holds one kind", fix)
    return spools


def _made_from(config: Config, source: SourceSection) -> str:
    """A hash of everything that the reading of a source depends on; a folder or hub name counts by its name alone."""
    paths = [source.path] if isinstance(source.path, str) else source.path
    from belle.config import shipped

    files = [shipped("data") / path.removeprefix("shipped:") if path.startswith("shipped:") else Path(path) for path in paths]
    inside = [sorted(file.iterdir()) if file.is_dir() else [file] for file in files]
    hashes = [sha256_file(path) for group in inside for path in group if path.is_file()]
    template = Path(source.template or "")
    hashes += [sha256_file(template)] if template.is_file() else []
    return sha256_text(f"{source.model_dump_json()} {config.unit} {config.tokenizer} {hashes}")


def _measure(config: Config) -> Measure | None:
    """The size of a text in the unit of the ratio; None where each record counts as one."""
    if config.unit == "records":
        return None
    if config.tokenizer is None:
        return len
    from belle.models.load import load_tokenizer

    tokenizer = load_tokenizer(ModelSection(path=config.tokenizer))
    return lambda text: len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _supplies(config: Config, spools: Sequence[Spool]) -> list[Supply]:
    from belle.curation.mix import Supply, check_supply

    supplies = []
    for spool, source in zip(spools, config.sources.values(), strict=True):
        supplies.append(Supply(spool.name, spool.sizes, source.weight, source.epochs, source.max_records))
        check_supply(supplies[-1])
    return supplies


def _write(config: Config, spools: Sequence[Spool], supplies: Sequence[Supply], asked: Sequence[float], path: Path) -> Account:
    from belle.curation.mix import Account, mixed_order

    account = Account(supplies, asked)
    with ExitStack() as stack, logs.doing(f"wrote {path.name}"):
        files = [stack.enter_context(spool.open()) for spool in spools]
        with atomic_path(path) as part, part.open("wb") as out:
            for number, index in mixed_order(supplies, asked, total=config.total, until=config.until, seed=config.seed):
                files[number].seek(int(spools[number].places[index, 0]))
                out.write(files[number].readline())
                account.add(number, index)
    return account
