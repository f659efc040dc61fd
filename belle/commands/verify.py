"""Check everything that must hold before a model is published: files, numbers, tokens, template, lineage, behaviour.

A table says what was looked at and what was found. Leaves with exit code 2 if anything is wrong. Takes models, adapters and the
folder of an export: GGUF files are held against the model they came from, the Modelfile against its chat template. `belle export`
and `belle quantize` do the same before they write, without the checks that let the model speak.

Examples:
  belle verify runs/demo/merged
  belle verify my_model base=embedded:smollm2-135m-instruct licences='{base: Apache-2.0, my.jsonl: CC-BY-4.0}'
"""

from __future__ import annotations

from belle import logs
from belle.config import Section
from belle.errors import BelleError, Finding
from belle.sections import ModelSection

POSITIONAL = "model.path"


class Config(Section):
    """What to check, and what is known about where it came from."""

    model: ModelSection
    """The model or adapter: a run, or a folder. Or the run of an export, a folder with GGUF files, or one such file."""
    base: str | None = None
    """What it was made from, as `model.path`; absent means as its runs noted it."""
    licences: dict[str, str] = {}
    """Licences that no file names: `base` or the name of a data file -> licence."""
    quick: bool = False
    """Leave out the checks that load the model and let it speak."""


def plan(config: Config) -> list[str]:
    """What `run` would do."""
    from belle.release.check_gguf import ASKS_LLAMA
    from belle.release.check_gguf import CHECKS as GGUF_CHECKS
    from belle.release.exported import gguf_files
    from belle.release.verify import ASKS_THE_MODEL, CHECKS

    asks, checks = (ASKS_LLAMA, list(GGUF_CHECKS)) if gguf_files(config.model.path) else (ASKS_THE_MODEL, list(CHECKS))
    names = [name for name in checks if not (config.quick and name in asks)]
    return [f"check {', '.join(names)} of {config.model.path}", "write nothing"]


def run(config: Config) -> None:
    """Check, print, and raise if anything is wrong."""
    with logs.doing(f"looked at {config.model.path}"):
        findings = _findings(config)
    logs.table(["", "check", "found", "what to do"], [[f.level, f.check, f.found, f.fix] for f in findings])
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        count = "1 thing is" if len(errors) == 1 else f"{len(errors)} things are"
        raise BelleError(f"{count} wrong; {errors[0].check}: {errors[0].found}", errors[0].fix)
    doubts = sum(finding.level == "warning" for finding in findings)
    logs.say(f"all is well{f', with {doubts} warnings' if doubts > 1 else ', with 1 warning' if doubts else ''}")


def _findings(config: Config) -> list[Finding]:
    from belle.release import check_gguf
    from belle.release.exported import Exported
    from belle.release.subject import Subject
    from belle.release.verify import ASKS_THE_MODEL, CHECKS, run_checks, verify

    exported = Exported.find(config.model.path, config.base, config.licences)
    if exported is None:
        subject = Subject.open(config.model, config.base, config.licences)
        return list(verify(subject, [name for name in CHECKS if not (config.quick and name in ASKS_THE_MODEL)]))
    checks = {n: check for n, check in check_gguf.CHECKS.items() if not (config.quick and n in check_gguf.ASKS_LLAMA)}
    return list(run_checks(exported, checks, check_gguf.NEEDS))
