"""The sources of a mixture on the disk: read once, as rows that can be fetched in any order, with the size of each."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from belle.data import rendering
from belle.data.formats import RecordStream
from belle.data.overlap import texts_of
from belle.errors import BelleError, nearest
from belle.jsonl import atomic_path, dumps, read_json
from belle.records import Conversation, Document, Preference, Record, record_dict
from belle.sections import DataSection

Measure = Callable[[str], int]
_TEMPLATES = Path(rendering.__file__).parent / "chat_templates"


@dataclass(frozen=True)
class Spool:
    """One source as `spool` wrote it."""

    name: str
    path: Path
    places: NDArray[np.int64]
    """[n, 2] where each row begins in the file, and its size in the unit of the ratio."""
    facts: dict[str, Any]
    """{"kind", "dropped", "counts", "files", "made_from"}."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """[n] the size of each record."""
        return self.places[:, 1]

    def dropped(self) -> Iterator[dict[str, Any]]:
        """Rows that were left out, each with its reason."""
        with (self.path / "dropped.jsonl").open(encoding="utf-8") as file:
            yield from map(json.loads, file)

    def open(self) -> IO[bytes]:
        """The file that `places` points into; a row is a line."""
        return (self.path / "rows.jsonl").open("rb")


class Templated:
    """Turns a conversation into a document for pre-training (ChatHome's MIP: instructions mixed into pre-training).

    Args:
        name: a shipped chat template, or the path of a .jinja file. Its bos and eos tokens are empty here: documents get
            theirs where they are tokenised.

    Raises:
        BelleError: there is no such template, or it is not valid.
    """

    def __init__(self, name: str) -> None:
        shipped = sorted(path.stem for path in _TEMPLATES.glob("*.jinja"))
        path = _TEMPLATES / f"{name}.jinja" if name in shipped else Path(name)
        try:
            source = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            fix = f"give the path of a .jinja file or one of: {', '.join(shipped)}"
            raise BelleError(f"no chat template {name!r}.{nearest(name, shipped)}", fix) from error
        except UnicodeDecodeError as error:
            raise BelleError(f"{name}: not UTF-8 text: {error}", "save the template as UTF-8") from error
        self._renderer = rendering.Renderer(name, source, {"bos_token": "", "eos_token": ""}, ())

    def __call__(self, record: Conversation) -> Document:
        """The document. Raises: BelleError: the template refuses the conversation."""
        try:
            text = self._renderer.render(record.messages, record.tools, prompt=False)
        except BelleError as error:
            raise BelleError(f"{record.source}: {error.message}", error.fix) from error
        return Document(rendering.unmarked(text).strip("\n"), record.id, record.category, record.source)


def spool(name: str, section: DataSection, folder: Path, measure: Measure | None, template: str | None, made_from: str) -> Spool:
    """Read a source and lay it down in `folder`; what an earlier, killed call laid down from the same is taken as it is.

    Args:
        measure: the size of a text; None gives each record the size 1.
        template: what makes documents of conversations; None keeps them.
        made_from: a hash of everything that the source depends on.

    Raises:
        BelleError: as `load_records`.
    """
    path = folder / name
    if not (path / "facts.json").exists() or read_json(path / "facts.json")["made_from"] != made_from:
        kind = source_kind(section)
        if template is not None and kind is Preference:
            raise BelleError("it has preference pairs, of which no documents are made", "take the template away")
        with atomic_path(path) as part:
            part.mkdir()
            _write(part, name, section, kind, measure, Templated(template) if template is not None else None, made_from)
    return Spool(name, path, np.load(path / "places.npy", allow_pickle=False), read_json(path / "facts.json"))


def source_kind(section: DataSection) -> type[Record]:
    """What the first sound record of a source is.

    Raises:
        BelleError: it is nothing that belle reads; the error of conversations is told.
    """
    told: BelleError | None = None
    for kind in (Document, Preference, Conversation):
        try:
            stream: RecordStream[Any] = RecordStream(section, kind)
            for found in stream:
                if not isinstance(found, dict):
                    return kind
        except BelleError as error:
            told = error
    raise told if told is not None else BelleError("it has no record", "leave the source out")


def _write(
    part: Path, name: str, section: DataSection, kind: type[Any], measure: Measure | None, template: Templated | None,
    made_from: str,
) -> None:  # fmt: skip
    stream: RecordStream[Any] = RecordStream(section, kind)
    places = array("q")  # 16 bytes a record
    at = dropped = 0
    with (part / "rows.jsonl").open("wb") as rows, (part / "dropped.jsonl").open("w", encoding="utf-8", newline="\n") as left_out:
        for found in stream:
            record = found if isinstance(found, dict) or template is None else _document(found, template)
            if isinstance(record, dict):
                where = {"source": record["source"], "step": "mix", "reason": record["reason"], "detail": f"of source {name}"}
                left_out.write(dumps(where | {"row": record["row"]}) + "\n")
                dropped += 1
                continue
            size = 1 if measure is None else sum(map(measure, texts_of(record)))
            line = (dumps(record_dict(record) | {"source": f"{name} {record.source}"}) + "\n").encode()
            places.extend((at, size))
            at += rows.write(line)
    np.save(part / "places.npy", np.frombuffer(places, np.int64).reshape(-1, 2), allow_pickle=False)
    kept = Document if template is not None else kind
    facts = {
        "kind": kept.__name__, "dropped": dropped, "counts": dict(+stream.counts), "files": stream.files, "made_from": made_from,
    }  # fmt: skip
    (part / "facts.json").write_text(dumps(facts), encoding="utf-8")


def _document(record: Record, template: Templated) -> Record | dict[str, Any]:
    """The document of a conversation. One with a thumb down is left out: it is marked as such, but a document would be learnt."""
    if not isinstance(record, Conversation):
        return record
    if record.label is False:
        return {"source": str(record.source), "reason": "label is false: an answer not to learn", "row": record_dict(record)}
    return template(record)
