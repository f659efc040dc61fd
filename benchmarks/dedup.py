"""Near-duplicates among Chinese documents: what belle finds and what it costs, beside datasketch and text-dedup, in one run.

    python benchmarks/dedup.py [--documents 100000] [--real FILE_OR_FOLDER ...] [--scale 10000,100000,1000000]
                               [--text-dedup PYTHON] [--only belle,datasketch] [--folder DIR]

**Documents.** Rows of Han characters and nothing else, so that every contender cuts the same shingles (3 characters on end) and
plain Python can count them. Words of a made-up vocabulary with Zipf's frequencies, 30 to 1000 characters (median 120); one in
twenty begins with one of 20 boilerplates; with --real, 30 % of the originals are paragraphs of the given files (text, JSON,
HTML, gzip). 30 % of all are planted: copies with characters replaced, a passage replaced or put in, or an end cut off, so that
the Jaccard similarity with their original is somewhere in 0.6 to 0.95. The order is shuffled.

**Truth.** The shingles shared by every pair of documents are counted, none is left out. Near means Jaccard >= 0.7.

**Recall** is the share of near pairs of which not both stay; **a document** the mean of it over the documents that are near to
another, so that one text that comes a thousand times does not count for half a million pairs; then recall by similarity.
**Precision** is the share of removed documents that are near to one that stays; **near any** the share that is near to any
document, for contenders that remove chains of duplicates on purpose.

**Contenders**, each in a process of its own on one core, from the same file to the numbers of those that stay. The clock starts
when modules are imported and tables made. Memory is the highest resident set of the process (text-dedup's worker not counted):
    belle            the step near_duplicates as `belle clean` runs it, in shards of 10,000, records read from the disk
    datasketch       MinHash.bulk; MinHashLSH at the threshold; a document that finds one goes. 128 permutations
    datasketch-even  the same with belle's bands, and what is found is measured on the shingles: equal recall and precision
    text-dedup       text_dedup.minhash with xxh3 and 128 permutations, on characters with spaces between (it knows words only)
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from dedup_documents import PLANTED, REAL, SIZE, make_documents, real_documents, write

ONE_THREAD = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "POLARS_MAX", "ARROW", "RAYON")
} | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}  # fmt: skip
THRESHOLD, PERMUTATIONS = 0.7, 128
SHARD = 10_000
COSTS = ("seconds", "CPU", "documents/s", "MB at start", "peak MB", "seconds for")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="files or folders of real Chinese text")
    parser.add_argument("--scale", default="10000,100000,1000000", help="numbers of documents, rising; empty for none")
    parser.add_argument("--text-dedup", default=sys.executable, help="a Python that has text-dedup, which pins old packages")
    parser.add_argument("--only", default=",".join(CONTENDERS), help="some of the contenders")
    parser.add_argument("--folder", type=Path, default=None, help="for the documents; the system's for temporary files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        contend(args.contender, args.file)
        return
    unknown = set(args.only.split(",")) - set(CONTENDERS)
    if unknown:
        parser.error(f"--only {','.join(sorted(unknown))}: the contenders are {', '.join(CONTENDERS)}")
    with tempfile.TemporaryDirectory(prefix="belle-dedup-", dir=args.folder) as home:
        if args.documents:
            compare(args, Path(home))
        scale(args, [int(count) for count in args.scale.split(",") if count], Path(home))


def compare(args: argparse.Namespace, home: Path) -> None:
    real = real_documents(args.real)
    documents = make_documents(args.documents, args.seed, real)
    file = write(documents, home / "documents.jsonl")
    began = time.perf_counter()
    pairs, near = near_pairs(documents)
    characters = sum(map(len, documents))
    del documents
    taken = min(len(real), round(REAL * (args.documents - round(PLANTED * args.documents))))
    print(f"{args.documents:,} documents, {characters:,} characters, {taken:,} of them and their copies from real text")
    print(f"brute force: {len(pairs):,} pairs at Jaccard >= {THRESHOLD} ({time.perf_counter() - began:.0f} s)\n")
    bins = [THRESHOLD, 0.75, 0.8, 0.9, 1.01]
    head = ["contender", "stay", "recall", "a document", "precision", "near any"]
    head += [f"{a:g}-{min(b, 1):g}" for a, b in pairwise(bins)]
    table = [[*head, *COSTS]]
    for name in args.only.split(","):
        result = run(name, file, args)
        if "problem" in result:
            table.append([name, result["problem"]])
            continue
        table.append([result["name"], *judged(result["stay"], args.documents, pairs, near, bins), *costs(result, args.documents)])
    print_table(table)


def scale(args: argparse.Namespace, counts: Sequence[int], home: Path) -> None:
    """belle alone, on made-up documents in the same mixture."""
    table = [["documents", "stay", *COSTS, "x linear", "CPU x linear"]]
    first: tuple[float, float] | None = None
    for count in counts:
        file = write(make_documents(count, args.seed, []), home / "scale.jsonl")
        result = run("belle", file, args)
        own = result["seconds"] / count, result["cpu"] / count
        first = first or own
        linear = [f"{b / a:.2f}" for a, b in zip(first, own, strict=True)]
        table.append([f"{count:,}", f"{len(result['stay']):,}", *costs(result, count), *linear])
    if counts:
        print_table(table)


# ---------------------------------------------------------------- truth


def near_pairs(documents: Sequence[str]) -> tuple[Any, Any]:
    """([m, 2] numbers of near documents, the lower first; [m] their Jaccard similarity): every shared shingle is counted."""
    import numpy as np

    codes, sizes = [], np.zeros(len(documents), dtype=np.int64)
    for number, text in enumerate(documents):
        points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
        one = np.unique((points[:-2] << 42) | (points[1:-1] << 21) | points[2:])
        codes.append(one)
        sizes[number] = len(one)
    flat = np.concatenate(codes)
    owner = np.repeat(np.arange(len(documents), dtype=np.int32), sizes)
    order = np.argsort(flat, kind="stable")  # postings: by shingle, then by document
    flat, owner = flat[order], owner[order]
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    last = np.flatnonzero(np.append(flat[1:] != flat[:-1], True))
    ends = np.repeat(last + 1, np.diff(last, prepend=-1))
    starts = np.concatenate(([0], np.cumsum(sizes)))
    pairs, near = [], []
    for number in range(len(documents)):
        mine = place[starts[number] : starts[number + 1]]
        later = [owner[a + 1 : b] for a, b in zip(mine.tolist(), ends[mine].tolist(), strict=True) if b - a > 1]
        if not later:
            continue
        shared = np.bincount(np.concatenate(later))
        others = np.flatnonzero(shared >= THRESHOLD * sizes[number] / 2)  # a set at 0.7 shares more than half of itself
        similarity = shared[others] / (sizes[number] + sizes[others] - shared[others])
        hits = similarity >= THRESHOLD
        pairs.append(np.stack((np.full(np.count_nonzero(hits), number), others[hits]), axis=1))
        near.append(similarity[hits])
    return np.concatenate(pairs), np.concatenate(near)


def judged(stay: Any, count: int, pairs: Any, near: Any, bins: Sequence[float]) -> list[str]:
    """Cells: what stays, recall by pair and by document, precision, near any, and the recall of each bin of similarities."""
    import numpy as np

    stays = np.zeros(count, dtype=bool)
    stays[stay] = True
    found = ~(stays[pairs[:, 0]] & stays[pairs[:, 1]])
    to_kept, to_any = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    to_any[pairs.ravel()] = True
    to_kept[pairs[stays[pairs[:, 1]], 0]] = True
    to_kept[pairs[stays[pairs[:, 0]], 1]] = True
    degree = np.bincount(pairs.ravel(), minlength=count)
    resolved = np.bincount(pairs.ravel(), np.repeat(found, 2), minlength=count)
    shares = [found.mean(), (resolved[to_any] / degree[to_any]).mean(), to_kept[~stays].mean(), to_any[~stays].mean()]
    cells = [f"{stays.sum():,}", *(f"{share:.4f}" for share in shares)]
    inside = [(near >= a) & (near < b) for a, b in pairwise(bins)]
    return cells + [f"{found[each].mean():.3f}" if each.any() else "-" for each in inside]


# ---------------------------------------------------------------- contenders


def run(name: str, file: Path, args: argparse.Namespace) -> dict[str, Any]:
    """What a contender says of itself, in a process of its own."""
    import numpy as np

    python = args.text_dedup if name == "text-dedup" else sys.executable
    if name == "text-dedup":
        spaced = file.with_name("spaced.jsonl")
        with file.open(encoding="utf-8") as rows, spaced.open("w", encoding="utf-8") as out:
            for row in rows:
                out.write(json.dumps({"text": " ".join(json.loads(row)["text"])}, ensure_ascii=False) + "\n")
        file = spaced
    words = [python, __file__, "--contender", name, "--file", str(file)]
    done = subprocess.run(words, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"problem": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result | {"stay": np.load(file.with_suffix(".npy"))}


def contend(name: str, file: Path) -> None:
    """Run one contender here, and print what it cost."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    imported, work = CONTENDERS[name]()
    before, parts = peak(), {}
    wall, cpu = time.perf_counter(), cpu_seconds()
    marks = [("", wall)]
    stay = work(file, lambda part: marks.append((part, time.perf_counter())))
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    for (_, begin), (part, end) in pairwise(marks):
        parts[part] = round(end - begin, 2)
    said = {"name": imported, "seconds": wall, "cpu": cpu, "parts": parts, "before": before, "peak": peak()}
    import numpy as np

    np.save(file.with_suffix(".npy"), np.array(list(stay() if callable(stay) else stay), dtype=np.int64))
    print(json.dumps(said))


def belle() -> tuple[str, Callable[..., Any]]:
    import numpy as np

    from belle.curation.dedup import NearDuplicates
    from belle.curation.items import Item
    from belle.curation.shards import Prepared, write_array
    from belle.curation.shingles import fold_keys
    from belle.records import Document

    fold_keys([""])  # the table of characters, which would flatter small numbers of documents in `x linear`

    class Lines:
        """Documents by number, read from the file."""

        def __init__(self, file: Path) -> None:
            self.file, self.starts = file.open("rb"), [0]

        def __len__(self) -> int:
            return len(self.starts) - 1

        def __getitem__(self, number: int) -> Item:
            self.file.seek(self.starts[number])
            return Item(number, Document(json.loads(self.file.readline())["text"]))

        def shards(self) -> Iterator[list[Document]]:
            records = []
            for line in self.file:
                self.starts.append(self.starts[-1] + len(line))
                records.append(Document(json.loads(line)["text"]))
                if len(records) == SHARD:
                    yield records
                    records = []
            yield records

    def work(file: Path, mark: Callable[[str], None]) -> Any:
        step = NearDuplicates(threshold=THRESHOLD, shingle=SIZE, permutations=PERMUTATIONS)
        lines, paths = Lines(file), []
        for number, records in enumerate(lines.shards()):
            paths.append(file.with_name(f"{file.stem}-{number}.sketch"))
            write_array(paths[-1], step.prepare(records))
        mark("prepare")
        stays = np.ones(len(lines), dtype=bool)
        stays[[number for number, _ in step.decide(Prepared(paths), lines)]] = False  # type: ignore[arg-type]
        mark("decide")
        for path in paths:
            path.unlink()
        return np.flatnonzero(stays)

    return "belle", work


def datasketch(even: bool = False) -> tuple[str, Callable[..., Any]]:
    from datasketch import MinHash, MinHashLSH

    from belle.curation.minhash import Bands

    def shingles(text: str) -> set[bytes]:
        return {text[i : i + SIZE].encode() for i in range(len(text) - SIZE + 1)}

    def work(file: Path, mark: Callable[[str], None]) -> Any:
        with file.open(encoding="utf-8") as rows:
            texts = [json.loads(row)["text"] for row in rows]
        mark("read")
        sketches = MinHash.bulk((shingles(text) for text in texts), num_perm=PERMUTATIONS)
        mark("sketch")
        bands = Bands.for_threshold(THRESHOLD, PERMUTATIONS)
        lsh = MinHashLSH(THRESHOLD, PERMUTATIONS, params=(bands.count, bands.rows) if even else None)
        stay = []
        for number, sketch in enumerate(sketches):
            found = lsh.query(sketch)
            if even and found:
                own = shingles(texts[number])
                others = (shingles(texts[other]) for other in found)
                found = [1 for other in others if len(own & other) >= THRESHOLD * len(own | other)]
            if not found:
                lsh.insert(number, sketch)
                stay.append(number)
        mark("find")
        return stay

    return f"datasketch {version('datasketch')}{' even' if even else ''}", work


def text_dedup() -> tuple[str, Callable[..., Any]]:
    from datasets import load_dataset, load_from_disk
    from text_dedup import minhash

    def work(file: Path, mark: Callable[[str], None]) -> Any:
        cache, out = file.parent / "cache", file.parent / "text-dedup"
        words = ["--path", "json", "--data_files", str(file), "--split", "train", "--cache_dir", str(cache), "--output", str(out)]
        words += ["--column", "text", "--ngram", str(SIZE), "--min_length", "1", "--num_perm", str(PERMUTATIONS)]
        words += ["--threshold", str(THRESHOLD), "--hash_func", "xxh3", "--num_proc", "1"]
        minhash.main(words, standalone_mode=False)
        mark("all")

        def stay() -> list[int]:
            numbers: dict[str, list[int]] = {}
            for number, row in enumerate(load_dataset("json", data_files=str(file), split="train", cache_dir=str(cache))):
                numbers.setdefault(row["text"], []).append(number)
            return [numbers[row["text"]].pop(0) for row in load_from_disk(str(out))]

        return stay

    return f"text-dedup {version('text-dedup')}", work


CONTENDERS: dict[str, Callable[[], tuple[str, Callable[..., Any]]]] = {
    "belle": belle, "datasketch": datasketch, "datasketch-even": lambda: datasketch(True), "text-dedup": text_dedup,
}  # fmt: skip


def peak() -> float:
    """MB that this process had at most; `ru_maxrss` would count the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def costs(result: dict[str, Any], count: int) -> list[str]:
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in result["parts"].items())
    seconds, cpu, before, most = (result[name] for name in ("seconds", "cpu", "before", "peak"))
    return [f"{seconds:.1f}", f"{cpu:.1f}", f"{count / seconds:,.0f}", f"{before:,.0f}", f"{most:,.0f}", parts]


def print_table(table: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(table[0]) + " |\n" + "|---" * len(table[0]) + "|")
    for row in table[1:]:
        print("| " + " | ".join([*row, *[""] * (len(table[0]) - len(row))]) + " |")
    print(flush=True)


if __name__ == "__main__":
    main()
