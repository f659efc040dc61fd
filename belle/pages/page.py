"""The frame of every page that belle writes: one file that needs nothing else, no network, no second file.

Everything that a user or a model wrote is escaped by the template engine, and the page's own content policy lets no script
run but the one that belle ships (its hash is in the page), so an answer such as `<img onerror=...>` is only text.

To make a page: a folder with `page.html.jinja` that extends `frame.html.jinja`, and, if needed, `script.js` and `style.css`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from belle import __version__

FRAME = Path(__file__).parent


def render(folder: Path, title: str, **values: Any) -> str:
    """The page of a template folder as text; the folder's script and style stand behind the frame's."""
    script, style = (
        "\n".join(path.read_text(encoding="utf-8") for path in (FRAME / ours, folder / theirs) if path.exists())
        for ours, theirs in (("frame.js", "script.js"), ("style.css", "style.css"))
    )
    text = _environment(folder).get_template("page.html.jinja").render(
        title=title, version=__version__, style=Markup(style), script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(), **values,
    )  # fmt: skip
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be written


def embed(value: Any) -> Markup:
    """JSON that can stand inside a script element whatever the texts in it: it holds no `<`, `>` or `&`."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def number(value: float | None, share: bool = False) -> str:
    """A metric as the page shows it: a share in percent, anything else with three decimals."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}%" if share else f"{value:.3f}"


def signed(value: float, share: bool = False, unit: bool = True) -> str:
    """A difference, with its sign; of shares in percentage points."""
    text = f"{100 * value:+.1f}{' pt' if unit else ''}" if share else f"{value:+.3f}"
    return text.replace("-", "−")


def count(value: float | None) -> str:
    """A count with thousands apart, shortened from a hundred thousand on."""
    if value is None:
        return "–"
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 100 * size or (abs(value) >= size and unit in "BM"):
            return f"{value / size:.1f} {unit}".replace(".0 ", " ")
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def pretty(value: Any) -> str:
    """Any value of run.json as indented text."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, FRAME]), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "signed": signed, "count": count, "duration": duration, "pretty": pretty}
    environment.globals["language_name"] = lambda key: {"zh": "中文", "en": "English", "other": "other languages"}.get(key, key)
    environment.globals["class_name"] = lambda key: str(key).replace("_", " ")
    return environment
