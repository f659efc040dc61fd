"""Defects, one of each kind: name -> (how it is planted, what is verified, the check that must name it)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sound_model import change_json, change_weights, sound_model
from tiny import tiny_llama

Plant = Callable[[Path], object]
WEIGHTS, ADAPTER = "merged/model.safetensors", "sft/adapter/adapter_model.safetensors"
EMBEDDING, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.layers.0.input_layernorm.weight"
UP = "model.layers.1.mlp.up_proj.weight"


def weights(name: str, change: Callable[[torch.Tensor], torch.Tensor], file: str = WEIGHTS) -> Plant:
    """One tensor of a file is replaced."""
    return lambda home: change_weights(home / file, lambda tensors: tensors.update({name: change(tensors[name])}))


def spoilt(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """One value of a tensor is another."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        out = tensor.clone()
        out.view(-1)[3] = value
        return out

    return change


def swapped(tensor: torch.Tensor) -> torch.Tensor:
    """Two rows in the middle have changed places."""
    out = tensor.clone()
    out[[300, 301]] = tensor[[301, 300]]
    return out


def sharded(home: Path) -> list[Path]:
    """The merged model in two files with an index."""
    path = home / WEIGHTS
    tensors = load_file(path)
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, inside in parts.items():
        save_file({name: tensors[name] for name in inside}, path.with_name(file), {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, inside in parts.items() for name in inside}}
    path.with_name("model.safetensors.index.json").write_text(json.dumps(index))
    path.unlink()
    return [path.with_name(file) for file in parts]


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Plant:
    """tokenizer.json is changed."""

    def plant(home: Path) -> None:
        path = home / "merged/tokenizer.json"
        value = json.loads(path.read_text(encoding="utf-8"))
        change(value)
        path.write_text(json.dumps(value), encoding="utf-8")

    return plant


def template(change: Callable[[str], str]) -> Plant:
    """The chat template of the merged model is changed."""

    def plant(home: Path) -> None:
        path = home / "merged/chat_template.jinja"
        text = path.read_text(encoding="utf-8")
        assert change(text) != text
        path.write_text(change(text), encoding="utf-8")

    return plant


def added(content: str, number: int) -> dict[str, Any]:
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    return {"id": number, "content": content, "special": True} | dict.fromkeys(flags, False)


def another_base(home: Path) -> None:
    """The base of the adapter is another model of the same shape."""
    change_weights(home / "base/model.safetensors", lambda tensors: tensors.update({UP: tensors[UP] + 1e-3}))


def empty_adapter(home: Path) -> None:
    change_weights(home / ADAPTER, lambda t: t.update({n: torch.zeros_like(v) for n, v in t.items() if "lora_B" in n}))


def unmerged(home: Path) -> None:
    shutil.copyfile(home / "base/model.safetensors", home / WEIGHTS)


def adapter_beside(home: Path) -> None:
    """What a careless program calls merged: base and adapter in one file."""
    matrices = {name.removeprefix("base_model.model."): tensor for name, tensor in load_file(home / ADAPTER).items()}
    change_weights(home / WEIGHTS, lambda tensors: tensors.update(matrices))


def without_runs(plant: Plant) -> Plant:
    """The same defect in a model that no run tells of."""

    def planted(home: Path) -> None:
        plant(home)
        for name in ("run.json", "recipe.yaml"):
            (home / "merged" / name).unlink()

    return planted


def silent_end(tensors: dict[str, torch.Tensor]) -> None:
    """The end token's row points away from wherever it was asked for."""
    tensors[HEAD] = tensors[HEAD].clone()
    tensors[HEAD][5] = -tensors[HEAD][5]


def without_end(home: Path) -> None:
    change_json(home / "merged/generation_config.json", eos_token_id=3)
    change_json(home / "merged/tokenizer_config.json", eos_token="</s>")


def drop(name: str, file: str = WEIGHTS) -> Plant:
    return lambda home: change_weights(home / file, lambda tensors: tensors.pop(name))


def random_model(home: Path) -> None:
    tiny_llama(396, tied=False).save_pretrained(home / "merged")
    change_json(home / "merged/generation_config.json", eos_token_id=[5, 3])


def other_weights(home: Path) -> None:
    """A sound model, but not the one that the run made."""
    sound_model(home / "other", seed=2, steps=2)
    shutil.copyfile(home / "other/model.safetensors", home / WEIGHTS)


def rename_talk(home: Path) -> None:
    path = home / "data.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")


DEFECTS: dict[str, tuple[Plant, str, str]] = {
    "an empty tensor": (weights(NORM, lambda t: t[:0]), "merged", "tensors"),
    "a matrix of one value": (weights(UP, lambda t: torch.full_like(t, 0.25)), "merged", "tensors"),
    "a norm of zeros": (weights(NORM, torch.zeros_like), "merged", "tensors"),
    "a NaN": (weights(UP, spoilt(float("nan"))), "merged", "tensors"),
    "an infinity": (weights(EMBEDDING, spoilt(float("-inf"))), "merged", "tensors"),
    "most rows zero": (weights(UP, lambda t: torch.cat([t[:20], torch.zeros_like(t[20:])])), "merged", "tensors"),
    "a NaN in an adapter": (lambda h: change_weights(h / ADAPTER, lambda t: t[min(t)].view(-1)[:1].fill_(float("nan"))),
                            "sft", "tensors"),
    "a truncated file": (lambda h: halve(h / WEIGHTS), "merged", "files"),
    "a truncated shard": (lambda h: halve(sharded(h)[1]), "merged", "files"),
    "a missing shard": (lambda h: sharded(h)[1].unlink(), "merged", "files"),
    "a torn config.json": (lambda h: halve(h / "merged/config.json"), "merged", "files"),
    "a torn adapter": (lambda h: halve(h / ADAPTER), "sft", "files"),
    "a lost tensor": (drop(UP), "merged", "shapes"),
    "a config of another size": (lambda h: change_json(h / "merged/config.json", intermediate_size=128), "merged", "shapes"),
    "an adapter without its B": (drop("base_model.model.model.layers.0.mlp.up_proj.lora_B.weight", ADAPTER), "sft", "shapes"),
    "an adapter beside the weights": (adapter_beside, "merged", "shapes"),
    "an unmerged merge": (unmerged, "merged", "change"),
    "an adapter of another base": (another_base, "sft", "change"),
    "an adapter that changes nothing": (empty_adapter, "sft", "change"),
    "a type that is not that of the tensors": (lambda h: change_json(h / "merged/config.json", dtype="bfloat16"),
                                               "merged", "types"),
    "two matrices that are called tied": (lambda h: change_json(h / "merged/config.json", tie_word_embeddings=True),
                                          "merged", "tied"),
    "more tokens than rows": (tokenizer(lambda t: t["added_tokens"].append(added("<|new|>", 400))), "merged", "vocabulary"),
    "a vocab_size that is not the rows'": (lambda h: change_json(h / "merged/config.json", vocab_size=400),
                                           "merged", "vocabulary"),
    "an end that is no token": (lambda h: change_json(h / "merged/config.json", eos_token_id=4000), "merged", "special ids"),
    "another end in the tokenizer": (lambda h: change_json(h / "merged/tokenizer_config.json", eos_token="</s>"),
                                     "merged", "special ids"),
    "a special token twice": (tokenizer(lambda t: t["added_tokens"].append(added("<|im_end|>", 395))),
                              "merged", "special tokens"),
    "a lost end token": (without_end, "merged", "ends"),
    "an end token without a row": (weights(HEAD, lambda t: torch.cat([t[:5], torch.zeros_like(t[:1]), t[6:]])), "merged", "ends"),
    "an end token with another's row": (weights(HEAD, lambda t: torch.cat([t[:5], t[4:5], t[6:]])), "merged", "ends"),
    "another template than in training": (template(lambda t: t.replace("assistant\\n", "assistant\\n\\n")), "merged", "template"),
    "no template after training": (lambda h: (h / "merged/chat_template.jinja").unlink(), "merged", "template"),
    "a template that GGUF writes otherwise": (template(lambda t: t.replace("{%- generation %}", "{%- generation %}{{ ' ' }}"
                                              ).replace("{{- message.content", "{{ message.content")), "merged", "template"),
    "rows of the embedding shifted": (weights(EMBEDDING, lambda t: t.roll(1, 0)), "merged", "rows"),
    "rows of the head shifted": (weights(HEAD, lambda t: torch.cat([t[:9], t[9:].roll(-1, 0)])), "merged", "rows"),
    "two rows swapped": (weights(EMBEDDING, swapped), "merged", "rows"),
    "rows shifted, and no base known": (without_runs(weights(EMBEDDING, lambda t: t.roll(1, 0))), "merged", "language"),
    "weights that were never trained": (without_runs(random_model), "merged", "language"),
    "weights that the run did not write": (other_weights, "merged", "hashes"),
    "data that is no longer what was read": (rename_talk, "merged", "lineage"),
    "a base that was changed afterwards": (another_base, "merged", "lineage"),
    "a training that has not finished": (lambda h: change_json(h / "sft/run.json", status="running"), "merged", "lineage"),
    "an end token that is never likely": (without_runs(lambda h: change_weights(h / WEIGHTS, silent_end)), "merged", "end token"),
    "answers that never end": (without_runs(lambda h: change_weights(h / WEIGHTS, silent_end)), "merged", "stops"),
}  # fmt: skip
