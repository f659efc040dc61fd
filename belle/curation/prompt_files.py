"""The prompts of generation: text files with places like `{{examples}}`, belle's own or the user's.

A prompt is `KIND_LANGUAGE.txt`, such as `math_zh.txt`; beside it may stand `KIND_topics_LANGUAGE.txt`, a topic a line. A folder
of the user's holds those files that should be other than belle's; a name that is none of belle's is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from belle.errors import BelleError, nearest

SHIPPED = Path(__file__).parent / "prompts"
_PLACE = re.compile(r"\{\{([^{}\n]*)\}\}")


class Prompt:
    """A text with places.

    Args:
        path: its file.
        places: name -> whether the text must have it.

    Raises:
        BelleError: the file cannot be read or is empty, has a place of another name, or lacks one that it must have.
    """

    def __init__(self, path: Path, places: Mapping[str, bool]) -> None:
        self.path, self.text = path, _read(path)
        found = {place[1].strip() for place in _PLACE.finditer(self.text)}
        known = ", ".join(f"{{{{{name}}}}}" for name in places)
        for place in _PLACE.finditer(self.text):
            name = place[1].strip()
            if name not in places:
                line = self.text.count("\n", 0, place.start()) + 1
                guess = nearest(name, list(places))
                raise BelleError(f"{path}:{line}: unknown place {place[0]}.{guess}", f"the places are {known or 'none'}")
        for name, must in places.items():
            if must and name not in found:
                raise BelleError(
                    f"{path}: the place {{{{{name}}}}} is missing", f"write it where it belongs; the places are {known}"
                )

    def fill(self, **values: object) -> str:
        """The text with every place filled. What is filled in may hold such marks itself: they stay as they are."""
        return _PLACE.sub(lambda place: str(values[place[1].strip()]), self.text).strip()


def load_prompt(folder: Path | None, kind: str, language: str, places: Mapping[str, bool]) -> Prompt:
    """The prompt of a kind: the user's where the folder has it, else belle's."""
    return Prompt(_find(folder, f"{kind}_{language}.txt"), places)


def load_topics(folder: Path | None, kind: str, language: str) -> tuple[str, ...]:
    """The topics of a kind, one a line; lines that begin with # are remarks.

    Raises:
        BelleError: the file cannot be read, or has none.
    """
    path = _find(folder, f"{kind}_topics_{language}.txt")
    lines = [line.strip() for line in _read(path).splitlines()]
    topics = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not topics:
        raise BelleError(f"{path}: there is no topic in it", "write one a line")
    return topics


def check_folder(folder: Path, kinds: Iterable[str]) -> None:
    """See that a folder of the user's is one, and that belle would read every text file in it.

    Raises:
        BelleError: it is none, it has no prompt, or a file's name is none that belle looks for.
    """
    if not folder.is_dir():
        raise BelleError(f"prompts: {str(folder)!r} is no folder", f"copy {SHIPPED} and edit the copy")
    known = sorted(
        {f"{kind}{middle}_{language}.txt" for kind in kinds for middle in ("", "_topics") for language in ("zh", "en")}
    )
    known += [path.name for path in SHIPPED.glob("*.txt") if path.name not in known]
    names = sorted(path.name for path in folder.glob("*.txt"))
    for name in names:
        if name not in known:
            raise BelleError(
                f"prompts: {str(folder / name)!r} is read by nothing.{nearest(name, known)}", "rename it or take it away"
            )
    if not names:
        raise BelleError(f"prompts: {str(folder)!r} holds no prompt", f"copy files of {SHIPPED} into it and edit them")


def _find(folder: Path | None, name: str) -> Path:
    own = folder / name if folder is not None else None
    return own if own is not None and own.is_file() else SHIPPED / name


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BelleError(f"prompt {str(path)!r} cannot be read: {error}", "give a text file in UTF-8") from error
    if not text.strip():
        raise BelleError(f"prompt {str(path)!r} is empty")
    return text
