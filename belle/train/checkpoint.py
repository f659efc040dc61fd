"""Checkpoints without pickle: tensors in safetensors, everything else in JSON, the folder in place at once.

A checkpoint holds the trained weights, the optimiser, the schedule and the random state; a run that goes on from it ends in
the same bits as one that was never stopped.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from belle.errors import BelleError

WEIGHTS = "weights.safetensors"
STATE = "state"


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that training changes, by name; the frozen ones are known from the base."""
    return {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}


def save_weights(model: torch.nn.Module, folder: Path) -> None:
    """Write the trained parameters to `folder`."""
    save_file(trained_weights(model), folder / WEIGHTS)


def load_weights(model: torch.nn.Module, folder: Path) -> None:
    """Read back what `save_weights` wrote, into a model of the same shape."""
    stored = load_file(folder / WEIGHTS)
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if stored.keys() != wanted.keys():
        odd = sorted(stored.keys() ^ wanted.keys())
        raise BelleError(f"the checkpoint {str(folder)!r} is of another model: {len(odd)} weights differ, first {odd[0]!r}")
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(stored[name])


def save_state(folder: Path, **parts: Any) -> None:
    """Write nested state (dicts, lists, numbers, tensors) as `state.json` and `state.safetensors`."""
    tensors: dict[str, torch.Tensor] = {}
    tree = _split(parts, tensors)
    save_file(tensors, folder / f"{STATE}.safetensors")
    (folder / f"{STATE}.json").write_text(json.dumps(tree), encoding="utf-8")


def load_state(folder: Path) -> dict[str, Any]:
    """Read back what `save_state` wrote."""
    tensors = load_file(folder / f"{STATE}.safetensors")
    parts: dict[str, Any] = _join(json.loads((folder / f"{STATE}.json").read_text(encoding="utf-8")), tensors)
    return parts


def random_state() -> dict[str, Any]:
    """The state of every random generator that training may draw from."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    state = {
        "python": random.getstate(),
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.random.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.random.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.random.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.random.set_rng_state_all(state["cuda"])


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint in `folder`: a folder with its final name is complete."""
    found = [p for p in folder.glob("step-*") if p.name.removeprefix("step-").isdigit()]
    return max(found, key=lambda p: int(p.name.removeprefix("step-")), default=None)


def _split(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON cannot say tensor, tuple or integer key; these are marked, and tensors moved to a table of their own."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _split(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_split(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_split(item, tensors) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _join(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_join(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((mark, content),) = value.items()
    if mark == "tensor":
        return tensors[content]
    if mark == "tuple":
        return tuple(_join(item, tensors) for item in content)
    return {key: _join(item, tensors) for key, item in content}
