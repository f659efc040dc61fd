"""TRL's SFTTrainer and `belle sft` on the same tokens, model, batches and steps, in one run.

    python benchmarks/sft.py --data FILE [--steps 6] [--batch 8] [--only belle,trl-best]

Each contender runs in a process of its own and is given the same tokenised samples in the same order, the same initial
adapter, learning rate and schedule. The loss curves are compared before any ratio is printed: a speed-up with another
curve is void. Throughput leaves out each contender's first step (memory is touched for the first time there).

"Needed" work is what the arithmetic asks for, whatever a contender spends: per real token 4 FLOPs a frozen weight of the
linear layers (forward, gradient of the activations) and 6 an adapter weight, per supervised token 4 a weight of the head.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONTENDERS = {
    "belle": "belle sft as shipped",
    "trl-best": "TRL, best CPU configuration: float32 weights or bf16 by machine, no checkpointing, no packing",
    "trl-length": "TRL, best, batches grouped by length (other batches, so another curve: throughput only)",
    "trl-packed": "TRL, best, packed to the cutoff (other batches, so another curve: throughput only)",
    "trl-default": "TRL, its defaults: float32 weights, bf16 autocast, activation checkpointing",
}
SAME_CURVE = 0.01
"""Largest relative difference of a step's loss that counts as the same curve."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="shipped:instructions_zh.jsonl")
    parser.add_argument("--model", default="embedded:smollm2-135m-instruct")
    parser.add_argument("--cutoff", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--default-steps", type=int, default=2, help="steps of trl-default, which is slow")
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        result = run_belle(args) if args.contender == "belle" else run_trl(args, args.contender)
        Path(args.out).write_text(json.dumps(result))
        return
    peaks = matmul_peaks()
    print(f"matrix-multiply peak of this machine: {', '.join(f'{k} {v / 1e9:.0f} GFLOP/s' for k, v in peaks.items())}")
    results = {}
    for name in args.only.split(","):
        results[name] = in_a_process(args, name)
        print(f"{name}: {json.dumps(results[name])[:200]}", flush=True)
    report(results, peaks, args.data)


def in_a_process(args: argparse.Namespace, name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as tmp:
        out = Path(tmp) / "result.json"
        steps = args.default_steps if name == "trl-default" else args.steps
        command = [sys.executable, __file__, "--contender", name, "--out", str(out), "--data", args.data, "--model", args.model,
                   "--cutoff", str(args.cutoff), "--batch", str(args.batch), "--steps", str(steps)]  # fmt: skip
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            return {"failed": done.stderr.strip().splitlines()[-1:]}
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def prepared(args: argparse.Namespace) -> tuple[Any, Any, Any, list[list[int]]]:
    """Model with its adapter, tokenizer, samples and the plan of batches: the same for everyone."""
    from transformers import set_seed

    from belle.data.chat_template import ChatTemplate
    from belle.data.dataset import tokenize
    from belle.data.formats import load_records
    from belle.data.packing import step_indices
    from belle.models.load import load_model, load_tokenizer, model_dtype
    from belle.models.lora import add_lora
    from belle.sections import DataSection, LoraSection, ModelSection, TokensSection

    section = ModelSection(path=args.model, template="chatml")
    tokenizer = load_tokenizer(section)
    records = load_records(DataSection(path=args.data)).records
    tokens = TokensSection(cutoff=args.cutoff, overlong="cut_right")
    samples = tokenize(records, tokenizer, ChatTemplate.load(tokenizer, "chatml"), tokens)
    plan = step_indices(len(samples), args.batch, args.steps, 1234)
    set_seed(1234)
    import torch

    dtype = torch.float32 if args.contender == "trl-default" else model_dtype("auto")
    model = add_lora(load_model(section, dtype), LoraSection(rank=16, alpha=32))
    return model, tokenizer, samples, plan


def facts(model: Any, counts: list[tuple[int, int]], losses: list[float], seconds: list[float]) -> dict[str, Any]:
    """`counts`: (tokens without padding, supervised tokens) of each step, as the contender was given them."""
    from belle.train.progress import peak_memory_gb

    linear = {n: p.numel() for n, p in model.named_parameters() if p.dim() == 2}
    adapter = sum(v for n, v in linear.items() if "lora_" in n)
    head = model.get_output_embeddings().weight.numel()
    frozen = sum(v for n, v in linear.items() if "lora_" not in n and "embed_tokens" not in n and "lm_head" not in n)
    tokens, trained = (sum(count[i] for count in counts[1:]) for i in (0, 1))
    return {
        "losses": [round(x, 5) for x in losses], "seconds": round(sum(seconds[1:]), 2), "tokens": tokens, "supervised": trained,
        "needed_flops": tokens * (4 * frozen + 6 * adapter) + trained * 4 * head, "memory_gb": peak_memory_gb(),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."), "step_seconds": [round(x, 2) for x in seconds],
    }  # fmt: skip


def run_belle(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    from belle.jsonl import Appender, read_rows
    from belle.logs import Bar
    from belle.models.load import model_dtype
    from belle.sections import OptimSection
    from belle.train.language_model import answer_loss
    from belle.train.progress import Progress
    from belle.train.trainer import StepTrainer

    model, tokenizer, samples, _ = prepared(args)
    optim = OptimSection(learning_rate=1e-3, schedule="constant", warmup=0, batch_size=args.batch, max_steps=args.steps)
    with tempfile.TemporaryDirectory() as tmp:
        metrics = Path(tmp) / "metrics.jsonl"
        autocast = model_dtype("auto") == torch.bfloat16
        trainer = StepTrainer(model, answer_loss, samples, tokenizer.pad_token_id, optim, Path(tmp), 1234, autocast=autocast)
        with Appender(metrics) as file, Bar("belle", args.steps) as bar:
            trainer.add_callback(Progress(file, bar, 10**9, None, trainer))
            trainer.train()
        rows = list(read_rows(metrics))
    counts = [(r["tokens"], r["supervised_tokens"]) for r in rows]
    return facts(model, counts, [r["loss"] for r in rows], [r["seconds"] for r in rows])


def run_trl(args: argparse.Namespace, name: str) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from belle.models.load import model_dtype

    model, tokenizer, samples, plan = prepared(args)
    order = [i for step in plan for i in step]
    encoded = [samples[i] for i in order]
    masks = [list(map(int, e.mask)) for e in encoded]
    data = Dataset.from_dict({"input_ids": [e.ids for e in encoded], "assistant_masks": masks})
    losses: list[float] = []
    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *unused: Any, **kwargs: Any) -> None:
            self.mark = time.monotonic()

        def on_step_end(self, *unused: Any, **kwargs: Any) -> None:
            seconds.append(time.monotonic() - self.mark)

        def on_log(self, arguments: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                losses.append(float(logs["loss"]))

    counts: list[tuple[int, int]] = []

    class Counting(SFTTrainer):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: Any, *rest: Any, **kwargs: Any) -> Any:
            seen = inputs.get("attention_mask")
            tokens = inputs["input_ids"].numel() if seen is None else int(seen.sum())
            counts.append((tokens, int((inputs["labels"] != -100).sum())))
            return super().training_step(model, inputs, *rest, **kwargs)

    class InOrder(Counting):
        def _get_train_sampler(self, *unused: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    options: dict[str, Any] = {} if name == "trl-default" else {
        "gradient_checkpointing": False, "bf16": model_dtype("auto") == torch.bfloat16, "packing": name == "trl-packed",
    }  # fmt: skip
    if name == "trl-length":
        options["train_sampling_strategy"] = "group_by_length"
    with tempfile.TemporaryDirectory() as tmp:
        batch = max(1, round(args.batch * float(samples.lengths.mean()) / args.cutoff)) if name == "trl-packed" else args.batch
        config = SFTConfig(
            output_dir=tmp, max_steps=args.steps, per_device_train_batch_size=batch, learning_rate=1e-3,
            lr_scheduler_type="constant", warmup_steps=0, max_length=args.cutoff, logging_steps=1, save_strategy="no",
            report_to=[], disable_tqdm=True, use_cpu=not torch.cuda.is_available(), seed=1234, assistant_only_loss=False,
            dataloader_pin_memory=False, weight_decay=0.0, **options,
        )  # fmt: skip
        kind = Counting if name == "trl-length" else InOrder
        trainer = kind(model=model, args=config, train_dataset=data, processing_class=tokenizer, callbacks=[Clock()])
        trainer.train()
    return facts(model, counts, losses, seconds)


def matmul_peaks() -> dict[str, float]:
    """FLOP/s of a product of the model's own shape (1024 tokens, 576 to 1536 features) in each type, the best of many."""
    import torch

    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(1024, 576).to(dtype), torch.randn(1536, 576).to(dtype)
        best, until = 0.0, time.perf_counter() + 2
        while time.perf_counter() < until:
            started = time.perf_counter()
            torch.nn.functional.linear(a, b)
            best = max(best, 2 * 1024 * 576 * 1536 / (time.perf_counter() - started))
        found[str(dtype).removeprefix("torch.")] = best
    return found


def report(results: dict[str, Any], peaks: dict[str, float], data: str) -> None:
    ours = results.get("belle")
    print(f"\ndata {data}\n{'':12} {'tok/s':>8} {'trained/s':>10} {'of peak':>8} {'memory GB':>10} {'belle is':>9}  curve")
    for name, r in results.items():
        if "failed" in r:
            print(f"{name:12} failed: {r['failed']}")
            continue
        speed = r["tokens"] / r["seconds"]
        share = r["needed_flops"] / r["seconds"] / max(peaks.values())
        ratio = f"{ours['tokens'] / ours['seconds'] / speed:.2f}x" if ours and "failed" not in ours else ""
        curve = "" if not ours or name in ("trl-length", "trl-packed") else same_curve(ours["losses"], r["losses"])
        trained = r["supervised"] / r["seconds"]
        print(f"{name:12} {speed:8.1f} {trained:10.1f} {share:8.1%} {r['memory_gb']:10.2f} {ratio:>9}  {curve}")
    print("\n" + "\n".join(f"{name}: {CONTENDERS[name]}" for name in results))


def same_curve(ours: list[float], theirs: list[float]) -> str:
    apart = max(abs(a - b) / b for a, b in zip(ours, theirs, strict=False))
    return f"{'same' if apart <= SAME_CURVE else 'OTHER: the ratio is void'} (largest difference {apart:.2%})"


if __name__ == "__main__":
    main()
