"""Run folders: what a verb did, from what, with what, and whether it finished.

A run folder holds `recipe.yaml` (resolved), `run.json` (lineage), `metrics.jsonl` and the verb's product. It is the only
wire between stages. Opening a finished run again does nothing; opening an interrupted one lets the verb resume; opening
one with another recipe is an error.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from belle import __version__
from belle.config import Section, to_yaml
from belle.errors import BelleError
from belle.jsonl import Appender, read_json, remove, settle, write_json, write_text

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors")
KEYS = {"id", "verb", "status", "seconds", "command", "recipe", "inputs", "parents", "notes", "metrics", "products"}
"""What stands in every run.json and is read again."""
SPARED = (".lock", ".reading")
"""What stays when a run folder is emptied: the lock, and what a verb has read before it takes the folder."""
MODEL_FILES = (".safetensors", ".gguf", ".json", ".jinja", ".model")
"""Suffixes of the files that make up a model; their hashes are noted when it is finished."""


def cache_dir() -> Path:
    """The user's cache folder for models and tokenised data: `BELLE_CACHE`, else the platform's own."""
    if os.environ.get("BELLE_CACHE"):
        return Path(os.environ["BELLE_CACHE"])
    base = Path.home() / "Library/Caches" if sys.platform == "darwin" else Path.home() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or base) / "belle"


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_text(text: str) -> str:
    """The sha256 of a text's UTF-8 bytes, as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_weights(folder: Path) -> str:
    """One sha256 over all `*.safetensors` of a folder, in the order of their names: the identity of a model."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(sha256_file(path).encode())
    return digest.hexdigest()


class Run:
    """One verb's work in its `output_dir`. Use `Run.open`.

    Nothing is written, and with `overwrite` nothing removed, before the first `add_input`, `note` or `metrics_file`: a
    mistake that shows while a verb reads its inputs leaves the folder as it was. Files of the verb's own come after that.
    """

    def __init__(self, path: Path, info: dict[str, Any], recipe: str, begun: bool) -> None:
        self.path, self.info = path, info
        self._recipe, self._begun = recipe, begun
        self._started = time.monotonic()
        self._lock: Any = None  # held as long as this object lives

    @classmethod
    def open(cls, verb: str, config: Section, output_dir: str, overwrite: bool = False) -> Run:
        """Create, resume or recognise the run of this recipe in `output_dir`.

        Raises:
            BelleError: the folder holds the run of another verb or recipe (the keys that differ are named), belongs to
                something else, or another process is working in it.
        """
        path = Path(output_dir)
        lock = _lock(path)
        info = earlier_run(verb, config, output_dir, overwrite)
        if info is not None:
            for old in path.glob(".*.old.part"):  # a folder that was being replaced when the process was killed
                settle(path / old.name.removeprefix(".").removesuffix(".old.part"))
        new = _new_info(verb, config.model_dump(mode="json"))
        run = cls(path, info or new, to_yaml(config), begun=info is not None)
        run._lock = lock
        return run

    @property
    def finished(self) -> bool:
        """Whether an earlier call brought it to its end."""
        return bool(self.info["status"] == "finished")

    def add_input(self, role: str, path: Path, sha256: str | None = None, **facts: Any) -> None:
        """Note a file or folder that went in, with its hash; the same role and path again replaces the note.

        `sha256` is given where it is known already, as large files are not read twice for nothing. A file that a run made, such
        as the kept.jsonl of `belle clean`, makes that run a parent.
        """
        digest = sha256 or (sha256_weights(path) if path.is_dir() else sha256_file(path))
        entry = {"role": role, "path": str(path), "sha256": digest, **facts}
        same = [i for i in self.info["inputs"] if (i["role"], i["path"]) == (role, str(path))]
        if same and same[0]["sha256"] != digest:
            raise BelleError(
                f"{path} has changed since this run began (sha256 {same[0]['sha256'][:12]} then, {digest[:12]} now)",
                "choose another output_dir, or pass overwrite=true to begin anew",
            )
        self.info["inputs"] = [i for i in self.info["inputs"] if i not in same] + [entry]
        self._write()
        if _is_product(path):
            self.add_parent(path.parent)

    def add_parent(self, path: Path) -> None:
        """Note the run folder that this one goes on from."""
        entry = {"path": str(path), "id": read_json(path / "run.json")["id"]}
        if entry not in self.info["parents"]:
            self.info["parents"].append(entry)
            self._write()

    def note(self, **facts: Any) -> None:
        """Keep facts beside the lineage: resolved choices, counts of what was dropped and why."""
        self.info["notes"].update(facts)
        self._write()

    def metrics_file(self, upto_step: int | None = None) -> Appender:
        """The growing `metrics.jsonl`; rows after `upto_step` belong to work that was lost and are cut off."""
        self._write()
        keep = None if upto_step is None else (lambda row: row.get("step", 0) <= upto_step)
        return Appender(self.path / "metrics.jsonl", keep)

    def finish(self, metrics: Mapping[str, Any], products: Mapping[str, str]) -> None:
        """Mark the run as finished; `products` names what it made by paths relative to the run folder.

        The hashes of a `model`, an `adapter` and of GGUF files are kept: what is released can be held against them.
        """
        self.info["seconds"] = round(self.info["seconds"] + time.monotonic() - self._started, 1)
        self.info |= {"status": "finished", "finished": _now(), "metrics": dict(metrics), "products": dict(products)}
        self.info["hashes"] = product_hashes(self.path, products)
        self._write()

    def _write(self) -> None:
        self._begin()
        write_json(self.path / "run.json", self.info)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            _clear(self.path)
            write_text(self.path / "recipe.yaml", self._recipe)


def _is_product(path: Path) -> bool:
    """Whether a file is what the run in its folder made."""
    if not path.is_file() or not (path.parent / "run.json").is_file():
        return False
    try:
        products = read_run(path.parent).get("products")
    except BelleError:  # a run.json that is not belle's
        return False
    return isinstance(products, dict) and path.name in products.values()


def product_hashes(folder: Path, products: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of each file of the models that a run made, by its path in the run folder."""
    paths: list[Path] = []
    for kind, name in products.items():
        place = folder / name
        if kind in ("model", "adapter") and place.is_dir():
            paths += sorted(path for path in place.iterdir() if path.suffix in MODEL_FILES and path.name != "run.json")
        elif place.is_file() and (place.suffix == ".gguf" or place.name == "Modelfile"):
            paths.append(place)
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}


def earlier_run(verb: str, config: Section, output_dir: str, overwrite: bool = False) -> dict[str, Any] | None:
    """The lineage of the run in `output_dir` that a new call would go on with; None where it would begin anew.

    Raises:
        BelleError: the folder holds the run of another verb or recipe, or belongs to something else.
    """
    path = Path(output_dir)
    earlier = (path / "run.json").exists()
    foreign = sorted(p.name for p in path.iterdir() if not p.name.startswith(".")) if path.is_dir() else []
    if foreign and foreign != ["recipe.yaml"] and not earlier:
        raise BelleError(f"{str(path)!r} holds other files ({', '.join(foreign[:3])})", "choose an empty output_dir")
    if not earlier or overwrite:
        return None
    info = read_run(path)
    _same_run(info, verb, config.model_dump(mode="json"), path)
    return info


def read_run(path: Path) -> dict[str, Any]:
    """The lineage of a run folder.

    Raises:
        BelleError: it is not a run folder.
    """
    if not (path / "run.json").is_file():
        raise BelleError(f"{str(path)!r} is not a run folder: it has no run.json", "name the output_dir of an earlier run")
    info = read_json(path / "run.json")
    lacks = sorted(KEYS - info.keys()) if isinstance(info, dict) else ["every key"]
    if lacks:
        file = str(path / "run.json")
        raise BelleError(f"{file!r} was not written by belle: it lacks {', '.join(lacks)}", "name another folder")
    assert isinstance(info, dict)
    return info


def _new_info(verb: str, recipe: dict[str, Any]) -> dict[str, Any]:
    now = _now()
    return {
        "id": sha256_text(f"{verb} {recipe} {now} {os.getpid()}")[:16], "verb": verb, "status": "running",
        "started": now, "finished": None, "seconds": 0.0, "command": _command(), "belle": __version__,
        "python": platform.python_version(), "platform": platform.platform(), "versions": _versions(),
        "recipe": recipe, "inputs": [], "parents": [], "notes": {}, "metrics": {}, "products": {},
    }  # fmt: skip


def _same_run(info: dict[str, Any], verb: str, recipe: dict[str, Any], path: Path) -> None:
    fix = "choose another output_dir, or pass overwrite=true to begin anew"
    if info["verb"] != verb:
        raise BelleError(f"{str(path)!r} holds a run of {info['verb']!r}, not of {verb!r}", fix)
    old, new = dict(_flat(info["recipe"])), dict(_flat(recipe))
    differ = [f"{k} was {old.get(k)!r}, is {new.get(k)!r}" for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
    # Where the folder lies, and what to do with an earlier run, is not what the run is.
    differ = [line for line in differ if not line.startswith(("overwrite was", "output_dir was"))]
    if differ:
        raise BelleError(f"{str(path)!r} holds a run of another recipe: " + "; ".join(differ[:6]), fix)


def _flat(tree: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(tree, dict):
        return [(prefix, tree)]
    return [pair for key, value in tree.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else key)]


def _clear(path: Path) -> None:
    """Empty a run folder of the earlier run; that it is one has been seen."""
    others = [p for p in path.iterdir() if p.name not in SPARED]
    for item in sorted(others, key=lambda p: p.name == "run.json"):  # the mark of ownership goes last
        remove(item)


def _lock(path: Path) -> Any:
    """Hold `.lock` until this process ends, however it ends."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = (path / ".lock").open("a")
    except OSError as error:
        raise BelleError(f"cannot write into output_dir {str(path)!r}: {error.strerror}", "choose another output_dir") from error
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass  # no such locks on Windows
    except OSError as error:
        raise BelleError(f"another process is working in {str(path)!r}", "wait for it, or choose another output_dir") from error
    return handle


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _command() -> str:
    return " ".join(["belle", *sys.argv[1:]])


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
