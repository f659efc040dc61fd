"""From an entry of a recipe's `steps:` to a step: names looked up, options checked against the step's own annotations.

An entry is a name (`empty`) or a name with options (`near_duplicates: {threshold: 0.7}`); a step of one's own is named
`my_package.module:name`. Every mistake is found before any data is read, and all are told at once.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from belle.curation.outline import NOT_OPTIONS
from belle.curation.steps import Context, Limits
from belle.errors import BelleError, nearest

Kind = Literal["filter", "edit", "score", "set step"]

TABLES: dict[Kind, str] = {
    "edit": "belle.curation.normalise:EDITS",
    "filter": "belle.curation.filters:FILTERS",
    "score": "belle.curation.quality:SCORES",
    "set step": "belle.curation.steps:SET_STEPS",
}
"""Where each kind's table stands; a table is name -> `module:attribute`."""


@dataclass(frozen=True)
class Spec:
    """A step as the recipe orders it, checked but not yet built: small, picklable, the same in every process."""

    number: int
    """Its place in the recipe, counted from 1."""
    label: str
    """Its name in counts and reasons; where a name stands twice in the recipe, with the number behind."""
    name: str
    kind: Kind
    target: str
    """`module:attribute`."""
    options: Mapping[str, Any]
    limits: Limits
    alone: bool
    """Whether it runs in the main process only."""

    @property
    def own(self) -> bool:
        """Whether it is a step that is not belle's."""
        return ":" in self.name

    def build(self, context: Context) -> Any:
        """The step itself, ready to be called.

        Raises:
            BelleError: the step refuses its options.
        """
        factory = _import(self.target)
        options = dict(self.options)
        if "context" in inspect.signature(factory).parameters:
            options["context"] = context
        return factory(**options) if isinstance(factory, type) else functools.partial(factory, **options)


def read_steps(entries: Sequence[Any], seed: int = 0) -> tuple[Spec, ...]:
    """Check the entries of a recipe's `steps:` and make specs of them.

    Raises:
        BelleError: naming every mistake by its key, such as `steps[3].near_duplicates.treshold`.
    """
    mistakes: list[str] = []
    specs: list[Spec] = []
    for position, entry in enumerate(entries):
        found = _read_entry(entry, position, seed, mistakes)
        if found is not None:
            specs.append(found)
    columns: dict[str, int] = {}
    for spec in specs:
        if spec.kind == "score" and spec.name in columns:
            mistakes.append(f"steps[{spec.number - 1}].{spec.name}: scored twice, first at steps[{columns[spec.name] - 1}]")
        columns |= {spec.name: spec.number} if spec.kind == "score" else {}
    for spec in [] if mistakes else specs:
        before = [name for name, number in columns.items() if number < spec.number]
        mistakes += _refused(spec, before)
    if mistakes:
        raise BelleError("\n".join(mistakes), "`belle clean --help` lists the steps and their options")
    names = Counter(spec.name for spec in specs)
    return tuple(replace(s, label=f"{s.name} (step {s.number})") if names[s.name] > 1 else s for s in specs)


def known_steps() -> dict[str, tuple[Kind, str]]:
    """Every step of belle: name -> (kind, `module:attribute`), in the order of the tables."""
    return {name: (kind, target) for kind, table in TABLES.items() for name, target in _import(table).items()}


def _read_entry(entry: Any, position: int, seed: int, mistakes: list[str]) -> Spec | None:
    where = f"steps[{position}]"
    given: Any = {}
    if isinstance(entry, str):
        name = entry
    elif isinstance(entry, Mapping) and len(entry) == 1:
        name, given = next(iter(entry.items()))
        given = {} if given is None else given
    else:
        mistakes.append(f"{where}: a step is a name, or one name with its options under it (given: {entry!r})")
        return None
    where = f"{where}.{name}"
    steps = {} if ":" in name else known_steps()
    if name not in steps and ":" not in name:
        mistakes.append(f"{where}: unknown step.{nearest(name, list(steps))}")
        return None
    if not isinstance(given, Mapping):
        mistakes.append(f"{where}: the options of a step are keys under its name (given: {given!r})")
        return None
    target = steps[name][1] if name in steps else name
    try:
        factory = _import(target)
        options = _options(factory)
    except BelleError as error:
        mistakes.append(f"{where}: {error.message}")
        return None
    kind = steps[name][0] if name in steps else _kind_of(factory)
    before = len(mistakes)
    limits = _limits(given, where, mistakes) if kind == "score" else Limits()
    rest = {key: value for key, value in given.items() if kind != "score" or key not in Limits.NAMES}
    checked = _check_options(options, rest, where, [*options, *(Limits.NAMES if kind == "score" else ())], mistakes)
    if "seed" in options:
        checked.setdefault("seed", seed)
    if len(mistakes) > before:
        return None
    return Spec(position + 1, name, name, kind, target, checked, limits, bool(getattr(factory, "alone", False)))


def _check_options(
    options: Mapping[str, tuple[str, Any, Any]], given: Mapping[str, Any], where: str, names: Sequence[str], mistakes: list[str]
) -> dict[str, Any]:
    checked = {}
    for key, value in given.items():
        if key not in options:
            known = f" Its options: {', '.join(names)}" if names else " It has no options"
            mistakes.append(f"{where}.{key}: unknown option.{nearest(str(key), names) or known}")
            continue
        ok, result = _validated(options[key][1], value)
        if ok:
            checked[key] = result
        else:
            mistakes.extend(f"{where}.{key}{inner}: {message} (given: {bad!r})" for inner, message, bad in result)
    for key, (_, _, default) in options.items():
        if default is inspect.Parameter.empty and key not in given and key != "seed":
            mistakes.append(f"{where}.{key}: required, and missing")
    return checked


def _validated(annotation: Any, value: Any) -> tuple[bool, Any]:
    """(True, the value in its type) or (False, [(inner key, message, what was given)])."""
    if annotation is inspect.Parameter.empty:
        return True, value
    if isinstance(value, bool) and "bool" not in str(annotation) and annotation is not Any:
        return False, [("", f"{str(value).lower()} is neither a number nor a text", value)]  # pydantic reads true as 1
    config = ConfigDict(coerce_numbers_to_str=True, allow_inf_nan=False)
    try:
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=config)
        except PydanticUserError:  # a section brings its own configuration
            adapter = TypeAdapter(annotation)
        return True, adapter.validate_python(value)
    except ValidationError as error:
        found: dict[str, tuple[str, Any]] = {}
        for item in error.errors(include_url=False):
            inner = "".join(f".{part}" for part in item["loc"] if isinstance(part, str) and part.isidentifier())
            text = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            found[inner] = (f"{found[inner][0]} or {text}", item["input"]) if inner in found else (text, item["input"])
        return False, [(inner, *each) for inner, each in found.items()]


def _limits(given: Mapping[str, Any], where: str, mistakes: list[str]) -> Limits:
    kinds: dict[str, Any] = {"at_least": float, "at_most": float, "only": tuple[str, ...]}
    options = {name: (name, kind, None) for name, kind in kinds.items()}
    before = len(mistakes)
    checked = _check_options(options, {k: v for k, v in given.items() if k in kinds}, where, list(kinds), mistakes)
    if "only" in checked and len(checked) > 1:
        mistakes.append(f"{where}.only: is for words, at_least and at_most are for numbers; a score is one of the two")
    return Limits(**checked) if len(mistakes) == before else Limits()


def _refused(spec: Spec, columns: Iterable[str]) -> list[str]:
    """What the step itself has against its options, and the score columns that it asks for and nothing before it makes."""
    try:
        step = spec.build(Context())
    except BelleError as error:
        return [f"steps[{spec.number - 1}].{spec.name}: {error.message}" + (f" ({error.fix})" if error.fix else "")]
    wanted = getattr(step, "columns", ()) if spec.kind == "set step" else ()
    lacking = [name for name in wanted if name not in columns]
    fix = f"; before it stand: {', '.join(columns) or 'none'}"
    return [f"steps[{spec.number - 1}].{spec.name}: needs the score {name!r} of a step before it{fix}" for name in lacking]


def _options(factory: Callable[..., Any]) -> dict[str, tuple[str, Any, Any]]:
    """The options of a step: name -> (name, annotation, default)."""
    function = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        hints = {}
    found = {}
    for n, parameter in enumerate(inspect.signature(function).parameters.values()):
        first = n == 0  # self, or the record
        if first or parameter.name in NOT_OPTIONS or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        found[parameter.name] = (parameter.name, hints.get(parameter.name, parameter.empty), parameter.default)
    return found


def _kind_of(factory: Any) -> Kind:
    if hasattr(factory, "prepare") and hasattr(factory, "decide"):
        return "set step"
    # What a function returns tells a filter from an edit; the pipeline treats the two alike.
    return "score" if getattr(factory, "is_score", False) else "filter"


def _import(target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise BelleError(f"{target!r} cannot be imported: {error}", "name it my_package.module:name") from error
    if not callable(found) and not isinstance(found, Mapping):
        raise BelleError(f"{target!r} is no function or class", "name a function of a record, or a class")
    return found
