"""belle: everyone's LLM engine.

Usage: belle <verb> [recipe] [key=value ...] [--dry-run] [--help]
"""

from __future__ import annotations

import ast
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from belle import __version__
from belle.config import ROOT, Section, find_recipe, keys, load, shipped, to_yaml
from belle.errors import BelleError, nearest

VERBS = {
    "demo": "belle.commands.demo",
    "doctor": "belle.commands.doctor",
    "selfinstruct": "belle.commands.selfinstruct",
    "stats": "belle.commands.stats",
    "mix": "belle.commands.mix",
    "clean": "belle.commands.clean",
    "tokenizer": "belle.commands.tokenizer",
    "sft": "belle.commands.sft",
    "merge": "belle.commands.merge",
    "diff": "belle.commands.diff",
    "verify": "belle.commands.verify",
    "card": "belle.commands.card",
    "hub": "belle.commands.hub",
    "quantize": "belle.commands.quantize",
    "export": "belle.commands.export",
    "evaluate": "belle.commands.evaluate",
    "infer": "belle.commands.infer",
    "chat": "belle.commands.chat",
    "report": "belle.commands.report",
}
"""verb -> module. A module holds `Config`, `run(config)`, `plan(config)` and, if bare words
stand for keys, `POSITIONAL = "key"`, `("key", "other")` in this order, or `"key[]"` where
there may be several. With the key `recipe` a recipe is not read but handed to the verb."""


DATA_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".gz")


def main(argv: Sequence[str] | None = None) -> None:
    """The `belle` command. Leaves with 0, with 2 after a `BelleError`, with 130 after Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    warnings.simplefilter("ignore", FutureWarning)  # libraries telling each other what they will rename
    # torch then takes large tensors as huge pages: 7 % more tokens a second where a page fault is dear.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        _dispatch(words)
        sys.stdout.flush()  # here, where a full disk is still an error of ours to explain
    except BelleError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped; the same command again goes on from here", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # `belle ... | head` closed the pipe: nothing more to say to anyone
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("error: standard output cannot be written: no space left", file=sys.stderr)
        os._exit(2)  # the buffer would be tried once more at exit, with a traceback


def _dispatch(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return
    if words[0] in ("-V", "--version"):
        print(f"belle {__version__}")
        return
    verb = words[0]
    if verb not in VERBS:
        raise BelleError(f"unknown verb {verb!r}.{nearest(verb, list(VERBS))}", "`belle --help` lists the verbs")
    module = importlib.import_module(VERBS[verb])
    if any(word in ("-h", "--help") for word in words[1:]):
        print(verb_help(verb, module))
        return
    dry_run = "--dry-run" in words
    config = read_config(verb, module, [word for word in words[1:] if word != "--dry-run"])
    if dry_run:
        print(to_yaml(config), end="")
        print("\n".join(f"# {line}" for line in module.plan(config)))
        return
    module.run(config)


def read_config(verb: str, module: ModuleType, words: Sequence[str]) -> Section:
    """Sort the words after a verb into a recipe, bare words for the verb's positional key, and overrides."""
    recipe: Path | None = None
    bare: list[str] = []
    overrides: list[str] = []
    positional = positional_keys(module)
    many = any(key.endswith("[]") for key in positional)
    names = {path.stem for path in (shipped("recipes") / verb).glob("*.yaml")}
    for word in words:
        if word.startswith("-"):
            raise BelleError(f"unknown option {word!r}", f"keys are given as key=value; see `belle {verb} --help`")
        if "=" in word:
            overrides.append(word)
        elif not positional and word.lower().endswith(DATA_SUFFIXES):
            raise BelleError(f"{word!r} is data, not a recipe", f"belle {verb} demo data.path={word}")
        elif not positional or (positional != ("recipe",) and (word.endswith((".yaml", ".yml")) or word in names)):
            if recipe is not None:
                raise BelleError(f"two recipes: {str(recipe)!r} and {word!r}", "give one recipe and key=value")
            recipe = find_recipe(verb, word)
        else:
            bare.append(word)
    if len(bare) > len(positional) and not many:
        wanted = f"one {positional[0]}" if len(positional) == 1 else f"{len(positional)} words ({', '.join(positional)})"
        raise BelleError(f"{verb} takes {wanted}, not {len(bare)}: {' '.join(bare)}")
    if bare and many:
        overrides.insert(0, f"{positional[0].removesuffix('[]')}=[{', '.join(map(_quoted, bare))}]")
    else:
        overrides[:0] = [f"{key}={_quoted(word)}" for key, word in zip(positional, bare, strict=False)]
    config: Section = load(module.Config, recipe, overrides)
    return config


def positional_keys(module: ModuleType) -> tuple[str, ...]:
    """The keys that a verb's bare words stand for, in their order."""
    keys_: str | tuple[str, ...] = getattr(module, "POSITIONAL", ())
    return (keys_,) if isinstance(keys_, str) else keys_


def overview() -> str:
    """The text of `belle --help`. Summaries are read from the source, so that no command is imported."""
    lines = [(__doc__ or "").strip(), "", "Verbs:"]
    for verb, module in VERBS.items():
        source = (ROOT.parent / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")
        summary = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
        lines.append(f"  {verb:<12} {summary}")
    lines += ["", "Start with `belle demo`. `belle <verb> --help` shows every key with its default and two examples."]
    return "\n".join(lines)


def verb_help(verb: str, module: ModuleType) -> str:
    """The text of `belle <verb> --help`: what it does, examples, shipped recipes, every key."""
    import textwrap

    names = sorted(path.stem for path in (shipped("recipes") / verb).glob("*.yaml"))
    lines = [f"belle {verb} [recipe] [key=value ...] [--dry-run]", "", (module.__doc__ or "").strip(), ""]
    if names:
        lines += [f"Shipped recipes: {', '.join(names)}", ""]
    lines.append("Keys:")
    for key, kind, default, meaning in keys(module.Config):
        note = f"{kind}" + (f" = {default}" if default else "")
        lines.append(f"  {key}  ({note})")
        lines += textwrap.wrap(meaning, 100, initial_indent="      ", subsequent_indent="      ")
    more = getattr(module, "help_lines", None)
    return "\n".join(lines + (["", *more()] if more else []))


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"
