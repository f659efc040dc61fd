"""`belle diff form=xor` against a byte-by-byte loop, plain copies of the same bytes and SHA-256 alone, in one run.

    python benchmarks/xor.py [--folder DIR] [--mib 2048] [--files 8] [--repeat 5] [--workers N]

The files lie in a folder of their own under --folder, which is removed at the end. All contenders read the same files (in the
page cache from the start, as far as memory holds them) and flush what they wrote to the disk before the clock stops. They take
turns in an order that changes, each ratio is taken within a turn, and the median of the turns is printed with their range,
because neither a disk nor a shared machine is the same from one minute to the next.

What each one has to do for N bytes:
    copy      read N, write N, with as many threads as belle
    copy-few  the same with a thread for each core
    cp        the same, one file after the other
    decrypt   read N and the key (N more), XOR, SHA-256 of the result, write N
    encrypt   the same, with SHA-256 of the plain text
    loop      decrypt as BELLE published it: chunks of 10 MiB, XOR byte by byte in Python, SHA-256, write; on --loop-mib only
    sha256    SHA-256 of N bytes in memory by as many threads: nothing that checks a hash can be faster
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from belle.release.file_blocks import BLOCK
from belle.release.parallel import WORKERS, in_threads
from belle.release.xor_diff import CHUNK, HASH, decrypt, encrypt
from belle.release.xor_folder import few

MIB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="on the disk to measure")
    parser.add_argument("--mib", type=int, default=2048, help="of all files together")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--key-mib", type=int, default=512)
    parser.add_argument("--loop-mib", type=int, default=40, help="what the byte-by-byte loop is given")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--workers", type=int, default=WORKERS, help="threads")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="belle-xor-", dir=args.folder) as tmp:
        measure(args, Path(tmp))


def measure(args: argparse.Namespace, home: Path) -> None:
    plain, enc = home / "plain", home / "enc"
    plain.mkdir()
    enc.mkdir()
    key = random_file(home / "key.bin", args.key_mib, 0)
    files = [random_file(plain / f"shard-{i}.bin", args.mib // args.files, i + 1) for i in range(args.files)]
    size = sum(path.stat().st_size for path in files)
    encs = [encrypt(path, key, enc).path for path in files]
    alone = few([path.stat().st_size for path in files])
    loop = loop_speed(encs[0], key, home / "loop.bin", args.loop_mib)
    contenders: dict[str, Callable[[Path], None]] = {
        "copy": lambda out: threads(args.workers, [lambda p=p: copy(p, out / p.name) for p in files]),
        "copy-few": lambda out: threads(os.cpu_count() or 1, [lambda p=p: copy(p, out / p.name) for p in files]),
        "cp": lambda out: threads(1, [lambda p=p: copy(p, out / p.name) for p in files]),
        "decrypt": lambda out: threads(args.workers, [lambda e=e: decrypt(e, key, out / e.name[:-4], alone=alone) for e in encs]),
        "encrypt": lambda out: threads(args.workers, [lambda p=p: encrypt(p, key, out, alone=alone) for p in files]),
        "sha256": lambda out: threads(args.workers, [lambda p=p: hash_memory(p.stat().st_size) for p in files]),
    }
    turns: list[dict[str, float]] = []
    work: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(args.repeat + 1):
        names = list(contenders)
        speeds = {}
        random.Random(turn).shuffle(names)
        for name in names:
            seconds, busy = timed(contenders[name], home / "out")
            speeds[name] = size / MIB / seconds
            work[name].append(busy * 1024 * MIB / size)
        if turn:  # the first touches memory and disk for the first time
            turns.append(speeds)
            print(f"turn {turn}: " + ", ".join(f"{name} {speed:.0f} MiB/s" for name, speed in sorted(speeds.items())), flush=True)
    report(args, size, loop, turns, {name: statistics.median(values[1:]) for name, values in work.items()})


def report(args: argparse.Namespace, size: int, loop: float, turns: list[dict[str, float]], work: dict[str, float]) -> None:
    print(f"\n{args.files} files, {size / MIB:.0f} MiB, key {args.key_mib} MiB, {args.workers} threads, {len(turns)} turns")
    print(f"byte-by-byte loop on {args.loop_mib} MiB: {loop:.1f} MiB/s (BELLE's own measured 19.8)")
    for name in turns[0]:
        speeds = [turn[name] for turn in turns]
        spread = f"(range {min(speeds):.0f} to {max(speeds):.0f})"
        print(f"{name:8} {statistics.median(speeds):7.0f} MiB/s  {spread}, {work[name]:.2f} core seconds a GiB")
    for name in ("decrypt", "encrypt"):
        own = statistics.median(turn[name] for turn in turns)
        print(f"{name}: {own / loop:.0f}x the loop (goal 100; {own / 19.8:.0f}x BELLE's figure)")
        for other in ("copy", "copy-few", "cp", "sha256"):
            shares = [turn[name] / turn[other] for turn in turns]
            goal = "" if other == "sha256" else "goal 80 %; "
            spread = f"({goal}{min(shares):.0%} to {max(shares):.0%})"
            print(f"    {statistics.median(shares):.0%} of {other} in the same turn {spread}")


def random_file(path: Path, mib: int, seed: int) -> Path:
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(generator.bytes(MIB))
        file.flush()
        os.fsync(file.fileno())
    return path


def timed(work: Callable[[Path], None], out: Path) -> tuple[float, float]:
    """(seconds, seconds of cores) of a contender that writes into an empty folder; nothing earlier is left to be flushed.

    It does its work once before, untimed: a machine that gives free memory back to its host gets it again slowly, and what one
    contender frees or discards would be at the cost of the next.
    """
    for _ in range(2):
        out.mkdir()
        os.sync()
        started, busy = time.perf_counter(), time.process_time()
        work(out)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
        shutil.rmtree(out)
    return seconds, busy


def threads(workers: int, jobs: list[Callable[[], object]]) -> None:
    in_threads([lambda _, job=job: job() for job in jobs], workers, lambda count: None)  # type: ignore[misc]


def copy(source: Path, target: Path) -> None:
    """Blocks as large as ours, through one buffer, flushed like ours."""
    buffer = bytearray(BLOCK)
    with source.open("rb", buffering=0) as file, target.open("wb", buffering=0) as out:
        while count := file.readinto(buffer):
            out.write(memoryview(buffer)[:count])
        os.fsync(out.fileno())


def hash_memory(size: int) -> None:
    block, digest = bytes(BLOCK), hashlib.sha256()
    for _ in range(0, size, BLOCK):
        digest.update(block)


def loop_speed(enc: Path, key: Path, target: Path, mib: int) -> float:
    """MiB/s of the published algorithm in plain Python: the key is read in step with the data and begins again at its end."""
    started = time.perf_counter()
    digest, done = hashlib.sha256(), 0
    with enc.open("rb") as file, key.open("rb") as pad, target.open("wb") as out:
        file.seek(HASH)
        while done < mib * MIB and (data := file.read(CHUNK)):
            other = pad.read(CHUNK)
            if not other:
                pad.seek(0)
                other = pad.read(CHUNK)
            mixed = bytes(a ^ b for a, b in zip(data, itertools.cycle(other), strict=False))
            digest.update(mixed)
            out.write(mixed)
            done += len(data)
    return done / MIB / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
