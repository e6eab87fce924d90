"""Exact bounds on a probability that was seen k times in n: Clopper and Pearson, Biometrika 26 (1934).

Before it: `run` counts rollbacks. After it: `page` prints the bounds and holds the lower one against 1 %.
"""

from __future__ import annotations

import math

import numpy as np


def at_least(k: int, n: int, p: float) -> float:
    """Return P(X >= k) for X binomial(n, p)."""
    if k <= 0:
        return 1.0
    if p <= 0.0:
        return 0.0
    if p >= 1.0:
        return 1.0
    i = np.arange(k, n + 1)
    logs = np.array([math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in i])
    return float(min(np.exp(logs + i * math.log(p) + (n - i) * math.log1p(-p)).sum(), 1.0))


def lower(k: int, n: int, confidence: float) -> float:
    """Return the one-sided lower bound at that confidence."""
    if k == 0:
        return 0.0
    low, high = 0.0, k / n
    for _ in range(40):
        middle = 0.5 * (low + high)
        if at_least(k, n, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def upper(k: int, n: int, confidence: float) -> float:
    """Return the one-sided upper bound at that confidence."""
    return 1.0 - lower(n - k, n, confidence) if k < n else 1.0
