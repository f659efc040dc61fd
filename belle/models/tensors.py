"""A model without its weights, and weights one tensor at a time: for work that holds one block of layers in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from belle.errors import BelleError
from belle.models.weights import Weights

_TOGETHER = "check that its files are complete and belong together"


class Tensors:
    """The tensors of a safetensors folder, each read when it is asked for. Iterates over their names."""

    def __init__(self, folder: Path) -> None:
        """Open and check every file.

        Raises:
            BelleError: see `Weights`.
        """
        self.folder, self._weights = folder, Weights(folder)
        self._open: dict[Path, Any] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        path = next(file.path for file in self._weights.files if name in file.entries)
        if path not in self._open:
            self._open[path] = opened(path)
        tensor: torch.Tensor = self._open[path].get_tensor(name)
        return tensor

    def close(self) -> None:
        """Let go of the files: what was read of them no longer counts as this process's memory. They open again by themselves."""
        self._open.clear()

    def __contains__(self, name: str) -> bool:
        return name in self._weights

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)


def opened(path: Path) -> Any:
    """A safetensors file, open for reading."""
    from safetensors import safe_open

    file: Any = safe_open(path, framework="pt")
    return file  # good without `with`: it is closed when it is forgotten


def empty_model(folder: Path, dtype: torch.dtype, trust_remote_code: bool = False) -> Any:
    """The causal language model of a folder's config, every parameter on the meta device, every buffer computed.

    Args:
        dtype: what the config says of it; `fill` decides which type the weights get.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=trust_remote_code)
    return model.requires_grad_(False).eval()


def fill(
    module: torch.nn.Module, prefix: str, tensors: Tensors, dtype: torch.dtype, device: torch.device, skip: tuple[str, ...] = ()
) -> list[str]:
    """Give a module its weights: those named `prefix` + their name in the module. Computed buffers go to `device` too.

    Args:
        skip: weights whose name begins with one of these are left as they are.

    Returns:
        The names of those that the folder lacks; they stay on the meta device.
    """
    found, lacking = {}, []
    for part in module.modules():
        for name, buffer in part._buffers.items():
            if buffer is not None and not buffer.is_meta:
                part._buffers[name] = buffer.to(device)
    for name, old in module.state_dict().items():
        if skip and (prefix + name).startswith(skip):
            continue
        if prefix + name not in tensors:
            lacking.append(prefix + name)
            continue
        new = tensors[prefix + name]
        if new.shape != old.shape:
            raise BelleError(f"{prefix + name} has shape {list(new.shape)}, not {list(old.shape)}", _TOGETHER)
        found[name] = new.to(device, dtype if new.is_floating_point() else new.dtype)
    module.load_state_dict(found, strict=False, assign=True)
    module.requires_grad_(False)
    return lacking


def empty(module: torch.nn.Module) -> None:
    """Put a module's parameters back on the meta device; its buffers stay."""
    for part in module.modules():
        for name, old in part._parameters.items():
            if old is not None:
                part._parameters[name] = torch.nn.Parameter(old.to("meta"), requires_grad=False)


def settle_tied(model: Any, lacking: list[str]) -> None:
    """Tie what the config ties, and see that every parameter has its weights.

    Raises:
        BelleError: a parameter is still without.
    """
    model.tie_weights()
    left = [name for name, parameter in model.named_parameters() if parameter.is_meta and name in set(lacking)]
    if left:
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        raise BelleError(f"{left[0]!r} is missing in the checkpoint{more}", _TOGETHER)
