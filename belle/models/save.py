"""What leaves training: an ordinary folder that other tools read, with template, end tokens and the mark of its base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from belle.jsonl import atomic_path
from belle.models.load import Located, write_belonging


def save_adapter(model: Any, tokenizer: Any, folder: Path, found: Located, name: str) -> None:
    """Write a LoRA adapter. `name` is the base as the recipe calls it, so that the adapter is read on other machines too."""
    config = model.peft_config["default"]
    config.base_model_name_or_path = name
    if isinstance(config.target_modules, set):
        config.target_modules = sorted(config.target_modules)  # a set's order is another in every process
    with atomic_path(folder) as part:
        model.save_pretrained(part, save_embedding_layers=False)  # an adapter on the head does not carry the base's head
        tokenizer.save_pretrained(part)
        write_belonging(part, found.base)


def save_model(model: Any, tokenizer: Any, folder: Path, dtype: torch.dtype, end_token_ids: Sequence[int]) -> None:
    """Write a whole model. Generation ends at the template's end tokens, and at those it ended at before."""
    old = model.generation_config.eos_token_id
    before = old if isinstance(old, list) else [] if old is None else [old]
    model.generation_config.eos_token_id = list(dict.fromkeys([*end_token_ids, *before]))
    with atomic_path(folder) as part:
        model.to(dtype).save_pretrained(part)
        tokenizer.save_pretrained(part)


def stored_dtype(folder: str) -> torch.dtype:
    """The type that a checkpoint's weights are stored in: that of its first floating-point tensor."""
    from safetensors import safe_open

    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                dtype: torch.dtype = file.get_tensor(name).dtype
                if dtype.is_floating_point:
                    return dtype
    return torch.float32
