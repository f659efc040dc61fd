"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): h = W x + (alpha / rank) B A x, with W frozen."""

from __future__ import annotations

from typing import Any

from belle.errors import BelleError, nearest
from belle.sections import LoraSection


def add_lora(model: Any, section: LoraSection) -> Any:
    """Freeze `model` and put a fresh adapter on it; the adapter's weights are float32 whatever the base is.

    Raises:
        BelleError: a target that no module of this model is called.
    """
    import torch
    from peft import LoraConfig, TaskType, get_peft_model

    linear = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    if not isinstance(section.targets, str):
        for target in section.targets:
            if target not in linear:
                what = f"lora.targets: no linear layer {target!r}.{nearest(target, sorted(linear))}"
                raise BelleError(what, f"choose from {sorted(linear)}")
    elif section.targets != "all-linear":
        raise BelleError(f"lora.targets: {section.targets!r} is neither all-linear nor a list", "write for example [q_proj]")
    config = LoraConfig(
        r=section.rank,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        target_modules=section.targets if isinstance(section.targets, str) else list(section.targets),
        bias="none",
        task_type=TaskType.CAUSAL_LM,
    )
    return get_peft_model(model, config, autocast_adapter_dtype=True)
