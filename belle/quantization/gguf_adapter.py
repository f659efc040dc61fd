"""A LoRA adapter as a GGUF file, which llama.cpp puts on its base's file at run time (`--lora`)."""

from __future__ import annotations

import re
from pathlib import Path

import gguf
import numpy as np
from gguf import GGUFWriter

from belle.errors import BelleError
from belle.jsonl import atomic_path, read_json
from belle.models.weights import Weights
from belle.quantization.gguf_file import ARCHITECTURES, Written, interleave

_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_MERGE = "merge it with `belle merge`, then export that"


def write_gguf_adapter(adapter: Path, base: Path, path: Path, name: str) -> Written:
    """Write the adapter of a folder in peft's layout; its matrices are F32.

    Raises:
        BelleError: it holds more than plain LoRA (DoRA, biases, whole modules), or the base's architecture is not known.
    """
    config, base_config = read_json(adapter / "adapter_config.json"), read_json(base / "config.json")
    kind = (base_config.get("architectures") or ["none"])[0]
    if kind not in ARCHITECTURES:
        raise BelleError(f"the architecture {kind!r} is not exported to GGUF", f"known: {', '.join(ARCHITECTURES)}")
    if config.get("use_dora") or config.get("rank_pattern") or config.get("alpha_pattern"):
        raise BelleError(f"{adapter} is no plain LoRA: DoRA and ranks by layer have no place in GGUF", _MERGE)
    architecture = ARCHITECTURES[kind]
    names = gguf.get_tensor_name_map(architecture.name, base_config["num_hidden_layers"])
    heads = {"q_proj": base_config["num_attention_heads"],
             "k_proj": base_config.get("num_key_value_heads") or base_config["num_attention_heads"]}  # fmt: skip
    alpha = float(config["lora_alpha"])
    if config.get("use_rslora"):  # scales by alpha / sqrt(r) where llama.cpp scales by alpha / r
        alpha *= config["r"] ** 0.5
    weights = Weights(adapter / "adapter_model.safetensors")
    with atomic_path(path) as part:
        writer = GGUFWriter(part, gguf.MODEL_ARCH_NAMES[architecture.name])
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string("adapter.type", "lora")
        writer.add_name(name)
        writer.add_float32("adapter.lora.alpha", alpha)
        for key in sorted(weights):
            found = _NAME.fullmatch(key)
            place = names.get_name(found["module"]) if found else None
            if found is None or place is None:
                raise BelleError(f"{adapter}: {key!r} is no LoRA matrix that GGUF has a place for", _MERGE)
            values = weights.values(key)
            projection = found["module"].rsplit(".", 1)[-1]
            if architecture.interleaved and found["side"] == "B" and projection in heads:
                values = interleave(values, heads[projection])
            writer.add_tensor(f"{place}.weight.lora_{found['side'].lower()}", np.ascontiguousarray(values, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        size = part.stat().st_size
    return Written(path, size, {"F32": len(weights)}, ())
