"""A small world in which everything is sound, and the ways to spoil it; `bad_input.py` is the table of what goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny import talk_file, tiny_model_folder

GOOD = '{"instruction": "fine", "output": "fine"}\n'


@dataclass
class World:
    """A folder of its own for each case: data, a model, the run of a LoRA training on it, and an earlier run in `out`."""

    home: Path

    @property
    def data(self) -> Path:
        return self.home / "talk.jsonl"

    @property
    def model(self) -> Path:
        return self.home / "model"

    @property
    def tuned(self) -> Path:
        return self.home / "tuned"

    @property
    def adapter(self) -> Path:
        return self.tuned / "adapter"

    @property
    def out(self) -> Path:
        return self.home / "out"

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.home / name
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return path

    def sft(self, **keys: object) -> list[str]:
        """The words of a training that would go well but for `keys`; `a__b` is the key a.b."""
        sound: dict[str, object] = {
            "model.path": self.model, "data.path": self.data, "lora.rank": 2, "optim.max_steps": 2, "optim.batch_size": 2,
            "optim.learning_rate": 0.01, "output_dir": self.out, "overwrite": "true",
        }  # fmt: skip
        return ["sft", *self._words(sound, keys)]

    def merge(self, **keys: object) -> list[str]:
        sound: dict[str, object] = {
            "model.path": self.tuned, "prompts.path": self.data, "output_dir": self.out, "overwrite": "true",
        }  # fmt: skip
        return ["merge", *self._words(sound, keys)]

    def infer(self, **keys: object) -> list[str]:
        sound: dict[str, object] = {
            "model.path": self.tuned, "data.path": self.data, "data.limit": 1, "generation.max_new_tokens": 2,
            "output_dir": self.out, "overwrite": "true",
        }  # fmt: skip
        return ["infer", *self._words(sound, keys)]

    def mix(self, **keys: object) -> list[str]:
        sound: dict[str, object] = {"sources.mine.path": self.data, "output_dir": self.out, "overwrite": "true"}
        return ["mix", *self._words(sound, keys)]

    def clean(self, *steps: str, **keys: object) -> list[str]:
        """A cleaning by these steps, `empty` where none are given."""
        sound: dict[str, object] = {
            "data.path": self.data, "steps": f"[{', '.join(steps or ('empty',))}]", "executor": "one", "output_dir": self.out,
            "overwrite": "true",
        }  # fmt: skip
        return ["clean", *self._words(sound, keys)]

    def diff(self, action: str = "make", **keys: object) -> list[str]:
        """The diff of the model and itself, or what is put together from `source`."""
        sound: dict[str, object] = {
            "action": action, "base": self.model, "source": self.model, "output_dir": self.out, "overwrite": "true",
        }  # fmt: skip
        return ["diff", *self._words(sound, keys)]

    @staticmethod
    def _words(sound: dict[str, object], keys: dict[str, object]) -> list[str]:
        words = sound | {key.replace("__", "."): value for key, value in keys.items()}
        return [f"{key}={value}" for key, value in words.items() if value is not None]

    def rows(self, *rows: str, **keys: object) -> list[str]:
        """A training on these lines, a good one before them."""
        return self.sft(data__path=self.file("bad.jsonl", GOOD + "".join(row + "\n" for row in rows)), **keys)

    def weights(self, path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
        """Change the tensors of a file."""
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})


Arrange = Callable[[World], list[str]]


def recipe(text: str | bytes, *more: str) -> Arrange:
    return lambda w: ["sft", str(w.file("r.yaml", text)), *more]


def model_with(change: Callable[[World], object], **keys: object) -> Arrange:
    """A training on the model after `change`."""

    def arrange(w: World) -> list[str]:
        change(w)
        return w.sft(**keys)

    return arrange


def adapter_with(change: Callable[[World], object], verb: str = "merge") -> Arrange:
    def arrange(w: World) -> list[str]:
        change(w)
        return w.merge() if verb == "merge" else w.infer()

    return arrange


def pickled(w: World) -> None:
    torch.save(load_file(w.model / "model.safetensors"), w.model / "pytorch_model.bin")
    (w.model / "model.safetensors").unlink()


def zeros(marks: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name in tensors:
            if marks in name:
                tensors[name] = torch.zeros_like(tensors[name])

    return change


def poison(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        found = next(key for key in tensors if name in key)
        tensors[found].view(-1)[0] = float("nan")

    return change


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(path: Path, **keys: object) -> None:
    """Change keys of a JSON file; None takes one out."""
    value = {**json.loads(path.read_text(encoding="utf-8")), **keys}
    path.write_text(json.dumps({k: v for k, v in value.items() if v is not None}), encoding="utf-8")


def another_base(w: World) -> list[str]:
    shutil.rmtree(w.model)
    tiny_model_folder(w.model, seed=2)
    return w.merge()


def interrupted(w: World) -> None:
    rewrite(w.tuned / "run.json", status="running")


def changed_input(w: World) -> list[str]:
    interrupted(w)
    talk_file(w.data, 9)
    words = json.loads((w.tuned / "run.json").read_text(encoding="utf-8"))["command"].split()[1:]
    return [word for word in words if not word.startswith("overwrite")]


def messages(*turns: tuple[str, object]) -> str:
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]}, ensure_ascii=True)
