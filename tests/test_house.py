"""The rules of the house (docs/architecture.md), read from the source: floors, sizes, what the ground may import."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELLE = ROOT / "belle"
FLOORS = (
    ("config", "sections", "records", "jsonl", "runs", "lineage", "errors", "logs"),
    ("models", "data", "tokenizer", "pages"),
    ("inference", "train", "quantization"),
    ("evaluation", "curation", "serve", "release"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
"""From the ground up. The ground is one folder; above it, folders on one floor do not import each other."""
GROUND_MAY_IMPORT = {"pydantic", "yaml", "rich"}
UNSAFE = ("eval", "exec", "pickle.load", "pickle.loads", "torch.load")
IMPORT_NAMES = {"yaml": "pyyaml", "llama_cpp": "llama-cpp-python"}
"""Packages that are imported under another name than they are installed by."""

FILES = sorted(BELLE.rglob("*.py"))
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def imports(module: str, typing_too: bool = True) -> Iterator[tuple[int, str]]:
    """(line, imported module or name in it) for every import of a module, those inside functions as well."""
    stack: list[ast.AST] = [ast.parse(MODULES[module].read_text(encoding="utf-8"))]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not typing_too:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield node.lineno, full if full in MODULES else str(node.module)
        stack.extend(ast.iter_child_nodes(node))


def place(module: str) -> tuple[int, str]:
    """(floor, folder or ground) of a module of belle; the package itself holds only the version and is below all."""
    if module == "belle":
        return -1, "belle"
    top = module.split(".")[1]
    floors = [n for n, names in enumerate(FLOORS) if top in names]
    assert floors, f"{module} stands on no floor: give {top!r} a place in FLOORS"
    return floors[0], "ground" if floors[0] == 0 else top


def misplaced(module: str) -> list[str]:
    """The imports of a module that go up, or across to another folder of its floor."""
    floor, folder = place(module)
    wrong = []
    for line, name in imports(module):
        if name.split(".")[0] != "belle":
            continue
        to_floor, to_folder = place(name)
        if to_floor > floor or (to_floor == floor and to_folder != folder):
            wrong.append(f"{module}:{line} imports {name}")
    return wrong


@pytest.mark.parametrize("module", MODULES)
def test_every_module_imports(module: str) -> None:
    assert importlib.import_module(module)


def test_imports_go_down_the_floors() -> None:
    assert [line for module in MODULES for line in misplaced(module)] == []


def test_a_wrong_import_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import belle.cli\nfrom belle.models import load\nfrom belle.jsonl import dumps\n"
        "def f():\n    from belle.train.losses import IGNORE\n"
    )
    monkeypatch.setitem(MODULES, "belle.data.bad", bad)
    assert sorted(misplaced("belle.data.bad")) == [
        "belle.data.bad:1 imports belle.cli", "belle.data.bad:2 imports belle.models.load",
        "belle.data.bad:5 imports belle.train.losses",
    ]  # fmt: skip


def test_no_import_goes_round() -> None:
    graph = {m: {name for _, name in imports(m, typing_too=False) if name in MODULES} - {m} for m in MODULES}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError and names the circle
    assert order[0] == "belle"


@pytest.mark.parametrize("module", FLOORS[0])
def test_the_ground_imports_little(module: str) -> None:
    third = {name.split(".")[0] for _, name in imports(f"belle.{module}")} - set(sys.stdlib_module_names) - {"belle"}
    assert third <= GROUND_MAY_IMPORT


def test_what_is_imported_is_declared() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = {re.match(r"[\w.-]+", name)[0].lower().replace("_", "-") for name in re.findall(r'^    "(.+)",$', project, re.M)}
    declared |= {re.match(r"[\w.-]+", name)[0].lower() for line in re.findall(r"^\w+ = \[(.+)\]$", project, re.M)
                 for name in re.findall(r'"(.+?)"', line)}  # fmt: skip
    third = {name.split(".")[0] for module in MODULES for _, name in imports(module)} - set(sys.stdlib_module_names) - {"belle"}
    undeclared = {name for name in third if IMPORT_NAMES.get(name, name).lower().replace("_", "-") not in declared}
    assert undeclared - {"markupsafe"} == set()  # markupsafe is half of jinja2
    assert {"torch", "pydantic"} <= third, "the test reads imports"


def test_no_module_is_named_like_a_dependency() -> None:
    third = {name.split(".")[0] for module in MODULES for _, name in imports(module)} - {"belle"}
    assert {path.stem for path in FILES} & (third | {"utils", "common", "constants", "helpers", "misc"}) == set()


def test_files_are_short() -> None:
    paths = [path for folder in ("belle", "tests", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    long = {str(p.relative_to(ROOT)): n for p in paths if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert long == {}


def test_packages_re_export_nothing() -> None:
    assert [str(p) for p in BELLE.rglob("__init__.py") if p.parent != BELLE and p.read_text(encoding="utf-8").strip()] == []


def test_parts_do_not_look_around() -> None:
    """Only the ground and commands may read the command line or the environment; nothing unpickles or evaluates text."""
    found = []
    for module, path in MODULES.items():
        may_look = module == "belle" or place(module)[1] in ("ground", "commands", "cli", "__main__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, (ast.Attribute, ast.Name)) else ""
            if text in ("os.environ", "os.getenv", "sys.argv") and not may_look:
                found.append(f"{module}:{node.lineno} {text}")
            if isinstance(node, ast.Call) and ast.unparse(node.func) in UNSAFE:
                found.append(f"{module}:{node.lineno} {ast.unparse(node.func)}")
    assert found == []


def test_tests_mirror_the_package() -> None:
    folders = {path.parent.name for path in FILES if path.parent != BELLE}
    mirrored = {path.parent.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert folders - mirrored == set()


def tracked() -> list[Path]:
    """The files of the repository, those not yet added as well."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_nothing_names_one_machine() -> None:
    hosts = "|".join(f"{name}[.]org" for name in ("pypi", "pythonhosted", "npmjs", "debian"))
    pattern = re.compile(rf"(?<![\w.$}}])/(?:root|work|opt|home)/[\w.]|\b(?:{hosts})\b")
    assert pattern.search("see /" + "work/x")
    assert pattern.search("https://" + "pypi" + ".org/x")
    found = []
    for path in tracked():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}:{n}: {line[:120]}" for n, line in enumerate(lines, 1) if pattern.search(line)]
    assert found == []


def test_no_large_or_binary_file_is_tracked() -> None:
    limits = {".safetensors": 0, ".gguf": 0, ".bin": 0, ".pt": 0, ".whl": 0}
    heavy = [str(p.relative_to(ROOT)) for p in tracked() if p.stat().st_size > limits.get(p.suffix, 2_000_000)]
    assert heavy == []
