"""A folder of exported files: GGUF files, and the model and the runs that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from belle.errors import BelleError
from belle.lineage import RunFolder
from belle.models.load import locate
from belle.release.subject import Subject, chain_of
from belle.sections import ModelSection


@dataclass
class Exported:
    """A folder with GGUF files, or one such file, the model they came from (None where it is gone), and the runs behind it."""

    folder: Path
    paths: list[Path]
    source: Subject | None = None
    chain: list[RunFolder] = field(default_factory=list)
    run: RunFolder | None = None
    licences: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls, path: str, source: str | None = None, named: Mapping[str, str] | None = None) -> Exported | None:
        """What a path holds in GGUF files; None where that is none of them.

        Args:
            source: the model they came from; None means as their run noted it.
        """
        paths = gguf_files(path)
        if not paths:
            return None
        place = Path(path).expanduser()
        folder = place if place.is_dir() else place.parent
        chain = chain_of(folder if (folder / "run.json").is_file() else None)
        run = next((found for found in chain if found.path.resolve() == folder.resolve()), None)
        section = ModelSection(path=source) if source else None
        if section is None and run is not None:
            section = ModelSection(**run.info["recipe"]["model"])
        return cls(folder, paths, _source(section), chain, run, named or {})

    @cached_property
    def readers(self) -> dict[Path, Any]:
        """Each file, opened.

        Raises:
            BelleError: one is truncated or no GGUF file.
        """
        import gguf

        out = {}
        for path in self.paths:
            try:
                out[path] = gguf.GGUFReader(path)
            except (ValueError, IndexError, KeyError, OSError, OverflowError) as error:
                raise BelleError(f"{path.name} is truncated or no GGUF file: {error}", "export it again") from error
        return out

    @property
    def wholes(self) -> dict[Path, Any]:
        """The files that hold a model, not an adapter."""
        return {path: reader for path, reader in self.readers.items() if value(reader, "general.type") != "adapter"}


def gguf_files(path: str) -> list[Path]:
    """The GGUF files of a folder, or the one that is named; none where it is something else, such as a model's own folder."""
    place = Path(path).expanduser()
    if any((place / name).is_file() for name in ("config.json", "adapter_config.json")):
        return []
    return [place] if place.suffix == ".gguf" and place.is_file() else sorted(place.glob("*.gguf"))


def value(reader: Any, name: str) -> Any:
    """A value of a file's header; None where it is not there."""
    entry = reader.fields.get(name)
    return None if entry is None else entry.contents()


def _source(section: ModelSection | None) -> Subject | None:
    if section is None:
        return None
    try:
        found = locate(section.path)
        return Subject.open(section) if Path(found.base).is_dir() else None
    except BelleError:
        return None  # gone: said by every check that would have compared with it
