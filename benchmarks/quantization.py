"""What each way to make a model smaller costs: one table, made by one command.

    python benchmarks/quantization.py [--model embedded:smollm2-135m-instruct] [--model runs/demo/merged ...] [--rows gptq-4 ...]

For each model: float32, bfloat16, rounding to nearest and GPTQ at 8, 4, 3 and 2 bits in groups of 128 and 32, with and without
act-order, AWQ, mixed bits, GGUF files, and GPTQ calibrated on Chinese against English text. 8 and 4 bits are symmetric, 3 and 2
asymmetric. Every quantised model is made by `belle quantize` or `belle export` in a process of its own, and measured in another.

    zh, en ppl     perplexity of every token of the held-out conversations in belle's evaluation.jsonl, in the model's template
    zh, en loss    nats a token of their answers alone
    MB             weights on the disk
    tok/s          greedy generation of 64 tokens behind a short prompt, one stream, the best of three
    peak MB        largest resident memory of a process that loads the model and generates
    error          mean over layers of the output's relative square error on the calibration text, in percent
    made in        seconds of `belle quantize` or `belle export`, and its peak memory

Calibration is on belle's instructions, of which none is in evaluation.jsonl. Results are kept in --folder: a run that was stopped
goes on there. The weights of embedded:smollm2-135m-instruct come from a 4-bit file with groups of 32 (Q4_1), so its rows with 4
bits, g32 most of all, look better than those of a model that was never quantised: see a tuned model's table too.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HERE = str(Path(__file__).resolve())
ZH, EN = "shipped:instructions_zh.jsonl", "shipped:instructions_en.jsonl"
GGUF = {"gguf-f16": "F16", "gguf-q8_0": "Q8_0", "gguf-q4_k_m": "Q4_K_M"}


def quantised_rows() -> dict[str, list[str]]:
    """name -> words for `belle quantize`."""
    rows: dict[str, list[str]] = {}
    for bits in (8, 4, 3, 2):
        form = [f"bits={bits}", f"symmetric={str(bits > 3).lower()}"]
        for size in (128, 32):
            rows[f"rtn-{bits}-g{size}"] = ["method=rtn", "search=false", f"group_size={size}", *form]
            for order in ("true", "false"):
                name = f"gptq-{bits}-g{size}" + ("-act" if order == "true" else "")
                rows[name] = [f"act_order={order}", "static_groups=false", f"group_size={size}", *form]
    rows["gptq-4-g128-act-static"] = ["act_order=true", "static_groups=true", "bits=4"]
    rows["awq-4-g128"] = ["method=awq", "bits=4"]
    rows["gptq-mixed-4-g128"] = ["act_order=false", "average_bits=4", "symmetric=false"]
    for bits, symmetric in ((4, "true"), (3, "false")):
        for name, path in (("zh", ZH), ("en", EN)):
            form = [f"bits={bits}", f"symmetric={symmetric}", "act_order=false"]
            rows[f"gptq-{bits}-g128-on-{name}"] = [f"calibration.path={path}", *form]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="what model.path may be; may be given several times")
    parser.add_argument("--folder", type=Path, default=Path("runs/quantization"))
    parser.add_argument("--rows", nargs="*", help="only rows whose name begins with one of these")
    parser.add_argument("--samples", type=int, default=24, help="calibration windows")
    parser.add_argument("--length", type=int, default=512, help="tokens of a window")
    parser.add_argument("--questions", type=int, default=120, help="held-out conversations, half of them Chinese")
    parser.add_argument("--measure", nargs=3, metavar=("KIND", "PATH", "DTYPE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure, args.questions)))
        return
    for model in args.model or ["embedded:smollm2-135m-instruct"]:
        results = all_rows(model, args)
        (args.folder / f"{short(model)}.md").write_text(table(model, results), encoding="utf-8")
        print(table(model, results), flush=True)


def all_rows(model: str, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    quantised = quantised_rows()
    names = ["float32", "bfloat16", *quantised, *GGUF]
    names = [name for name in names if not args.rows or name.startswith(tuple(args.rows))]
    kept = args.folder / f"{short(model)}.json"
    results: dict[str, dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for number, name in enumerate(names, 1):
        if name in results:
            continue
        started = time.monotonic()
        folder = args.folder / short(model) / name
        made: dict[str, Any] = {}
        if name in quantised:
            words = [*quantised[name], f"samples={args.samples}", f"length={args.length}"]
            made = belle(["quantize", f"model.path={model}", f"output_dir={folder}", *words])
            made["error"] = json.loads((folder / "run.json").read_text(encoding="utf-8"))["metrics"]["mean_error"]
            found = process(["--measure", "torch", str(folder), "bfloat16"], args)
        elif name in GGUF:
            made = belle(["export", "gguf", model, f"type={GGUF[name]}", f"output_dir={folder}", "check=nothing", "name=m"])
            found = process(["--measure", "gguf", str(folder / f"m-{GGUF[name]}.gguf"), "-"], args)
        else:
            found = process(["--measure", "torch", model, name], args)
        results[name] = found | made
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(results, indent=1), encoding="utf-8")
        print(f"{number}/{len(names)} {name} in {time.monotonic() - started:.0f} s: {json.dumps(results[name])}", flush=True)
    return results


def belle(words: list[str]) -> dict[str, Any]:
    """Run a verb in a process of its own."""
    started = time.monotonic()
    code = "import sys, resource; from belle.cli import main; main(sys.argv[1:]); " \
           "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, cwd=Path.cwd())
    if done.returncode:
        sys.exit(f"belle {' '.join(words)}\n{done.stderr[-3000:]}")
    peak = int(done.stdout.rsplit("PEAK", 1)[1]) / 1000
    return {"made_seconds": time.monotonic() - started, "made_peak": peak}


def process(words: list[str], args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, HERE, *words, "--questions", str(args.questions)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(kind: str, path: str, dtype: str, questions: int) -> dict[str, Any]:
    """Everything of one model, in this process."""
    from belle.data.chat_template import ChatTemplate
    from belle.data.formats import load_records
    from belle.models.load import load_tokenizer
    from belle.records import Message
    from belle.sections import DataSection, ModelSection

    if kind == "gguf":
        run = json.loads((Path(path).parent / "run.json").read_text(encoding="utf-8"))
        section = ModelSection(path=run["recipe"]["model"]["path"])
    else:
        section = ModelSection(path=path, dtype=dtype)
    template = ChatTemplate.load(load_tokenizer(section))
    prompt = template.prompt([Message("user", "Tell me about the sea, in ten sentences.")])
    engine: Any = Gguf(path) if kind == "gguf" else Torch(section)
    speed = max(engine.speed(prompt) for _ in range(3))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    sums = {language: [0.0, 0, 0.0, 0] for language in ("zh", "en")}
    for language, record in chosen(load_records(DataSection(path="shipped:evaluation.jsonl")).records, questions):
        encoded = template.encode(record)
        losses = engine.losses(encoded.ids)
        flags = encoded.mask[1:]
        answer = [loss for loss, train in zip(losses, flags, strict=True) if train]
        for index, value in enumerate((sum(losses), len(losses), sum(answer), len(answer))):
            sums[language][index] += value
    out: dict[str, Any] = {"bytes": engine.size(), "speed": speed, "peak": peak}
    for language, (total, count, answers, supervised) in sums.items():
        out |= {f"{language}_ppl": math.exp(total / count), f"{language}_loss": answers / supervised, f"{language}_tokens": count}
    return out


def chosen(records: list[Any], questions: int) -> list[tuple[str, Any]]:
    """(language, record): as many of each language, spread over the file."""
    out = []
    for language in ("zh", "en"):
        mine = [r for r in records if r.language == language and r.messages[-1].role == "assistant"]
        out += [(language, record) for record in mine[:: max(1, len(mine) * 2 // questions)]]
    return out


class Torch:
    """A model loaded by belle."""

    def __init__(self, section: Any) -> None:
        from belle.models.load import load_model, locate

        self.model, self.folder = load_model(section), Path(locate(section.path).base)

    def speed(self, prompt: list[int], count: int = 64) -> float:
        import torch

        ids = torch.tensor([prompt], device=self.model.device)
        with torch.inference_mode():
            started = time.perf_counter()
            out = self.model.generate(ids, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
        return (out.shape[1] - len(prompt)) / (time.perf_counter() - started)

    def losses(self, ids: list[int]) -> list[float]:
        import torch

        with torch.inference_mode():
            logits = self.model(input_ids=torch.tensor([ids], device=self.model.device), use_cache=False).logits[0, :-1].float()
            wanted = torch.tensor(ids[1:], device=logits.device)
            losses: list[float] = torch.nn.functional.cross_entropy(logits, wanted, reduction="none").tolist()
        return losses

    def size(self) -> int:
        """Bytes of the files; of a model that is not quantised, of its weights in the type they are computed in."""
        from belle.models.packed_load import packed_form

        if packed_form(self.folder) is None:
            return sum(parameter.nbytes for parameter in self.model.parameters())
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))


class Gguf:
    """A model loaded by llama.cpp."""

    def __init__(self, path: str) -> None:
        import llama_cpp

        self.path, self.context = Path(path), 1024
        self.llm = llama_cpp.Llama(path, n_ctx=self.context, n_threads=2, logits_all=False, verbose=False)
        self.scorer: Any = None

    def speed(self, prompt: list[int], count: int = 64) -> float:
        self.llm.reset()
        started = time.perf_counter()
        done = 0
        for _token in self.llm.generate(prompt, temp=0.0):
            done += 1
            if done == count:
                break
        return done / (time.perf_counter() - started)

    def losses(self, ids: list[int]) -> list[float]:
        import llama_cpp
        import numpy as np

        if self.scorer is None:
            self.scorer = llama_cpp.Llama(str(self.path), n_ctx=self.context, n_threads=2, logits_all=True, verbose=False)
        self.scorer.reset()
        self.scorer.eval(ids)
        scores = self.scorer.scores[: len(ids) - 1].astype(np.float64)
        top = scores.max(1, keepdims=True)
        whole = np.log(np.exp(scores - top).sum(1)) + top[:, 0]
        losses: list[float] = (whole - scores[np.arange(len(ids) - 1), ids[1:]]).tolist()
        return losses

    def size(self) -> int:
        return self.path.stat().st_size


def table(model: str, results: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    head = ["", "zh ppl", "en ppl", "zh loss", "en loss", "MB", "tok/s", "peak MB", "error %", "made in s", "its peak MB"]
    lines = [f"### {model}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in results.items():
        cells = [name, *(f"{row[key]:.3f}" for key in ("zh_ppl", "en_ppl", "zh_loss", "en_loss")), f"{row['bytes'] / 1e6:.1f}",
                 f"{row['speed']:.1f}", f"{row['peak']:.0f}", f"{100 * row['error']:.3f}" if "error" in row else "",
                 *(f"{row[key]:.0f}" if key in row else "" for key in ("made_seconds", "made_peak"))]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def short(model: str) -> str:
    return model.removeprefix("embedded:").strip("/").replace("/", "-")


if __name__ == "__main__":
    main()
