"""A model card in English and Chinese from what runs have measured. Figures that nobody measured are called missing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from belle import __version__
from belle.errors import BelleError
from belle.jsonl import write_text
from belle.release.card_facts import Facts

PAGES = Path(__file__).parent / "card_pages"
_MARK = re.compile(r"<!-- belle card ([0-9a-f]{64}) -->\n\Z")
_BOILERPLATE = "[More Information Needed]"
"""What peft and transformers write where a card should be."""
SHARES = ("language_match", "stopped", "says_name", "chrf", "rouge_l", "exact")


def write_card(facts: Facts, path: Path, overwrite: bool = False) -> bool:
    """Write the card of these facts, in one step.

    Args:
        facts: as `card_facts` collects them; see `commands/card.py`.
        overwrite: replace a README.md that someone wrote.

    Returns:
        Whether a file that was there has been replaced.

    Raises:
        BelleError: there is a README.md that belle did not write, or that was changed since.
    """
    there = path.is_file()
    if there and not overwrite and not replaceable(path.read_text(encoding="utf-8", errors="replace")):
        what = f"{str(path)!r} is there, and is not an unchanged card of belle"
        raise BelleError(what, "overwrite=true replaces it, output=... spares it")
    write_text(path, card(facts))
    return there


def card(facts: Facts) -> str:
    """The whole text: front matter, English, Chinese, and the mark by which it is known again."""
    environment = _environment()
    parts = [environment.get_template(f"{language}.md.jinja").render(**facts, version=__version__) for language in ("en", "zh")]
    text = front_matter(facts) + "\n" + "\n".join(re.sub(r"\n{3,}", "\n\n", part).strip() + "\n" for part in parts) + "\n"
    return text + f"<!-- belle card {_digest(text)} -->\n"


def replaceable(text: str) -> bool:
    """Whether a README.md is a card that belle wrote and nobody changed, or a library's empty form."""
    mark = _MARK.search(text)
    return _BOILERPLATE in text or (mark is not None and mark[1] == _digest(text[: mark.start()]))


def front_matter(facts: Facts) -> str:
    """The YAML block that the Hugging Face hub reads; keys of which nothing is known are left out."""
    languages = [name for name in ("zh", "en") if name in facts["languages"]]
    base = facts["base"]
    head: dict[str, Any] = {
        "language": languages or None,
        "license": str(facts["licence"]["model"]).lower() if facts["licence"]["model"] else None,
        "library_name": "transformers" if facts["model"]["whole"] else "peft",
        "pipeline_tag": "text-generation",
        "base_model": base["name"] if base and base["hub"] else None,
        "tags": ["belle", *dict.fromkeys(run["verb"] for run in facts["chain"] if run["verb"] != "run")],
    }
    if results := _results(facts):
        head["model-index"] = [{"name": facts["name"], "results": results}]
    kept = {key: value for key, value in head.items() if value is not None}
    return f"---\n{yaml.safe_dump(kept, allow_unicode=True, sort_keys=False)}---\n"


def _results(facts: Facts) -> list[dict[str, Any]]:
    evaluation = facts["evaluation"]
    if evaluation is None:
        return []
    metrics = [{"type": key, "value": round(cell["value"], 4), "name": key} for key, cell in evaluation["scores"].items() if cell]
    names = ", ".join(file["name"] for file in evaluation["files"]) or evaluation["name"]
    return [{"task": {"type": "text-generation"}, "dataset": {"name": names, "type": names}, "metrics": metrics}]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PAGES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    environment.filters |= {"cell": cell, "score": score, "thousands": thousands, "megabytes": megabytes, "listed": listed}
    return environment


def cell(value: Any) -> str:
    """A text that someone else wrote, so that it can neither leave its cell nor be markup."""
    text = " ".join(str(value).split())
    for mark, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "'"), ("[", "\\["), ("]", "\\]")):
        text = text.replace(mark, safe)
    return text


def score(value: Mapping[str, Any] | None, key: str, missing: str) -> str:
    """A metric with its interval: shares in percent."""
    if not value:
        return missing
    if key in SHARES:
        return f"{100 * value['value']:.1f} % [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def thousands(value: float | None, missing: str) -> str:
    """A count, its thousands apart."""
    return missing if value is None else f"{value:,.0f}"


def megabytes(value: float) -> str:
    """Bytes in MB."""
    return f"{value / 1e6:,.1f} MB"


def listed(counts: Mapping[str, Any], missing: str) -> str:
    """`name count, ...`, the largest first."""
    return ", ".join(f"{cell(name)} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1])) or missing


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
