"""A tiny model that is sound in all that `belle verify` looks at: it has learned a dozen answers by heart, and where they end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tiny import build_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from belle import cli
from belle.data.chat_template import ChatTemplate
from belle.jsonl import write_rows
from belle.records import record_dict
from belle.release.check_behaviour import conversations
from belle.runs import product_hashes

Change = Callable[[dict[str, torch.Tensor]], object]


def main(words: list[str]) -> int:
    """The exit code of a command line."""
    try:
        cli.main(words)
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def sound_model(folder: Path, seed: int = 1, steps: int = 120) -> Path:
    """Train two layers on the conversations that are asked, and save them with chatml and its end token."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    template = ChatTemplate.load(tokenizer, "chatml")
    template.attach(tokenizer)
    tokenizer.eos_token = "<|im_end|>"
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=end, bos_token_id=2, pad_token_id=1,
        tie_word_embeddings=False, initializer_range=0.05,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config).float()
    encoded = [template.encode(conversation) for conversation in conversations()]
    length = max(len(each.ids) for each in encoded)
    ids = torch.tensor([each.ids + [1] * (length - len(each.ids)) for each in encoded])
    labels = torch.tensor([
        [token if on else -100 for token, on in zip(each.ids, each.mask, strict=True)] + [-100] * (length - len(each.ids))
        for each in encoded
    ])  # fmt: skip
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(steps):
        loss = model(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def learned_file(path: Path) -> Path:
    """The conversations that it knows, as a file to train on."""
    write_rows(path, [record_dict(conversation) for conversation in conversations()])
    return path


def sound_run(home: Path, base: Path) -> Path:
    """An adapter on it and the merge of both, as `belle sft` and `belle merge` leave them: in `sft` and `merged`."""
    data = learned_file(home / "data.jsonl")
    words = [f"model.path={base}", f"data.path={data}", "lora.rank=2", "optim.max_steps=2", "optim.batch_size=6"]
    assert main(["sft", *words, "optim.learning_rate=0.002", f"output_dir={home / 'sft'}"]) == 0
    merge = ["merge", f"model.path={home / 'sft'}", f"prompts.path={data}", f"output_dir={home / 'merged'}"]
    assert main(merge) == 0
    return home


def copied(home: Path, to: Path) -> Path:
    """The same runs in another place, which know each other there."""
    shutil.copytree(home, to)
    for name in ("run.json", "adapter_config.json"):
        for path in to.rglob(name):
            path.write_text(path.read_text(encoding="utf-8").replace(str(home), str(to)), encoding="utf-8")
    change_json(to / "sft/run.json", hashes=product_hashes(to / "sft", {"adapter": "adapter"}))  # its config names the base
    return to


def change_weights(path: Path, change: Change) -> None:
    """Change the tensors of a safetensors file."""
    tensors = load_file(path)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def change_json(path: Path, **keys: Any) -> None:
    """Change keys of a JSON file; None takes one out."""
    value = {**json.loads(path.read_text(encoding="utf-8")), **keys}
    path.write_text(json.dumps({k: v for k, v in value.items() if v is not None}), encoding="utf-8")
