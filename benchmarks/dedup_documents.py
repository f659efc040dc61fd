"""The documents of `benchmarks/dedup.py`: made-up Chinese ones, real ones, and planted copies of both."""

from __future__ import annotations

import gzip
import html
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SIZE = 3
"""Characters of a shingle."""
PLANTED, REAL, BOILERPLATE = 0.3, 0.3, 0.05
SHORTEST, LONGEST = 30, 1000


def make_documents(count: int, seed: int, real: Sequence[str]) -> list[str]:
    """`count` documents, the planted ones among them, shuffled."""
    import numpy as np

    chance, draw = random.Random(seed), np.random.default_rng(seed)
    originals = count - round(PLANTED * count)
    documents = chance.sample(list(real), min(len(real), round(REAL * originals)))
    characters = "".join(bytes((row, cell)).decode("gb2312") for row in range(0xB0, 0xD7) for cell in range(0xA1, 0xFA))
    words = ["".join(chance.choices(characters, k=chance.choice((1, 2, 2, 2, 3)))) for _ in range(40_000)]
    shares = np.cumsum(1 / np.arange(10, len(words) + 10))
    lengths = np.clip(draw.lognormal(np.log(120), 0.6, originals - len(documents)), SHORTEST, LONGEST).astype(int)

    def text(length: int) -> str:
        picked = np.searchsorted(shares, draw.random(length) * shares[-1]).tolist()
        return "".join([words[i] for i in picked[: length // 2 + 8]])[:length]

    boilerplates = [text(80) for _ in range(20)]
    for length in lengths.tolist():
        start = chance.choice(boilerplates) if chance.random() < BOILERPLATE else ""
        documents.append(start + text(length))
    while len(documents) < count:
        original = documents[chance.randrange(originals)]
        for _ in range(min(chance.choice((1, 1, 1, 1, 2, 5)), count - len(documents))):
            documents.append(changed(original, chance.uniform(0.6, 0.95), characters, chance))
    chance.shuffle(documents)
    return documents


def changed(text: str, similarity: float, characters: Sequence[str], chance: random.Random) -> str:
    """A copy at about this Jaccard similarity: n shingles, of which a place replaced costs three, a passage its length + 2."""
    shingles = len(text) - SIZE + 1
    kind = chance.choice(("places", "passage", "insert", "cut"))
    lost = shingles * (1 - similarity) / (1 + similarity)
    if kind == "places":
        row = list(text)
        for place in chance.sample(range(len(text)), max(1, round(lost / SIZE))):
            row[place] = chance.choice(characters)
        return "".join(row)
    if kind == "cut":
        kept = max(SIZE, round(shingles * similarity) + SIZE - 1)
        start = chance.choice((0, len(text) - kept))
        return text[start : start + kept]
    length = max(1, round(lost) - 2 if kind == "passage" else round((shingles - 2) / similarity - shingles))
    start = chance.randrange(max(1, len(text) - length))
    end = start + length if kind == "passage" else start
    return text[:start] + "".join(chance.choices(characters, k=length)) + text[end:]


def real_documents(paths: Sequence[Path]) -> list[str]:
    """Han characters of the paragraphs in these files; those with fewer than `SHORTEST` are left out, long ones cut."""
    files = sorted({file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()})
    found = []
    for file in files:
        for text in paragraphs(file):
            han = "".join(re.findall("[\u4e00-\u9fff]+", text))[:LONGEST]
            if len(han) >= SHORTEST:
                found.append(han)
    return found


def paragraphs(file: Path) -> Iterator[str]:
    data = file.read_bytes()
    try:
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8")
    except UnicodeDecodeError:
        return  # a picture, or a text in another code
    if file.suffix == ".json":
        yield from strings(json.loads(text))
    elif ".htm" in file.suffix:
        broken = re.sub(r"</(?:p|h\d|li|td|div)>", "\n\n", re.sub(r"<(?!/)[^>]*>", "", text))
        yield from re.split(r"\n\s*\n", html.unescape(broken))
    else:
        yield from re.split(r"\n\s*\n|\n\.[PST][PH].*", text)


def strings(value: Any) -> Iterator[str]:
    """Lists of strings (the lines of a poem) as one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        yield "".join(value)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def write(documents: Sequence[str], file: Path) -> Path:
    with file.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in documents)
    return file
