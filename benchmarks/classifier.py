"""How good is `belle.curation.classify`? `python benchmarks/classifier.py [eval_set.json]`

1. Five-fold cross-validation on its own labelled seeds (the shipped instruction data always among the training rows).
2. Belle's own evaluation questions, which it never learns from.
3. BELLE's eval_set.json, if given: other people's questions, with classes put into our names; then once more with what the
   classifier calls translation counted as rewrite, and cot as math: that set has no such classes, its translations (39, by its
   own answers) stand under rewrite.

Each beside a baseline that always says the commonest class; 95 % intervals by resampling the questions (2000 draws). The
macro-F1 is over the classes that a set has; a word that is none of them (cot and chat in BELLE's set) counts as a mistake.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from belle.curation.classify import RIDGE, SEEDS, classify, labelled
from belle.curation.softmax import train
from belle.data.categories import CLASSES
from belle.evaluation.tasks import load_questions
from belle.sections import DataSection

FOLDS = 5
DRAWS = 2000
AS = {"translation": "rewrite", "cot": "math"}


def cross_validation() -> tuple[list[str], list[str]]:
    rows = labelled()
    seeds = [row for row in rows if row[2] == SEEDS.name]
    others = [row for row in rows if row[2] != SEEDS.name]
    fold = np.random.default_rng(0).permutation(len(seeds)) % FOLDS
    truth, said = [], []
    for number in range(FOLDS):
        held = [row for row, f in zip(seeds, fold, strict=True) if f == number]
        rest = others + [row for row, f in zip(seeds, fold, strict=True) if f != number]
        model = train([text for text, _, _ in rest], [category for _, category, _ in rest], CLASSES, RIDGE)
        best = model.probabilities([text for text, _, _ in held]).argmax(1)
        truth += [category for _, category, _ in held]
        said += [CLASSES[i] for i in best]
    return truth, said


def questions(path: str) -> tuple[list[str], list[str]]:
    found = load_questions(DataSection(path=path))
    truth = ["chat" if question.category == "identity" else question.category for question in found]
    return truth, [word for word, _ in classify([question.text for question in found])]


def f1(truth: np.ndarray, said: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """[classes] 2 tp / (2 tp + fp + fn); nan for a class that a draw of questions lacks."""
    size = len(CLASSES)
    table = np.bincount(truth * size + said, minlength=size * size).reshape(size, size)
    both = table.diagonal()
    with np.errstate(invalid="ignore"):
        return (2 * both / (table.sum(0) + table.sum(1)))[list(classes)]


def report(name: str, truth_words: Sequence[str], said_words: Sequence[str]) -> dict[str, object]:
    counts = Counter(truth_words)
    order = [word for word in CLASSES if counts[word]]
    classes = [CLASSES.index(word) for word in order]
    truth = np.asarray([CLASSES.index(word) for word in truth_words])
    said = np.asarray([CLASSES.index(word) for word in said_words])
    common = np.full_like(truth, CLASSES.index(counts.most_common(1)[0][0]))
    random = np.random.default_rng(0)
    draws = [random.integers(0, len(truth), len(truth)) for _ in range(DRAWS)]
    result: dict[str, object] = {"set": name, "questions": len(truth)}
    print(f"\n## {name}: {len(truth)} questions, {len(order)} classes\n")
    for who, guess in (("classifier", said), ("commonest class", common)):
        macro = np.nanmean(f1(truth, guess, classes))
        spread = np.nanquantile([np.nanmean(f1(truth[d], guess[d], classes)) for d in draws], [0.025, 0.975])
        right = guess == truth
        low, high = np.quantile([right[d].mean() for d in draws], [0.025, 0.975])
        accuracy = right.mean()
        print(f"{who:<16} macro-F1 {macro:.3f} [{spread[0]:.3f}, {spread[1]:.3f}]   "
              f"accuracy {accuracy:.3f} [{low:.3f}, {high:.3f}]")  # fmt: skip
        result[who] = {"macro_f1": macro, "macro_f1_interval": list(spread), "accuracy": accuracy, "interval": [low, high]}
    table = Counter(zip(truth_words, said_words, strict=True))
    print("\n| class | questions | precision | recall | F1 | taken for |\n|---|---|---|---|---|---|")
    per_class = {}
    for word in CLASSES:
        taken, both = sum(n for (_, s), n in table.items() if s == word), table[word, word]
        if not counts[word] and not taken:
            continue
        precision, recall = both / taken if taken else 0.0, both / counts[word] if counts[word] else float("nan")
        score = 2 * both / (taken + counts[word])
        wrong = ", ".join(f"{s} {n}" for (t, s), n in table.most_common() if t == word and s != word)
        print(f"| {word} | {counts[word]} | {precision:.2f} | {recall:.2f} | {score:.2f} | {wrong} |")
        per_class[word] = {
            "questions": counts[word], "precision": precision, "recall": recall if counts[word] else None, "f1": score,
        }  # fmt: skip
    return result | {"classes": per_class}


def main() -> None:
    results = [
        report("cross-validation on the seeds", *cross_validation()),
        report("belle's own evaluation", *questions("shipped:evaluation.jsonl")),
    ]
    for path in sys.argv[1:]:
        name = path.rsplit("/", 1)[-1]
        truth, said = questions(path)
        results.append(report(name, truth, said))
        folded = [AS.get(word, word) if AS.get(word, word) in truth and word not in truth else word for word in said]
        if folded != said:
            results.append(report(f"{name}, as that set names them", truth, folded))
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
