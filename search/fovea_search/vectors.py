"""The arithmetic of queries: vectors of length 1 in, one vector or scores out; no I/O.

A query without marks is

    q = unit(alpha * image + (1 - alpha) * text) - beta * negative

and a row's score is its cosine with q, plus `scene_weight` times the cosine of its whole picture
with the scene's words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Logistic regression from marks, with their prior: see `learn`.
PRIOR_WEIGHT, SHARPNESS = 0.05, 10.0
NEWTON_STEPS, CONVERGED = 50, 1e-6


def unit(vector: Floats) -> Floats:
    """float32 [..., D], each of length 1; zeros stay."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    result: Floats = (vector / np.maximum(length, 1e-12)).astype(np.float32)
    return result


def mean(vectors: Sequence[Floats]) -> Floats:
    """The mean direction of some vectors, as CLIP averages its prompt templates."""
    return unit(np.mean([unit(vector) for vector in vectors], axis=0))


def combine(
    text: Floats | None, image: Floats | None, negative: Floats | None, alpha: float, beta: float
) -> Floats:
    """The query for what is wanted and what is not, float32 [D]; see the module's formula."""
    parts = [vector for vector in (text, image) if vector is not None]
    if text is not None and image is not None:
        wanted = unit(alpha * unit(image) + (1 - alpha) * unit(text))
    else:
        wanted = unit(parts[0]) if parts else np.zeros_like(negative)
    if negative is not None:
        wanted = wanted - beta * unit(negative)
    return unit(wanted)


def learn(query: Floats | None, good: Floats, bad: Floats) -> Floats:
    """The query after marks: weights of a logistic regression, drawn to the former query.

    query: [D], or None. good: [G, D]. bad: [B, D]. Minimises

        mean log(1 + exp(-y_i * s * (w . v_i + b))) + c / 2 * |w - query|^2

    by Newton's method; y is 1 or -1, s is SHARPNESS, c is PRIOR_WEIGHT * s; b is free. With marks
    of only one kind, which no regression can separate, it is Rocchio's formula.
    """
    vectors = np.concatenate([good, bad]).astype(np.float64)
    signs = np.concatenate([np.ones(len(good)), -np.ones(len(bad))])
    if not len(vectors):
        raise ValueError("expected marks, got none")
    start = mean(list(good)) if query is None and len(good) else query
    prior = np.zeros(vectors.shape[1]) if start is None else start.astype(np.float64)
    if not len(good) or not len(bad):
        return _towards(prior, vectors, signs)
    design = SHARPNESS * np.hstack([vectors, np.ones((len(vectors), 1))])
    penalty = np.full(design.shape[1], PRIOR_WEIGHT * SHARPNESS)
    penalty[-1] = 1e-3
    target = np.append(prior, 0.0)
    weights = target.copy()
    for _ in range(NEWTON_STEPS):
        wrong = 1 / (1 + np.exp(np.clip(signs * (design @ weights), -50, 50)))
        gradient = penalty * (weights - target) - design.T @ (signs * wrong) / len(vectors)
        curve = (wrong * (1 - wrong))[:, None] * design
        step = np.linalg.solve(np.diag(penalty) + design.T @ curve / len(vectors), gradient)
        weights -= step
        if np.abs(step).max() < CONVERGED:
            break
    return unit(weights[:-1].astype(np.float32))


# Rocchio's weights for marks of one kind, as in Manning, Raghavan and Schuetze, section 9.1.1.
_TOWARDS_GOOD, _FROM_BAD = 0.75, 0.15


def _towards(
    prior: NDArray[np.float64], vectors: NDArray[np.float64], signs: NDArray[np.float64]
) -> Floats:
    """Rocchio's formula: a regression needs both kinds of marks."""
    weight = _TOWARDS_GOOD if signs[0] > 0 else -_FROM_BAD
    return unit((prior + weight * vectors.mean(axis=0)).astype(np.float32))
