"""Multinomial logistic regression on sparse features, in numpy: small, quick, the same on every run.

Minimises the sum of -log p(y) + `ridge` / 2 |W|^2. The curvature of the loss is at most half of X'X (Böhning, 1992, "Multinomial
logistic regression algorithm"), so one inverse serves all steps and no step size has to be chosen. With fewer rows than
columns the weights are a sum of rows, W = X'A, and everything happens in the n x n space of A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from belle.curation.instruction_features import SIZE, vectors

STEPS = 80


@dataclass(frozen=True)
class Softmax:
    """A trained model: `weights` [SIZE + 1, classes], the last row is the bias."""

    classes: tuple[str, ...]
    weights: NDArray[np.float32]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """[len(texts), classes], each row sums to 1."""
        rows, columns, values = vectors(texts)
        scores = np.tile(self.weights[SIZE].astype(np.float64), (len(texts), 1))
        # Row by row in a fixed order: what a text is taken for does not depend on its neighbours.
        starts = np.searchsorted(rows, np.arange(len(texts) + 1))
        for row in range(len(texts)):
            part = slice(starts[row], starts[row + 1])
            scores[row] += values[part] @ self.weights[columns[part]]
        return _softmax(scores)


def train(texts: Sequence[str], labels: Sequence[str], classes: Sequence[str], ridge: float) -> Softmax:
    """Fit a model; every class has the same say, however many texts it has."""
    rows, columns, values = vectors(texts)
    matrix = np.zeros((len(texts), SIZE + 1), np.float32)
    np.add.at(matrix, (rows, columns), values)
    matrix[:, SIZE] = 1.0
    truth = np.asarray([[label == name for name in classes] for label in labels], np.float64)
    share = truth.sum(0)
    weight = (truth @ (len(texts) / (len(classes) * np.maximum(share, 1))))[:, None]
    gram = (matrix @ matrix.T).astype(np.float64)
    root = np.sqrt(weight)
    inverse = np.linalg.inv(0.5 * root * gram * root.T + ridge * np.eye(len(texts)))
    dual = np.zeros_like(truth)
    for _ in range(STEPS):
        residual = weight * (_softmax(gram @ dual) - truth)
        dual -= root * (inverse @ ((residual + ridge * dual) / root))
    return Softmax(tuple(classes), (matrix.T @ dual.astype(np.float32)).astype(np.float32))


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    power = np.exp(scores - scores.max(1, keepdims=True))
    result: NDArray[np.float64] = power / power.sum(1, keepdims=True)
    return result
