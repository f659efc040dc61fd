"""GPTQ: our solver against the published algorithm in plain float32, and a whole model's time and memory by its layers.

    python benchmarks/gptq.py [--shapes 576x576 1536x576 576x1536 2048x2048 5632x2048] [--layers 2 4 8 16] [--repeat 3]

First part, for each shape (outputs x inputs): seconds and output error of
    plain      H^-1 by two Cholesky factorisations and one inverse, columns one by one, errors handed on in blocks of 128
    ours       belle.quantization.gptq.solve
both in float32, 4 bits, groups of 128, the same grid and damping, with act-order; and the share of the machine's float32 matmul
peak (measured in the same run) that the multiplications of `ours` alone would reach in its time: n^3 / 3 for the factor and
n^2 outputs for the errors, in multiplications and additions. The Hessian's share is that of 8192 tokens.

Second part: `quantise_block` over models of random weights with more and more layers, each in a process of its own: seconds a
layer and largest resident memory, beyond that of a process that has only imported everything. One block is in memory at a time,
so memory should not grow with layers but by the embedding and what is being written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from belle.quantization.gptq import Options, output_error, round_to_nearest, solve
from belle.quantization.grids import Grid
from belle.quantization.hessian import BLOCK, Hessian

GRID, SIZE, DAMP = Grid(4, symmetric=True, search=False), 128, 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", default=["576x576", "1536x576", "576x1536", "2048x2048", "5632x2048"])
    parser.add_argument("--layers", nargs="*", type=int, default=[2, 4, 8, 16])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=1024, help="of the models with random weights")
    parser.add_argument("--whole", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.whole:
        print(json.dumps(whole(args.whole)))
        return
    peak = matmul_peak()
    print(f"float32 matmul peak {peak / 1e9:.0f} GFLOP/s, {torch.get_num_threads()} threads\n")
    print("| outputs x inputs | plain s | ours s | faster | error ours/plain | ours/nearest | of peak | Hessian s | of peak |")
    print("|---|---|---|---|---|---|---|---|---|")
    for shape in args.shapes:
        print(layer_row(*map(int, shape.split("x")), args.repeat, peak), flush=True)
    if args.layers:
        print()
        model_rows(args.layers, args.hidden)


def layer_row(outputs: int, inputs: int, repeat: int, peak: float) -> str:
    torch.manual_seed(0)
    x = torch.randn(8192, inputs) @ (torch.randn(inputs, inputs) / inputs**0.5) * torch.rand(inputs) ** 2
    weight = torch.randn(outputs, inputs) * 0.02

    def summed() -> Hessian:
        hessian = Hessian(inputs, x.device)
        for batch in x.view(-1, 512, inputs):
            hessian.add(batch)
        return hessian

    hessian_seconds, summed_up = timed(summed, repeat)
    hessian = summed_up.mean
    plain_seconds, plain_weight = timed(lambda: plain(weight, hessian), repeat)
    ours_seconds, found = timed(lambda: solve(weight, hessian, GRID, Options(SIZE, act_order=True, damp=DAMP)), repeat)
    error = output_error(weight, found.layer, hessian)
    theirs = float((((weight - plain_weight) @ hessian) * (weight - plain_weight)).sum(dtype=torch.float64))
    nearest = output_error(weight, round_to_nearest(weight, GRID, SIZE), hessian)
    work = inputs**3 / 3 + inputs**2 * outputs
    blocks = sum((inputs - begin) * min(BLOCK, inputs - begin) for begin in range(0, inputs, BLOCK))
    faster = plain_seconds / ours_seconds
    return (
        f"| {outputs} x {inputs} | {plain_seconds:.3f} | {ours_seconds:.3f} | {faster:.1f}x | {error / theirs:.4f} "
        f"| {error / nearest:.3f} | {work / ours_seconds / peak:.0%} | {hessian_seconds:.3f} "
        f"| {2 * len(x) * blocks / hessian_seconds / peak:.0%} |"
    )


def plain(weight: torch.Tensor, hessian: torch.Tensor, block: int = 128) -> torch.Tensor:
    """Algorithm 1 of the paper with act-order, as it stands there; [out, in] after rounding."""
    order = torch.argsort(hessian.diagonal(), descending=True, stable=True)
    left = weight[:, order].clone()
    damped = hessian[order][:, order].clone()
    damped.diagonal().add_(DAMP * float(damped.diagonal().mean()))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor = torch.linalg.cholesky(inverse, upper=True)
    out = torch.zeros_like(left)
    inputs = left.shape[1]
    scale = zero = torch.zeros(0)
    for begin in range(0, inputs, block):
        end = min(begin + block, inputs)
        here, errors = left[:, begin:end].clone(), torch.zeros(len(left), end - begin)
        own = factor[begin:end, begin:end]
        for k in range(end - begin):
            if (begin + k) % SIZE == 0:
                scale, zero = GRID.fit(here[:, k : k + SIZE].t())
            out[:, begin + k] = (GRID.codes(here[:, k], scale, zero) - zero) * scale
            errors[:, k] = (here[:, k] - out[:, begin + k]) / own[k, k]
            here[:, k:] -= errors[:, k : k + 1] @ own[k : k + 1, k:]
        left[:, end:] -= errors @ factor[begin:end, end:]
    back = torch.empty_like(out)
    back[:, order] = out
    return back


def timed(work: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """(median seconds, the result); once before it counts."""
    result = work()
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), result


def matmul_peak(size: int = 2048) -> float:
    """Multiplications and additions a second, the best of ten."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def clear_peak() -> None:
    """Forget the peak so far, where the system can: importing takes more than quantising a small model does."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> float:
    """Largest resident memory in MB."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(re.findall(r"VmHWM:\s+(\d+)", status.read_text(encoding="ascii"))[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def model_rows(counts: list[int], hidden: int) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    print("| layers | weights MB | seconds | a layer | peak MB | beyond imports MB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as tmp:
        for count in counts:
            folder = Path(tmp) / str(count)
            torch.manual_seed(0)
            config = LlamaConfig(
                vocab_size=2048, hidden_size=hidden, intermediate_size=hidden * 11 // 4 // 32 * 32, num_hidden_layers=count,
                num_attention_heads=16, num_key_value_heads=4, tie_word_embeddings=True,
            )  # fmt: skip
            LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
            command = [sys.executable, __file__, "--whole", str(folder)]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
            size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
            print(f"| {count} | {size:.0f} | {found['seconds']:.1f} | {found['seconds'] / count:.2f} | {found['peak']:.0f} "
                  f"| {found['peak'] - found['before']:.0f} |", flush=True)  # fmt: skip


def whole(folder: Path) -> dict[str, float]:
    """Quantise every block of a model, in this process."""
    import transformers.models.llama.modeling_llama  # noqa: F401 - what is imported anyway counts before

    from belle.quantization.blocks import Walk
    from belle.quantization.whole import Recipe, quantise_block

    torch.randn(512, 512) @ torch.randn(512, 512)
    clear_peak()
    before = peak_memory()
    samples = torch.randint(0, 2048, (16, 256), generator=torch.Generator().manual_seed(0))
    walk = Walk(folder, samples, torch.bfloat16, torch.device("cpu"))
    recipe = Recipe("gptq", Grid(4), Options(128, act_order=True, static_groups=True))
    started = time.perf_counter()
    walk.start()
    for number in range(len(walk.names)):
        list(quantise_block(walk, number, recipe, folder / f"{number}.packed"))
    return {
        "seconds": time.perf_counter() - started,
        "peak": peak_memory(),
        "before": before,
    }


if __name__ == "__main__":
    main()
