"""A model walked block by block: one transformer block in memory, its inputs for all calibration samples carried along."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from belle.errors import BelleError
from belle.models.tensors import Tensors, empty, empty_model, fill, settle_tied
from belle.quantization.hessian import Hessian

Linears = dict[str, torch.nn.Linear]


@dataclass(frozen=True)
class Stage:
    """Linears of a block that get the same input; `source` is the module that gives it, where it comes from one untouched."""

    linears: tuple[str, ...]
    source: str | None = None


class _Reached(Exception):  # noqa: N818 - no error: what was to be seen has been seen
    pass


class Walk:
    """`start` once; then for each block `load`, whatever is done to its Linears, `carry`, `unload`."""

    def __init__(
        self, folder: Path, samples: torch.Tensor, dtype: torch.dtype, device: torch.device, trust_remote_code: bool = False
    ) -> None:
        """Read the shape of the model, not its weights.

        Args:
            samples: [samples, length] token ids.
            dtype: of the arithmetic; weights are rounded from what is stored.
        """
        self.tensors, self.dtype, self.device = Tensors(folder), dtype, device
        self.model = empty_model(folder, dtype, trust_remote_code)
        self.names, self._blocks = find_blocks(self.model)
        self._samples = samples
        self._first: list[torch.Tensor] = []
        self._hidden: list[torch.Tensor] = []
        self._calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    @torch.no_grad()
    def start(self) -> None:
        """Run what stands before the blocks for every sample, and learn what each block is called with beside its input."""
        head = self.model.get_output_embeddings()
        heads = tuple(f"{name}." for name, module in self.model.named_modules() if module is head)
        inside = tuple(f"{name}." for name in self.names)
        lacking = fill(self.model, "", self.tensors, self.dtype, self.device, inside + heads)
        settle_tied(self.model, lacking)
        rest = self._output_behind_hidden()
        for number, block in enumerate(self._blocks):
            block.forward = self._recorder(number, rest)
        for ids in self._samples:
            self._run(ids)
        for block in self._blocks:
            del block.forward
        empty(self.model)
        self.tensors.close()
        self._first = list(self._hidden)

    def restart(self) -> None:
        """Put every sample before the first block again."""
        self._hidden = list(self._first)

    def load(self, number: int) -> torch.nn.Module:
        """The block, with its weights.

        Raises:
            BelleError: the checkpoint lacks one.
        """
        block = self._blocks[number]
        if lacking := fill(block, f"{self.names[number]}.", self.tensors, self.dtype, self.device):
            fix = "check that its files are complete; an architecture whose files name weights otherwise is not known here"
            raise BelleError(f"{lacking[0]!r} is missing in {str(self.tensors.folder)!r}", fix)
        return block

    def unload(self, number: int) -> None:
        """Give the block's memory back."""
        empty(self._blocks[number])
        self.tensors.close()

    def block(self, number: int) -> torch.nn.Module:
        """The block as it is, loaded or not."""
        return self._blocks[number]

    def parameter(self, number: int, name: str) -> torch.nn.Parameter:
        """A parameter of a block by its name there."""
        return self._blocks[number].get_parameter(name)

    def find(self, number: int, name: str) -> torch.nn.Parameter | None:
        """The same, or None where the block has none of that name."""
        return dict(self._blocks[number].named_parameters()).get(name)

    def weight(self, number: int, linear: str) -> torch.Tensor:
        """[out, in] float32: a Linear's weight as it is stored."""
        return self.tensors[f"{self.names[number]}.{linear}.weight"].to(self.device).float()

    @torch.no_grad()
    def stages(self, number: int) -> list[Stage]:
        """The Linears of a loaded block in the order in which they are reached."""
        block = self._blocks[number]
        inputs: dict[str, torch.Tensor] = {}
        outputs: list[tuple[str, torch.Tensor]] = []  # tensors are kept so that no two have the same identity

        def watch(name: str, module: torch.nn.Module) -> Any:
            def hook(module: Any, args: tuple[Any, ...], output: Any) -> None:
                if isinstance(module, torch.nn.Linear):
                    inputs[name] = args[0]
                if isinstance(output, torch.Tensor):
                    outputs.append((name, output))

            return module.register_forward_hook(hook)

        hooks = [watch(name, module) for name, module in block.named_modules() if name]
        try:
            self._call(number, 0)
        finally:
            for hook in hooks:
                hook.remove()
        stages: dict[int, list[str]] = {}
        for name, x in inputs.items():
            stages.setdefault(id(x), []).append(name)
        sources = {id(output): name for name, output in reversed(outputs)}
        return [Stage(tuple(names), sources.get(key)) for key, names in stages.items()]

    @torch.no_grad()
    def collect(self, number: int, stages: Sequence[Stage]) -> list[Hessian]:
        """The inputs of some stages over all samples; the forward pass ends where the last of them is reached."""
        block = self._blocks[number]
        found, hooks, last = [], [], stages[-1]
        for stage in stages:
            linear = block.get_submodule(stage.linears[0])
            hessian = Hessian(int(linear.in_features), self.device)  # type: ignore[arg-type]

            def hook(module: Any, args: tuple[Any, ...], hessian: Hessian = hessian, ends: bool = stage is last) -> None:
                hessian.add(args[0])
                if ends:
                    raise _Reached

            hooks.append(linear.register_forward_pre_hook(hook))
            found.append(hessian)
        try:
            for sample in range(len(self._hidden)):
                with contextlib.suppress(_Reached):
                    self._call(number, sample)
        finally:
            for handle in hooks:
                handle.remove()
        return found

    @torch.no_grad()
    def output(self, number: int, sample: int = 0) -> torch.Tensor:
        """[1, length, hidden]: what a loaded block makes of one sample."""
        out = self._call(number, sample)
        hidden: torch.Tensor = out[0] if isinstance(out, tuple) else out
        return hidden

    def carry(self, number: int) -> None:
        """Let every sample through the block as it now is."""
        for sample in range(len(self._hidden)):
            self._hidden[sample] = self.output(number, sample)

    def _call(self, number: int, sample: int) -> Any:
        args, kwargs = self._calls[number]
        return self._blocks[number](self._hidden[sample], *args, **kwargs)

    def _run(self, ids: torch.Tensor) -> None:
        with contextlib.suppress(_Reached):
            self.model(input_ids=ids[None].to(self.device), use_cache=False)

    def _output_behind_hidden(self) -> tuple[Any, ...] | None:
        """What a block returns behind its hidden states; None where it returns them alone."""
        seen: list[Any] = []

        def stop(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen.append((args, kwargs))
            raise _Reached

        handle = self._blocks[0].register_forward_pre_hook(stop, with_kwargs=True)
        self._run(self._samples[0])
        handle.remove()
        out = self.load(0)(*seen[0][0], **seen[0][1])
        return out[1:] if isinstance(out, tuple) else None

    def _recorder(self, number: int, rest: tuple[Any, ...] | None) -> Any:
        last = number == len(self._blocks) - 1

        def forward(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if number == 0:
                self._hidden.append(hidden_states)
            if len(self._hidden) == 1:  # masks and positions are those of every sample: all have one length
                self._calls.append((args, kwargs))
            if len(self._hidden) > 1 or last:
                raise _Reached
            return hidden_states if rest is None else (hidden_states, *rest)

        return forward


def find_blocks(model: Any) -> tuple[list[str], list[torch.nn.Module]]:
    """The transformer blocks of a model and their names: the list of as many modules as the config counts layers.

    Raises:
        BelleError: there is none that holds Linears.
    """
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count and linears(module):
            return [f"{name}.{number}" for number in range(count)], list(module)
    raise BelleError(f"{type(model).__name__} has no list of {count} blocks with Linears", "quantise another architecture")


def linears(module: torch.nn.Module) -> Linears:
    """The Linears in a module by name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)}
