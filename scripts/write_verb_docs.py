"""Write docs/verbs/<verb>.md from each verb's docstring and keys: `python scripts/write_verb_docs.py`.

A test compares the pages with what this script would write, so run it after changing a key or a docstring.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

from belle.cli import VERBS, positional_keys
from belle.config import keys, shipped

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "verbs"


def page(verb: str) -> str:
    """The page of one verb."""
    module = importlib.import_module(VERBS[verb])
    about, _, examples = inspect.cleandoc(module.__doc__ or "").partition("\nExamples:\n")
    summary, _, text = about.strip().partition("\n")
    names = sorted(path.stem for path in (shipped("recipes") / verb).glob("*.yaml"))
    bare = positional_keys(module)
    lines = [f"# belle {verb}", "", summary, "", text.strip(), ""] if text.strip() else [f"# belle {verb}", "", summary, ""]
    lines += ["```bash", inspect.cleandoc("\n" + examples), "```", ""]
    if names:
        lines += ["Shipped recipes: " + ", ".join(f"[{name}](../../recipes/{verb}/{name}.yaml)" for name in names) + ".", ""]
    if len(bare) > 1:
        lines += [f"Bare words are, in this order, {', '.join(f'`{key}`' for key in bare)}.", ""]
    elif bare:
        several = "; there may be several." if bare[0].endswith("[]") else "."
        lines += [f"A bare word is `{bare[0].removesuffix('[]')}`{several}", ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key, kind, default, meaning in keys(module.Config):
        cells = (f"`{key}`", kind, f"`{default}`" if default and default != "required" else default, meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if hasattr(module, "help_lines"):  # what `--help` prints behind the keys
        lines += ["", "```text", *module.help_lines(), "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write every page and remove those of verbs that are gone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.md"):
        if old.stem not in VERBS:
            old.unlink()
    for verb in VERBS:
        (FOLDER / f"{verb}.md").write_text(page(verb), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
