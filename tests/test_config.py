"""Recipes: what is read, what is refused, and in which words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from belle.config import Section, find_recipe, keys, load, shipped, to_yaml
from belle.errors import BelleError

Text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# Words that one YAML reader or another takes for something else than text.
Word = st.sampled_from([
    "no", "on", "yes", "~", "null", "True", "2e-4", "1e3", "007", "0x1F", "1_000", ".inf", "12:30", "2026-01-01", "", " ", "- a",
    "a: b", "#x", "[a", "{", "'", '"', "*a", "&a", "!x", "%", "@", "a #b", "1.", "=", "<<", "\x85", "\u2028", "a\nb", "\ufeff",
])  # fmt: skip


class Inner(Section):
    rate: Annotated[float, Field(gt=0)] = 1e-4
    """How fast
    it learns."""
    kind: Literal["cosine", "linear"] = "cosine"
    """Its shape."""
    batch: int = 8


class Recipe(Section):
    """A recipe with one key of every shape."""

    path: str
    """Where it is."""
    inner: Inner = Inner()
    """The inside."""
    other: Inner | None = None
    """Absent means off."""
    files: str | tuple[str, ...] = ()
    columns: dict[str, str] = {}
    count: int | None = None
    flag: bool = False
    rates: tuple[float, float] = (0.9, 0.999)


def read(tmp_path: Path, text: str, *overrides: str) -> Recipe:
    file = tmp_path / "r.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    return load(Recipe, file, overrides)


def mistakes(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    """The lines of the error, with the recipe's path cut to its name."""
    with pytest.raises(BelleError) as caught:
        read(tmp_path, text, *overrides)
    return caught.value.message.replace(str(tmp_path) + "/", "").splitlines()


def test_all_mistakes_are_named_at_once_with_line_and_nearest_key(tmp_path: Path) -> None:
    text = (
        "pth: x\n"
        "inner:\n"
        "  rate: -1\n"
        "  knd: linear\n"
        "  kind: cosin\n"
        "inner:\n"
        "  rate: 1\n"
        "batch: 3\n"
        "count: many\n"
        "flag: maybe\n"
        "files: {a: b}\n"
        "other: true\n"
        "xyzzy: 1\n"
    )
    assert mistakes(tmp_path, text) == [
        "12 mistakes in the recipe:",
        "  r.yaml:6: inner: written twice, first at r.yaml:2",
        "  r.yaml: path: required, and missing",
        "  r.yaml:3: inner.rate: should be greater than 0 (given: -1)",
        "  r.yaml:5: inner.kind: should be 'cosine' or 'linear' (given: 'cosin')",
        "  r.yaml:4: inner.knd: unknown key. Did you mean 'inner.kind'?",
        "  r.yaml:12: other: is a section, its keys stand under it (given: True)",
        "  r.yaml:11: files: should be a valid string or should be a valid tuple (given: {'a': 'b'})",
        "  r.yaml:9: count: should be a valid integer, unable to parse string as an integer (given: 'many')",
        "  r.yaml:10: flag: should be a valid boolean, unable to interpret input (given: 'maybe')",
        "  r.yaml:1: pth: unknown key. Did you mean 'path'?",
        "  r.yaml:8: batch: unknown key. Did you mean 'inner.batch'?",
        "  r.yaml:13: xyzzy: unknown key.",
    ]


@pytest.mark.parametrize("text", ["2e-4", '"2e-4"', "'2e-4'", "2.0e-4", "0.0002", "2E-4", "+2e-4", ".0002"])
def test_a_rate_may_be_written_in_any_way(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, f"path: x\ninner: {{rate: {text}}}").inner.rate == 2e-4
    assert load(Recipe, None, ["path=x", f"inner.rate={text}"]).inner.rate == 2e-4


@pytest.mark.parametrize("word", ["no", "on", "off", "yes", "y", "N", "12:30:00", "2026-01-01", "0x1F", "1_000", "0o17"])
def test_words_stay_words(tmp_path: Path, word: str) -> None:
    assert read(tmp_path, f"path: {word}").path == word
    assert load(Recipe, None, [f"path={word}"]).path == word


def test_numbers_become_text_where_text_is_asked_for(tmp_path: Path) -> None:
    assert read(tmp_path, "path: 2024").path == "2024"
    assert read(tmp_path, "path: x\ncolumns: {a: 1}").columns == {"a": "1"}


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e999"])
def test_only_finite_numbers(tmp_path: Path, value: str) -> None:
    assert "r.yaml:2: inner.rate: should be a finite number" in mistakes(tmp_path, f"path: x\ninner: {{rate: {value}}}")[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "r.yaml:1: a recipe is a mapping of keys, this is a list"),
        ("just words", "r.yaml:1: a recipe is a mapping of keys, this is a word"),
        ("path: x\n  count: 3\n", "r.yaml:2: not valid YAML: mapping values are not allowed here"),
        ("path: x\n\tcount: 3\n", "r.yaml:2: not valid YAML: found character '\\t' that cannot start any token"),
        ("path: [a\n", "r.yaml:2: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("path: x\n---\npath: y\n", "r.yaml:2: not valid YAML: but found another document"),
        ("path: *x\n", "r.yaml:1: not valid YAML: found undefined alias 'x'"),
        ("inner: &a\n  rate: *a\n", "r.yaml: nested too deeply; perhaps an alias (*name) stands inside its own anchor (&name)"),
        ("path: " + "[" * 5000 + "]" * 5000, "r.yaml: nested too deeply"),
        ("path: \x07\n", "r.yaml: not valid YAML: unacceptable character"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_error(tmp_path: Path, text: str, message: str) -> None:
    assert mistakes(tmp_path, text)[0].startswith(message)


def test_other_encodings_are_named(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes("path: 数据".encode("gb18030"))
    with pytest.raises(BelleError, match=r"r\.yaml: not UTF-8 text"):
        load(Recipe, tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_bytes("\ufeffpath: 数据\r\n".encode())
    assert load(Recipe, tmp_path / "r.yaml").path == "数据"


def test_odd_keys_and_tags_are_mistakes_like_others(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "path: {{name}}\n[a]: 1\ncount: !!int x\nflag: !mine x\nrates: [1, !!set x]")[1:] == [
        "  r.yaml:1: a key is a word, this is a mapping",
        "  r.yaml:2: a key is a word, this is a list",
        "  r.yaml:3: count: not valid YAML: invalid literal for int() with base 10: 'x'",
        "  r.yaml:4: flag: unknown YAML tag '!mine'",
        "  r.yaml:5: rates.1: unknown YAML tag 'tag:yaml.org,2002:set'",
        "  r.yaml:1: path: should be a valid string (given: {})",
        "  r.yaml:4: flag: should be a valid boolean (given: None)",
        "  r.yaml:5: rates: should be a valid number (given: None)",
    ]


def test_a_number_too_long_for_python_is_a_mistake(tmp_path: Path) -> None:
    [_, line] = mistakes(tmp_path, f"path: x\ncount: {'9' * 5000}")
    assert line.startswith("  r.yaml:2: count: not valid YAML: Exceeds the limit")


def test_an_empty_recipe_lacks_what_is_required(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "# nothing\n") == ["1 mistake in the recipe:", "  r.yaml: path: required, and missing"]
    with pytest.raises(BelleError, match="command line: path: required, and missing"):
        load(Recipe, None)


def test_overrides_lie_on_top_and_keep_what_stands_beside(tmp_path: Path) -> None:
    text = "path: x\ninner: {rate: 1, batch: 2}\nfiles: [a]\n"
    config = read(tmp_path, text, "inner.batch=5", "files=[b, c]", "other.rate=3", "rates=[0.5, 0.6]", "flag=true")
    assert config == Recipe(
        path="x", inner=Inner(rate=1, batch=5), files=("b", "c"), other=Inner(rate=3), rates=(0.5, 0.6), flag=True
    )
    assert read(tmp_path, "path: x\nother: {rate: 1}", "other=null").other is None
    assert read(tmp_path, text, "inner.batch=5", "inner.batch=6").inner.batch == 6


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("path=issue #3", "issue #3"),
        ("path=Note: be brief", "Note: be brief"),
        ("path=- a", "- a"),
        ("path=C:\\data", "C:\\data"),
        ("path=a=b", "a=b"),
        ("path=*.jsonl", "*.jsonl"),
        ("path=!important", "!important"),
        ("path=[not closed", "[not closed"),
        ("path='quoted #1'", "quoted #1"),
        ("path=you are\nbrief", "you are\nbrief"),
        ("path=--- x", "--- x"),
        ("path=你好：世界", "你好：世界"),
    ],
)
def test_text_on_the_command_line_is_taken_as_it_stands(word: str, path: str) -> None:
    assert load(Recipe, None, [word]).path == path


def test_mistakes_on_the_command_line_are_named_beside_those_of_the_file(tmp_path: Path) -> None:
    words = ["path", "inner.rat=3", "files.b=1", "path=", "columns={a: b, a: c}"]
    assert mistakes(tmp_path, "count: x\nfiles: a\n", *words)[1:] == [
        "  command line: 'path' is not key=value",
        "  command line: files.b: files is 'a' at r.yaml:2, and has no keys under it",
        "  command line:1: columns.a: written twice, first at command line:1",
        "  command line: path: should be a valid string (given: None)",
        "  command line: inner.rat: unknown key. Did you mean 'inner.rate'?",
        "  r.yaml:1: count: should be a valid integer, unable to parse string as an integer (given: 'x')",
    ]


@given(
    path=Text | Word, files=Text | st.lists(Text | Word, max_size=3),
    columns=st.dictionaries(Text | Word, Text | Word, max_size=3),
    rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False), count=st.none() | st.integers(), flag=st.booleans(),
    other=st.booleans(),
)  # fmt: skip
def test_the_resolved_recipe_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, path: str, files: Any, columns: dict[str, str], rate: float, count: int | None,
    flag: bool, other: bool,
) -> None:  # fmt: skip
    inner = Inner(rate=rate)
    config = Recipe(path=path, files=files, columns=columns, inner=inner, count=count, flag=flag, other=inner if other else None)
    file = tmp_path_factory.getbasetemp() / "round.yaml"
    file.write_text(to_yaml(config), encoding="utf-8", newline="")
    assert load(Recipe, file) == config


@given(Text | Word)
def test_any_text_can_be_given_on_the_command_line_when_quoted(text: str) -> None:
    from belle.cli import _quoted

    if text.isprintable():
        assert load(Recipe, None, [f"path={_quoted(text)}"]).path == text


def test_keys_tell_type_default_and_docstring() -> None:
    assert keys(Recipe) == [
        ("path", "str", "required", "Where it is."),
        ("inner", "section", "", "The inside."),
        ("inner.rate", "float", "0.0001", "How fast it learns."),
        ("inner.kind", "cosine | linear", "cosine", "Its shape."),
        ("inner.batch", "int", "8", ""),
        ("other", "section", "absent", "Absent means off."),
        ("other.rate", "float", "0.0001", "How fast it learns."),
        ("other.kind", "cosine | linear", "cosine", "Its shape."),
        ("other.batch", "int", "8", ""),
        ("files", "str | tuple[str, ...]", "[]", ""),
        ("columns", "dict[str, str]", "{}", ""),
        ("count", "int", "absent", ""),
        ("flag", "bool", "false", ""),
        ("rates", "tuple[float, float]", "[0.9, 0.999]", ""),
    ]


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe(path="x").path = "y"  # type: ignore[misc]


def test_shipped_recipes_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("sft", "demo") == shipped("recipes") / "sft/demo.yaml"
    with pytest.raises(BelleError, match=r"no recipe 'dmeo'\. Did you mean 'demo'\? \(shipped recipes of 'sft': .*demo"):
        find_recipe("sft", "dmeo")
    with pytest.raises(BelleError, match=r"no recipe 'x\.yaml'"):
        find_recipe("sft", "x.yaml")
    (tmp_path / "demo").write_text("path: x\n", encoding="utf-8")
    assert find_recipe("sft", "demo") == Path("demo")  # a file of one's own comes first


def test_a_wrong_key_is_found_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from belle.cli import main\n"
        "try: main(['sft', 'demo', 'optim.learning_rat=1'])\n"
        "finally: assert not {'torch', 'transformers', 'numpy', 'rich'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "command line: optim.learning_rat: unknown key. Did you mean 'optim.learning_rate'?" in done.stderr


@pytest.mark.parametrize("word", ["count=true", "share=false", "name=true"])
def test_true_is_no_number_and_no_text(word: str) -> None:
    class Numbers(Section):
        count: int = 1
        share: float = 0.5
        name: str = ""
        on: bool = False

    with pytest.raises(BelleError, match="is neither a number nor a text"):
        load(Numbers, None, [word])
    assert load(Numbers, None, ["on=true"]).on is True


class Source(Section):
    path: str
    """Where it lies."""
    weight: float = 1.0


class Mixture(Section):
    sources: dict[str, Source]
    """What is mixed."""
    weigh: bool = False


def test_sections_under_names_of_ones_own(tmp_path: Path) -> None:
    assert [row[:3] for row in keys(Mixture)] == [
        ("sources", "sections by name", "required"), ("sources.NAME.path", "str", "required"),
        ("sources.NAME.weight", "float", "1.0"), ("weigh", "bool", "false"),
    ]  # fmt: skip
    assert load(Mixture, None, ["sources.a.path=x", "sources.b={path: y, weight: 2}"]).sources == {
        "a": Source(path="x"), "b": Source(path="y", weight=2),
    }  # fmt: skip
    recipe = tmp_path / "r.yaml"
    recipe.write_text("sources:\n  a:\n    path: x\n    wieght: 2\n  b:\n    weight: two\n  c: 1\n", encoding="utf-8")
    with pytest.raises(BelleError) as error:
        load(Mixture, recipe)
    assert error.value.message.splitlines()[1:] == [
        f"  {recipe}:4: sources.a.wieght: unknown key. Did you mean 'sources.a.weight'?",
        f"  {recipe}:5: sources.b.path: required, and missing",
        f"  {recipe}:6: sources.b.weight: should be a valid number, unable to parse string as a number (given: 'two')",
        f"  {recipe}:7: sources.c: is a section, its keys stand under it (given: 1)",
    ]
    with pytest.raises(BelleError, match=r"sources: names stand under it, each with .* \(given: \[1\]\)"):
        load(Mixture, None, ["sources=[1]"])
