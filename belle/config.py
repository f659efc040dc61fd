"""Recipes: YAML and `key=value` become one typed, frozen object, or every mistake is named at once.

Only pydantic and PyYAML are imported here; nothing of torch, so a wrong key is found before a second has passed.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from belle.errors import BelleError, nearest

KeyPath = tuple[str | int, ...]
ROOT = Path(__file__).resolve().parent


class Section(BaseModel):
    """A group of keys in a recipe. A field's meaning stands under it as a docstring and is what `--help` prints."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_flag_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic reads true as 1; in a recipe that is a slip.
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and _section_of(wanted) is None and "bool" not in _type_name(wanted):
            raise ValueError(f"{str(value).lower()} is neither a number nor a text")
        return value

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


T = TypeVar("T", bound=Section)


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: `2e-4` is a number, and only true/false are booleans (so `no` and `on` stay words)."""

    yaml_implicit_resolvers: typing.ClassVar[dict[str, list[tuple[str, Any]]]] = {}  # type: ignore[misc]


_PLAIN = {
    "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "tag:yaml.org,2002:null": (r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:int": (r"^[-+]?[0-9]+$", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
}


class _Dumper(yaml.SafeDumper):
    """Quotes every text that `_Loader` or another YAML reader would take for something else."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # These end a line in YAML, and in single quotes they would come back as \n.
    style = '"' if any(char in text for char in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)

for _tag, (_pattern, _first) in _PLAIN.items():
    for _one in (_Loader, _Dumper):
        _one.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": lambda text: float(re.sub(r"\.(?=[in])", "", text.lower())),
    "bool": lambda text: text.lower() == "true",
    "null": lambda text: None,
}


def shipped(kind: str) -> Path:
    """The folder `recipes` or `data` that belle ships: in a checkout at its root, in a wheel inside the package."""
    beside = ROOT.parent / kind
    return beside if beside.is_dir() and (ROOT.parent / "pyproject.toml").exists() else ROOT / "shipped" / kind


def find_recipe(verb: str, name: str) -> Path:
    """The file of a recipe given by path, or by bare name among the shipped ones of this verb.

    Raises:
        BelleError: there is no such file; the message lists the shipped names.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = shipped("recipes") / verb
    names = sorted(p.stem for p in folder.glob("*.yaml"))
    if name in names:
        return folder / f"{name}.yaml"
    known = f"shipped recipes of {verb!r}: {', '.join(names) or 'none'}"
    raise BelleError(f"no recipe {name!r}.{nearest(name, names)} ({known})", "give a path to a .yaml file or one of those names")


def load(section: type[T], recipe: Path | None, overrides: Sequence[str] = ()) -> T:
    """Read a recipe file, lay `key=value` overrides on top (the last of two wins) and check the whole against `section`.

    Raises:
        BelleError: with one line for every mistake: file:line, key, what is wrong and the nearest valid key.
    """
    mistakes: list[str] = []
    places: dict[KeyPath, str] = {(): str(recipe or "command line")}
    tree: dict[str, Any] = {}
    if recipe is not None:
        tree = _read_yaml(recipe, places, mistakes)
    for word in overrides:
        _lay_over(tree, word, places, mistakes)
    config = None
    try:
        config = section.model_validate(tree)
    except ValidationError as error:
        mistakes += _explain_all(section, error, places)
    if mistakes or config is None:
        title = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise BelleError(f"{title} in the recipe:\n" + "\n".join(f"  {line}" for line in mistakes))
    return config


def to_yaml(config: Section) -> str:
    """The resolved recipe, every default included, as YAML that `load` reads back to an equal object."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def keys(section: type[Section], prefix: str = "") -> list[tuple[str, str, str, str]]:
    """Every key of a section and its sub-sections: (dotted key, type, default, meaning), in the order written."""
    rows: list[tuple[str, str, str, str]] = []
    for name, field in section.model_fields.items():
        inner, named = _section_of(field.annotation), _named_section_of(field.annotation)
        meaning = " ".join((field.description or "").split())
        if named is not None:
            rows.append((prefix + name, "sections by name", "required" if field.is_required() else "", meaning))
            rows += keys(named, f"{prefix}{name}.NAME.")
            continue
        if inner is None:
            default = "required" if field.is_required() else _show(field.get_default(call_default_factory=True))
            rows.append((prefix + name, _type_name(field.annotation), default, meaning))
            continue
        absent = type(None) in typing.get_args(field.annotation)
        rows.append((prefix + name, "section", "absent" if absent else "", meaning))
        rows += keys(inner, f"{prefix}{name}.")
    return rows


def _read_yaml(recipe: Path, places: dict[KeyPath, str], mistakes: list[str]) -> dict[str, Any]:
    try:
        text = recipe.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, Loader=_Loader)
    except UnicodeDecodeError as error:
        raise BelleError(f"{recipe}: not UTF-8 text: {error}", "save the recipe as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BelleError(f"{recipe}:{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise BelleError(f"{recipe}: not valid YAML: {error}") from error
    except OSError as error:
        raise BelleError(f"{recipe}: cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise BelleError(f"{recipe}: nested too deeply") from error
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise BelleError(f"{recipe}:1: a recipe is a mapping of keys, this is a {_node_name(node)}")
    try:
        value = _build(node, (), recipe, places, mistakes)
    except RecursionError as error:
        raise BelleError(f"{recipe}: nested too deeply; perhaps an alias (*name) stands inside its own anchor (&name)") from error
    assert isinstance(value, dict)
    return value


def _build(node: yaml.Node, path: KeyPath, recipe: Path, places: dict[KeyPath, str], mistakes: list[str]) -> Any:
    """Turn YAML nodes into plain values, noting where each key stands and which keys stand twice."""
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = f"{recipe}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                mistakes.append(f"{place}: a key is a word, this is a {_node_name(key_node)}")
                continue
            key = str(key_node.value)
            full: KeyPath = (*path, key)
            if key in out:
                mistakes.append(f"{place}: {'.'.join(map(str, full))}: written twice, first at {places[full]}")
                continue
            places[full] = place
            out[key] = _build(value_node, full, recipe, places, mistakes)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, i), recipe, places, mistakes) for i, item in enumerate(node.value)]
    kind, text = node.tag.removeprefix("tag:yaml.org,2002:"), str(node.value)
    where = f"{recipe}:{node.start_mark.line + 1}: {'.'.join(map(str, path))}"
    try:
        return _SCALARS[kind](text)
    except KeyError:
        mistakes.append(f"{where}: unknown YAML tag {node.tag!r}")
    except ValueError as error:  # !!int of a word, or more digits than Python reads
        mistakes.append(f"{where}: not valid YAML: {error}")
    return None


def _node_name(node: yaml.Node) -> str:
    return {yaml.ScalarNode: "word", yaml.SequenceNode: "list", yaml.MappingNode: "mapping"}[type(node)]


def _lay_over(tree: dict[str, Any], word: str, places: dict[KeyPath, str], mistakes: list[str]) -> None:
    dotted, equals, text = word.partition("=")
    if not equals or not dotted:
        mistakes.append(f"command line: {word!r} is not key=value")
        return
    path = tuple(dotted.split("."))
    here: Any = tree
    for n, part in enumerate(path[:-1], 1):
        if here.get(part) is None:
            here[part] = {}
        if not isinstance(here[part], dict):
            place, upper = places.get(path[:n], "command line"), ".".join(path[:n])
            mistakes.append(f"command line: {dotted}: {upper} is {here[part]!r} at {place}, and has no keys under it")
            return
        here = here[part]
    here[path[-1]] = _value(text, path, places, mistakes)
    places[path] = "command line"


def _value(text: str, path: KeyPath, places: dict[KeyPath, str], mistakes: list[str]) -> Any:
    """What `key=text` means: a list or mapping in brackets, a quoted text, a number or word; else the text as it stands."""
    try:
        node = yaml.compose(text, Loader=_Loader) if text.strip() else None
    except (yaml.YAMLError, RecursionError):
        return text
    if node is None:
        return None
    as_it_stands = isinstance(node, yaml.ScalarNode) and node.style is None and node.value != text.strip()  # 'issue #3'
    unbracketed = isinstance(node, yaml.CollectionNode) and not node.flow_style  # 'Note: be brief'
    return text if as_it_stands or unbracketed else _build(node, path, Path("command line"), places, mistakes)


def _explain_all(section: type[Section], error: ValidationError, places: dict[KeyPath, str]) -> list[str]:
    """A line for every key that is wrong. Of a key that may have several types pydantic complains once for each."""
    found: dict[str, list[tuple[str, str]]] = {}
    for item in error.errors(include_url=False):
        where, message, given = _explain(section, item, places)
        found.setdefault(where, []).append((message, given))
    return [f"{where}: {' or '.join(dict.fromkeys(m for m, _ in each))}{each[0][1]}" for where, each in found.items()]


def _explain(section: type[Section], item: Any, places: dict[KeyPath, str]) -> tuple[str, str, str]:
    """One pydantic error in the words of the recipe: (place and key, what is wrong, what was given)."""
    known: list[str] = []
    general: list[str] = []  # the same path as `keys` writes it, with NAME for a name of the user's own
    here: type[Section] | None = section
    named: type[Section] | None = None
    for part in item["loc"]:
        if (here is None and named is None) or not isinstance(part, str):
            break  # inside a value: what pydantic adds here names types, not keys
        known.append(part)
        general.append(part if here is not None else "NAME")
        annotation = here.model_fields[part].annotation if here is not None and part in here.model_fields else None
        here, named = (_section_of(annotation), _named_section_of(annotation)) if named is None else (named, None)
    dotted = ".".join(known)
    place = next(places[tuple(known[:n])] for n in range(len(known), -1, -1) if tuple(known[:n]) in places)
    where = f"{place}: {dotted or 'recipe'}"
    if item["type"] == "extra_forbidden":
        names = [_with_names(row[0], general, known) for row in keys(section)]
        leaf = known[-1]
        sibling = [n for n in names if n.rsplit(".", 1)[0] == ".".join(known[:-1]) or ("." not in n and len(known) == 1)]
        moved = [f" Did you mean {n!r}?" for n in names if n.rsplit(".", 1)[-1] == leaf]  # the right key at the wrong place
        hint = moved[0] if moved else nearest(dotted, sibling) or _same_leaf(leaf, names) or nearest(dotted, names)
        return where, f"unknown key.{hint}", ""
    if item["type"] == "missing":
        return where, "required, and missing", ""
    given = f" (given: {item['input']!r})"
    if item["type"] == "model_type":
        return where, "is a section, its keys stand under it", given
    if item["type"] == "dict_type":
        return where, "names stand under it, each with what belongs to it: {NAME: ...}", given
    return where, item["msg"].removeprefix("Value error, ").removeprefix("Input "), given


def _with_names(key: str, general: Sequence[str], known: Sequence[str]) -> str:
    """The key with the user's own name where `keys` writes NAME, as far as it goes the same way."""
    parts = key.split(".")
    for n, (part, general_part) in enumerate(zip(parts, general, strict=False)):
        if part != general_part:
            break
        parts[n] = known[n]
    return ".".join(parts)


def _same_leaf(leaf: str, names: Sequence[str]) -> str:
    leaves = {name.rsplit(".", 1)[-1]: name for name in names}
    hint = nearest(leaf, list(leaves))
    return f" Did you mean {leaves[hint.split(chr(39))[1]]!r}?" if hint else ""


def _section_of(annotation: Any) -> type[Section] | None:
    """The section inside `Section` or `Section | None`, else None."""
    options = () if typing.get_origin(annotation) is dict else typing.get_args(annotation)
    for option in (annotation, *options):
        if isinstance(option, type) and issubclass(option, Section):
            return option
    return None


def _named_section_of(annotation: Any) -> type[Section] | None:
    """The section inside `dict[str, Section]`, whose keys are names of the user's own, else None."""
    if typing.get_origin(annotation) is not dict:
        return None
    return _section_of(typing.get_args(annotation)[1])


def _type_name(annotation: Any) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(map(str, args))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type_name(a) for a in args if a is not type(None))
    if origin is typing.Annotated:
        return _type_name(args[0])
    if annotation is ...:
        return "..."
    if args:
        return f"{getattr(origin, '__name__', origin)}[{', '.join(_type_name(a) for a in args)}]"
    return getattr(annotation, "__name__", str(annotation))


def _show(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, str):
        return value or '""'
    return str(value).lower() if isinstance(value, bool) else str(list(value) if isinstance(value, tuple) else value)
