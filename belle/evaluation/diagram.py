"""The lineage picture: boxes for inputs and runs in layers from left to right, and curves between them, in pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from belle.lineage import RunFolder

BOX_WIDTH, BOX_HEIGHT = 204, 66
_GAP_X, _GAP_Y = 52, 18


@dataclass(eq=False)
class Box:
    """An input (layer 0), a run, or without a kind the gap that a curve takes past a layer."""

    kind: str
    title: str
    detail: str
    note: str
    layer: int
    sources: list[str] = field(default_factory=list)
    x: float = 0
    y: float = 0

    @property
    def height(self) -> int:
        """Its height in its layer."""
        return BOX_HEIGHT if self.kind else 0


@dataclass(frozen=True)
class Diagram:
    """What the page draws."""

    width: int
    height: int
    boxes: list[Box]
    edges: list[str]


def diagram(runs: Sequence[RunFolder]) -> Diagram:
    """Inputs that no run of the chain made, then the runs, each a layer behind what it came from (Sugiyama, 1981)."""
    boxes = _boxes(runs)
    ways = [[boxes[key], *_passing(boxes[key], box), box] for box in boxes.values() for key in box.sources]
    layers: list[list[Box]] = [[] for _ in range(1 + max(box.layer for box in boxes.values()))]
    for box in [*boxes.values(), *(gap for way in ways for gap in way[1:-1])]:
        layers[box.layer].append(box)
    _place([layer for layer in layers if layer], ways)
    placed = [box for layer in layers for box in layer]
    top = min(box.y for box in placed)
    for box in placed:
        box.y -= top
    width, height = max(box.x for box in placed) + BOX_WIDTH, max(box.y + box.height for box in placed)
    return Diagram(round(width), round(height), list(boxes.values()), [_curve(way) for way in ways])


def _boxes(runs: Sequence[RunFolder]) -> dict[str, Box]:
    """Inputs by their sha256, runs by their id."""
    inputs: dict[str, Box] = {}
    made: dict[str, Box] = {}
    for run in runs:
        sources = [str(parent.info["id"]) for parent in run.parents]
        for item in run.info.get("inputs", []):
            if not _made_by_parent(item, run.info):
                title = item["path"].replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
                inputs.setdefault(item["sha256"], Box(item["role"], title, f"sha256 {item['sha256'][:12]}", "", 0))
                sources.append(item["sha256"])
        note = run.lost or ("" if run.finished else str(run.info.get("status")))
        made[run.info["id"]] = Box(run.verb, run.name, f"run {run.info['id'][:12]}", note, run.depth + 1, sources)
    return inputs | made


def _made_by_parent(item: dict[str, Any], info: dict[str, Any]) -> bool:
    """Whether an input lies in the folder of a parent run, whose box then stands for it."""
    path = os.path.abspath(item["path"])
    parents = [os.path.abspath(parent["path"]) for parent in info.get("parents", [])]
    return any(path == parent or path.startswith(parent + os.sep) for parent in parents)


def _passing(a: Box, b: Box) -> list[Box]:
    return [Box("", "", "", "", layer) for layer in range(a.layer + 1, b.layer)]


def _place(layers: list[list[Box]], ways: list[list[Box]]) -> None:
    """Order each layer by the middle of what its boxes came from, and stack it about the common middle line."""
    before: dict[Box, list[Box]] = {}
    for way in ways:
        for a, b in pairwise(way):
            before.setdefault(b, []).append(a)
    for number, layer in enumerate(layers):
        if number:
            layer.sort(key=lambda box: sum(a.y + a.height / 2 for a in before.get(box, [])) / max(len(before.get(box, [])), 1))
        y = -(sum(box.height + _GAP_Y for box in layer) - _GAP_Y) / 2
        for box in layer:
            box.x, box.y = number * (BOX_WIDTH + _GAP_X), y
            y += box.height + _GAP_Y


def _curve(way: Sequence[Box]) -> str:
    """Through the gaps of a way, level across each layer."""
    parts: list[str] = []
    for a, b in pairwise(way):
        x1, y1, x2, y2 = a.x + BOX_WIDTH, a.y + a.height / 2, b.x, b.y + b.height / 2
        middle = (x1 + x2) / 2
        parts.append(f"{'L' if parts else 'M'}{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}")
    return "".join(parts)
