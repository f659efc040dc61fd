"""The model that is to leave: its files, tokenizer and template, what made it, and the base that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from belle.data.chat_template import ChatTemplate
from belle.errors import BelleError
from belle.jsonl import read_json
from belle.lineage import RunFolder, gather
from belle.models.load import Located, load_model, load_tokenizer, locate
from belle.models.weights import Weights
from belle.runs import read_run
from belle.sections import ModelSection

if TYPE_CHECKING:
    import torch

MADE_FROM_ONE = ("merge", "quantize", "export", "diff", "hub")
"""Verbs that make a model of another without training it."""


@dataclass
class Subject:
    """What is looked at. Everything is read when it is first asked for; what cannot be read raises `BelleError` there.

    Args:
        section: as a recipe names the model.
        found: what that stands for.
        base: the folder that it came from, where there is one on this machine.
        chain: the runs that made it and its data, parents first; empty where it was made elsewhere.
        licences: what the user says of the licences of base and data, see `licences.py`.
    """

    section: ModelSection
    found: Located
    base: Path | None = None
    chain: list[RunFolder] = field(default_factory=list)
    licences: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, section: ModelSection, base: str | None = None, licences: Mapping[str, str] | None = None) -> Subject:
        """Find a model and what it came from.

        Raises:
            BelleError: there is no such model or no such base, or it is not on this machine.
        """
        found = locate(section.path)
        if not Path(found.base).is_dir():
            what = f"{found.base!r} is a name on a hub, and its files are to be looked at"
            raise BelleError(what, f"belle hub pull {found.base} models/{found.base.rpartition('/')[2]}")
        chain = chain_of(found.run)
        return cls(section, found, _base(found, chain, base), chain, licences or {})

    @property
    def folder(self) -> Path:
        """What leaves: the adapter's folder where it is one, else the model's."""
        return self.found.adapter or Path(self.found.base)

    @property
    def whole(self) -> bool:
        """Whether it is a model of its own, not an adapter."""
        return self.found.adapter is None

    @cached_property
    def weights(self) -> Weights:
        """Its tensors, as they lie in the files."""
        return Weights(self.folder if self.whole else self.folder / "adapter_model.safetensors")

    @cached_property
    def model_weights(self) -> Weights:
        """The tensors of the whole model; of an adapter, those of the model under it."""
        return self.weights if self.whole else Weights(Path(self.found.base))

    @cached_property
    def base_weights(self) -> Weights | None:
        """The base's tensors."""
        return Weights(self.base) if self.base is not None else None

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json of the model, of an adapter its base's."""
        return _object(Path(self.found.base) / "config.json")

    @cached_property
    def generation(self) -> dict[str, Any]:
        """generation_config.json, where there is one."""
        path = Path(self.found.base) / "generation_config.json"
        return _object(path) if path.is_file() else {}

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return load_tokenizer(self.section)

    @property
    def talks(self) -> bool:
        """Whether it has a chat template, or the recipe gives it one."""
        return bool(self.section.template or self.tokenizer.chat_template)

    @cached_property
    def template(self) -> ChatTemplate:
        """Its own chat template. Raises: BelleError: it has none."""
        return ChatTemplate.load(self.tokenizer, self.section.template)

    @cached_property
    def skeleton(self) -> Any:
        """The model that config.json describes, without memory for its weights.

        Raises:
            BelleError: transformers builds no model from it.
        """
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        trust = self.section.trust_remote_code
        try:
            config = AutoConfig.from_pretrained(self.found.base, trust_remote_code=trust)
            if hasattr(config, "quantization_config"):
                del config.quantization_config
            with torch.device("meta"):
                return AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RuntimeError) as error:
            what = f"no model can be built from {str(Path(self.found.base) / 'config.json')!r}: {error}"
            raise BelleError(what, "mend config.json") from error

    @cached_property
    def embedding(self) -> str:
        """The name of the tensor with a row for each token."""
        inside = self.skeleton.get_input_embeddings()
        return self.named(next(name for name, module in self.skeleton.named_modules() if module is inside) + ".weight")

    @cached_property
    def head(self) -> str:
        """The name of the tensor that gives each token its score; the embedding where both are one."""
        inside = self.skeleton.get_output_embeddings()
        name = self.named(next(name for name, module in self.skeleton.named_modules() if module is inside) + ".weight")
        return name if name in self.model_weights else self.embedding

    def named(self, name: str) -> str:
        """A tensor of the skeleton as the files call it: some leave the prefix of the inner model away."""
        short = name.removeprefix(f"{getattr(self.skeleton, 'base_model_prefix', '')}.")
        return short if name not in self.model_weights and short in self.model_weights else name

    @cached_property
    def model(self) -> Any:
        """Loaded, in float32 on a CPU, in evaluation mode."""
        import torch

        wide: torch.dtype | None = None if torch.cuda.is_available() else torch.float32
        return load_model(self.section, wide)

    @property
    def ends(self) -> list[int]:
        """The ids at which generation stops, as the files say."""
        ends = self.generation.get("eos_token_id", self.config.get("eos_token_id"))
        return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)

    def trained_by(self) -> RunFolder | None:
        """The last training in the chain."""
        return trained_by(self.chain)


def chain_of(run: Path | None) -> list[RunFolder]:
    """A run, those it came from, and those that made the files it read; parents first, nothing where there is no run."""
    folders = [] if run is None else [run]
    chain = gather(folders) if folders else []
    while True:
        have = {found.path.resolve() for found in chain} | {folder.resolve() for folder in folders}
        read = dict.fromkeys(Path(entry["path"]).parent for found in chain for entry in found.info.get("inputs", ()))
        new = [path for path in read if path.resolve() not in have and _is_run(path)]
        if not new:
            return chain
        folders += new
        chain = gather(folders)


def trained_by(chain: list[RunFolder]) -> RunFolder | None:
    """The last run of a chain that made a model and not only another form of one."""
    trainings = [
        run for run in chain if run.verb not in MADE_FROM_ONE and {"adapter", "model"} & run.info.get("products", {}).keys()
    ]
    return trainings[-1] if trainings else None


def training_template(run: RunFolder) -> ChatTemplate:
    """The template that a training run rendered its samples with, bound to the tokenizer that it saved.

    Raises:
        BelleError: the run's product is gone.
    """
    product = next((run.path / name for kind, name in run.info["products"].items() if kind in ("adapter", "model")), None)
    if product is None or not (product / "tokenizer_config.json").is_file():
        raise BelleError(f"the training run {str(run.path)!r} has no product with a tokenizer any more", "keep its folder")
    return ChatTemplate.load(load_tokenizer(ModelSection(path=str(run.path))))


def _base(found: Located, chain: list[RunFolder], named: str | None) -> Path | None:
    """The base as the user names it, else that of the adapter, else the first that the runs noted and that is still there."""
    if named is not None:
        return Path(locate(named).base)
    if found.adapter is not None:
        return Path(found.base)
    noted = [Path(entry["path"]) for run in chain for entry in run.info.get("inputs", ()) if entry["role"] == "base"]
    others = [path for path in noted if path.is_dir() and path.resolve() != Path(found.base).resolve()]
    return others[0] if others else None


def _is_run(folder: Path) -> bool:
    try:
        read_run(folder)
    except BelleError:
        return False
    return True


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise BelleError(f"{str(path)!r} is no JSON object", "get the file again from where it came")
    return value
