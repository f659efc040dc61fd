from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import pytest

from belle.curation.catalogue import _import, _options, known_steps
from belle.curation.outline import describe, plain_type
from belle.errors import BelleError


def test_a_step_says_what_it_does_and_takes() -> None:
    assert describe("own_steps:too_short") == (
        "Removes texts with fewer characters than `least`.", [("least", "whole number", "5")],
    )  # fmt: skip
    assert describe("own_steps:Forbidden")[1] == [("words", "list of text", "required")]
    assert describe("own_steps:Length")[1] == [("scale", "number", "1.0")]
    assert describe("own_steps:TooFewScores")[1] == [("scale", "number", "1.0")], "of the class that it goes back to"
    assert describe("own_steps:SameText")[1] == [("seed", "whole number", "7")], "the context is no option"


@pytest.mark.parametrize("name", known_steps())
def test_it_is_what_an_import_would_find(name: str) -> None:
    target = known_steps()[name][1]
    step = _import(target)
    summary, options = describe(target)
    assert summary == (inspect.getdoc(step) or "").split("\n")[0]
    found = _options(step)
    assert [option for option, _, _ in options] == list(found)
    for option, kind, default in options:
        assert (default == "required") == (found[option][2] is inspect.Parameter.empty)
        assert "Annotated" not in kind
        assert "Literal" not in kind
        value = found[option][2]
        if isinstance(value, tuple):
            assert default == str(list(value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert float(default) == value


@pytest.mark.parametrize(("annotation", "words"), [
    ("Annotated[float, Field(gt=0)] | None", "number | absent"), ("Literal['a', 'b']", "a | b"), ("Spec", "section"),
    ("dict[str, int]", "text: whole number, ..."), ("tuple[Literal['x'], ...]", "list of x"), ("'int'", "whole number"),
    ("Kind", "filter | edit | score | set step"),
])  # fmt: skip
def test_types_are_words(annotation: str, words: str) -> None:
    assert plain_type("belle.curation.catalogue", ast.parse(annotation, mode="eval").body) == words


@pytest.mark.parametrize("target", ["no_such_module:x", "own_steps:nothing", "own_steps:np"])
def test_what_is_not_there_is_said(target: str) -> None:
    with pytest.raises(BelleError, match=target.partition(":")[2] if "own" in target else "no_such_module"):
        describe(target)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from belle.commands.clean import help_lines; help_lines(); print({'numpy', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
