"""What a step does and takes, read from its source without importing it: `belle clean --help` must not wait for numpy."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from belle.errors import BelleError

Option = tuple[str, str, str]
"""Name, type and default of an option, in plain words."""
NOT_OPTIONS = ("context", "self")
"""Parameters that are given by the pipeline, not by the recipe."""
PLAIN = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "None": "absent", "Any": "anything"}
_ABSENT: dict[str | None, str] = {"None": "absent", "True": "true", "False": "false", "()": "[]", "''": '""'}


def describe(target: str) -> tuple[str, list[Option]]:
    """(first line of a step's docstring, its options) of `module:attribute`.

    Raises:
        BelleError: there is no such module, or nothing of this name in it.
    """
    module, _, name = target.partition(":")
    node = _find(module, name)
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        raise BelleError(f"{target!r} is no function or class", "name it my_package.module:name")
    return (ast.get_docstring(node) or "").split("\n")[0], list(_options(module, node))


def _options(module: str, node: ast.ClassDef | ast.FunctionDef) -> Iterator[Option]:
    if isinstance(node, ast.ClassDef):
        init = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
        if init is None:
            for field in node.body if any("dataclass" in ast.unparse(each) for each in node.decorator_list) else ():
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield field.target.id, plain_type(module, field.annotation), _default(module, field.value)
            for base in node.bases:
                parent = _find(module, ast.unparse(base))
                if isinstance(parent, ast.ClassDef):
                    yield from _options(module, parent)
            return
        node = init
    named = node.args.posonlyargs + node.args.args
    defaults = [None] * (len(named) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = list(zip(named, defaults, strict=True))[1:]  # the first is self, or the record
    for parameter, default in [*pairs, *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]:
        if parameter.arg not in NOT_OPTIONS:
            yield parameter.arg, plain_type(module, parameter.annotation), _default(module, default)


def plain_type(module: str, node: ast.expr | None) -> str:
    """An annotation in words: `Annotated[float, Field(gt=0)] | None` is `number | absent`."""
    if node is None:
        return "anything"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body  # an annotation in quotes
    if isinstance(node, ast.BinOp):
        return f"{plain_type(module, node.left)} | {plain_type(module, node.right)}"
    if isinstance(node, ast.Subscript):
        head, inner = ast.unparse(node.value).split(".")[-1], node.slice
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if head == "Annotated":
            return plain_type(module, parts[0])
        if head == "Literal":
            return " | ".join(str(ast.literal_eval(part)) for part in parts)
        if head in ("dict", "Mapping"):
            return f"{plain_type(module, parts[0])}: {plain_type(module, parts[1])}, ..."
        if head in ("tuple", "list", "Sequence", "frozenset", "set"):
            return f"list of {plain_type(module, parts[0])}"
    text = ast.unparse(node)
    if text in PLAIN:
        return PLAIN[text]
    found = _find(module, text)
    if isinstance(found, ast.ClassDef):
        return "section"
    return plain_type(module, found) if isinstance(found, ast.expr) else text


def _default(module: str, node: ast.expr | None) -> str:
    if node is None:
        return "required"
    if isinstance(node, ast.Name) and isinstance(found := _find(module, node.id), ast.expr):
        node = found  # a constant of the module
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return "section" if isinstance(node, ast.Call) else ast.unparse(node)
    text = str(list(value) if isinstance(value, tuple | set) else value)
    return _ABSENT.get(repr(value), text)


def _find(module: str, name: str) -> ast.AST | None:
    """What a name means in a module: a class, a function or the value given to it; imports from belle are followed."""
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return node.value
        if isinstance(node, ast.AnnAssign) and node.value is not None and ast.unparse(node.target) == name:
            return node.value
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "belle":
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(node.module, alias.name)
    return None


@functools.cache
def _tree(module: str) -> ast.Module:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise BelleError(f"there is no module {module!r}", "name it my_package.module:name")
    return ast.parse(Path(found.origin).read_text(encoding="utf-8"))
