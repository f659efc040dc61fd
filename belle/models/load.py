"""From a name in a recipe to a model in memory: embedded, run folder, local folder, adapter or hub.

An adapter is only ever put on the base that it was trained on; both are known by the sha256 of their weights.
"""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from belle.errors import BelleError
from belle.jsonl import read_json, write_json
from belle.models.embedded import embedded_model
from belle.models.packed_load import load_packed, packed_form
from belle.runs import Run, read_run, sha256_weights
from belle.sections import ModelSection

BELONGS = "belle.json"
"""The file beside an adapter's weights that knows its base: {"base_sha256"}."""

_INCOMPLETE = "check that its files are complete and belong together"


@dataclass(frozen=True)
class Located:
    """What a model path stands for: `base` is a folder or a hub name; `adapter` goes on top of it; `run` made it."""

    base: str
    adapter: Path | None = None
    run: Path | None = None


def locate(path: str) -> Located:
    """Find out what a `model.path` is, without loading anything.

    Raises:
        BelleError: nothing of that name, an unfinished run, or a folder without a model.
    """
    if path.startswith("embedded:"):
        return Located(str(embedded_model(path.removeprefix("embedded:"))))
    folder = Path(path).expanduser()
    if not folder.exists():
        if re.fullmatch(r"[\w.-]+/[\w.-]+", path) and not folder.parent.is_dir():
            return Located(path)
        raise BelleError(f"no model at {path!r}", "give a folder, a run folder, a hub name (owner/name) or embedded:NAME")
    if (folder / "run.json").is_file():
        return _locate_run(folder)
    if (folder / "adapter_config.json").is_file():
        return Located(locate(_base_of(folder)).base, folder)
    if (folder / "config.json").is_file():
        return Located(str(folder))
    raise BelleError(f"{path!r} holds no model: no config.json, adapter_config.json or run.json in it")


def note_model(run: Run, found: Located) -> None:
    """Keep in a run's lineage the hashes of the weights it starts from, and the run that made them."""
    for role, folder in (("base", Path(found.base)), ("adapter", found.adapter)):
        if folder is not None and folder.is_dir():
            run.add_input(role, folder)
    if found.run is not None:
        run.add_parent(found.run)


def load_tokenizer(section: ModelSection) -> Any:
    """The tokenizer of a model; an adapter's own, if it carries one, else its base's. It always has a padding token."""
    from transformers import AutoTokenizer

    found = locate(section.path)
    own = found.adapter is not None and (found.adapter / "tokenizer_config.json").is_file()
    with _plain_errors(section.path, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            str(found.adapter) if own else found.base, revision=section.revision, trust_remote_code=section.trust_remote_code
        )
    if not tokenizer.is_fast:
        raise BelleError(f"the tokenizer of {section.path!r} has no fast form", "convert it to a tokenizer.json first")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(section: ModelSection, dtype: torch.dtype | None = None) -> Any:
    """The model in evaluation mode, with its adapter (unmerged) where there is one, on the best device.

    Args:
        section: the recipe's `model`.
        dtype: of the weights; the section's when absent.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    found = locate(section.path)
    if (form := packed_form(found.base)) is not None:
        wanted = dtype or model_dtype(section.dtype)
        with _plain_errors(section.path, "model"):
            model = load_packed(Path(found.base), form, wanted, device(), section.keep_packed, section.trust_remote_code)
        return put_adapter(model, found).eval() if found.adapter is not None else model
    with _plain_errors(section.path, "model"):
        model, info = AutoModelForCausalLM.from_pretrained(
            found.base,
            revision=section.revision,
            dtype=dtype or model_dtype(section.dtype),
            trust_remote_code=section.trust_remote_code,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are named below, the library only counts them
            output_loading_info=True,
        )
    _check_complete(section.path, info)
    if found.adapter is not None:
        model = put_adapter(model, found)
    return model.to(device()).eval()


def put_adapter(model: Any, found: Located) -> Any:
    """Put a located adapter on its freshly loaded base.

    Raises:
        BelleError: the adapter was trained on other weights, or its files are broken or empty.
    """
    from peft import PeftModel

    assert found.adapter is not None
    _base_of(found.adapter)
    if not (found.adapter / "adapter_model.safetensors").is_file():
        raise BelleError(f"the adapter {str(found.adapter)!r} has no adapter_model.safetensors", _INCOMPLETE)
    check_base(found)
    with _plain_errors(str(found.adapter), "adapter"), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # peft warns of missing keys where we want to hear an error
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings")  # merging unties them
        pair = PeftModel.from_pretrained(model, str(found.adapter))
    _check_used(found.adapter, pair)
    return pair


def check_base(found: Located) -> None:
    """Refuse an adapter whose base has other weights than those it was trained on."""
    assert found.adapter is not None
    note = found.adapter / BELONGS
    expected = read_json(note)["base_sha256"] if note.is_file() else ""
    if not expected or not Path(found.base).is_dir():
        return  # made elsewhere, or on the hub: there is no hash to hold it against
    actual = sha256_weights(Path(found.base))
    if expected != actual:
        raise BelleError(
            f"the adapter {str(found.adapter)!r} does not belong to the base {found.base!r}: it was trained on weights with "
            f"sha256 {expected[:12]}, these have {actual[:12]}",
            "use the base that the adapter was trained on",
        )


def write_belonging(adapter: Path, base: str) -> None:
    """Note beside an adapter the sha256 of the base it belongs to (empty for a base on the hub)."""
    digest = sha256_weights(Path(base)) if Path(base).is_dir() else ""
    write_json(adapter / BELONGS, {"base_sha256": digest})


def model_dtype(name: str) -> torch.dtype:
    """The torch type for a recipe's `dtype`; `auto` is bfloat16 only where the machine has instructions for it."""
    if name != "auto":
        found: torch.dtype = getattr(torch, name)
        return found
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if torch.backends.mps.is_available():
        return torch.float32
    # Without AVX512-BF16 or AMX, bfloat16 is emulated: nine times slower than float32 where we measured it.
    checks = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return torch.bfloat16 if any(check() for check in checks if check) else torch.float32


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")


def _locate_run(folder: Path) -> Located:
    info = read_run(folder)
    if info["status"] != "finished":
        raise BelleError(f"the run {str(folder)!r} has not finished", f"run it to its end first: {info['command']}")
    products = info["products"]
    if "model" in products:
        return Located(str(folder / products["model"]), None, folder)
    if "adapter" in products:
        base = locate(info["recipe"]["model"]["path"])
        if base.adapter is not None:
            raise BelleError(f"{str(folder)!r} is an adapter on an adapter", f"merge {str(base.adapter)!r} first")
        return Located(base.base, folder / products["adapter"], folder)
    raise BelleError(f"the run {str(folder)!r} ({info['verb']}) made no model", "name the run of sft or merge")


def _check_used(adapter: Path, pair: Any) -> None:
    """Refuse an adapter with tensors that have no place in the model: peft passes over them in silence."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as stored:
        names = set(stored.keys())
    stray = sorted(names - get_peft_model_state_dict(pair, save_embedding_layers=False).keys() - pair.state_dict().keys())
    if stray:
        raise BelleError(
            f"{str(adapter)!r}: {len(stray)} of its tensors have no place in the model, the first is {stray[0]!r}",
            "use the base that the adapter was trained on",
        )


def _base_of(adapter: Path) -> str:
    """The base that an adapter folder names."""
    file = adapter / "adapter_config.json"
    config = read_json(file)
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(base, str):
        raise BelleError(f"{str(file)!r} names no base: base_model_name_or_path is {base!r}", "write the base's path there")
    return base


def _check_complete(path: str, info: Any) -> None:
    """Refuse a checkpoint whose weights do not fill the model: the library would leave random numbers in their place."""
    wrong = [f"{name} is missing" for name in sorted(info["missing_keys"])]
    for name, found, wanted in sorted(info["mismatched_keys"]):
        wrong.append(f"{name} has shape {list(found)}, not {list(wanted)}")
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise BelleError(f"cannot load the model of {path!r}: {'; '.join(wrong[:3])}{more}", _INCOMPLETE)


class _plain_errors:  # noqa: N801 - reads as a clause
    """Turn what libraries raise about missing or broken files into one clear error."""

    def __init__(self, path: str, part: str) -> None:
        self.path, self.part = path, part

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, (BelleError, KeyboardInterrupt, MemoryError)):
            return
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:400]
        raise BelleError(f"cannot load the {self.part} of {self.path!r}: {reason}", _INCOMPLETE) from error
