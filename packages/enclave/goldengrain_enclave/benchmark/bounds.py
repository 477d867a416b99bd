"""One-sided lower confidence bounds: what a score is worth once luck is taken out.

Exact for proportions. For everything else a bootstrap with a fixed seed over sufficient statistics, which gives the
same bound for the same outputs on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

Totals = NDArray[np.float64]
"""Sums of sufficient statistics, shape (replicates, statistics)."""

REPLICATES: Final = 2_000
"""Bootstrap replicates."""
MAX_GROUPS: Final = 4_096
"""Samples beyond this many are first added up in groups: sums of independent groups of equal law, so that the
bootstrap over groups remains one, at a cost that does not grow with the test set."""
_SEED: Final = 0x676F6C64
_BLOCK_CELLS: Final = 2**22
"""Most weights held in memory at a time (32 MiB)."""


def clopper_pearson_lower(successes: int, trials: int, confidence: float) -> float:
    """Return the exact one-sided lower bound of a proportion.

    Args:
        confidence: e.g. 0.95; the true proportion lies below the bound with probability at most 1 - confidence.

    Source: Clopper and Pearson 1934.
    """
    if successes == 0:
        return 0.0
    return float(beta.ppf(1.0 - confidence, successes, trials - successes + 1))


def bootstrap_lower(
    rows: NDArray[np.float64], score: Callable[[Totals], NDArray[np.float64]], confidence: float
) -> float:
    """Return the percentile bootstrap's lower bound of `score` over independent samples.

    Args:
        rows: sufficient statistics of each sample, shape (samples, statistics).
        score: maps totals, shape (replicates, statistics), to scores, shape (replicates,).
    """
    groups = _grouped(rows)
    generator = np.random.Generator(np.random.PCG64(_SEED))
    count = len(groups)
    even = np.full(count, 1.0 / count)
    scores = []
    block = max(1, _BLOCK_CELLS // count)
    for start in range(0, REPLICATES, block):
        weights = generator.multinomial(count, even, size=min(block, REPLICATES - start))
        scores.append(score(weights.astype(np.float64) @ groups))
    return _lower_quantile(np.concatenate(scores), confidence)


def bootstrap_lower_of_counts(
    counts: NDArray[np.int64], score: Callable[[Totals], NDArray[np.float64]], confidence: float
) -> float:
    """Return the same bound where a sample's statistic is the one cell that it falls into.

    Args:
        counts: how many samples fell into each cell, shape (cells,).
        score: maps counts, shape (replicates, cells), to scores, shape (replicates,).
    """
    generator = np.random.Generator(np.random.PCG64(_SEED))
    samples = int(counts.sum())
    shares = counts / samples
    scores = []
    block = max(1, _BLOCK_CELLS // len(counts))
    for start in range(0, REPLICATES, block):
        drawn = generator.multinomial(samples, shares, size=min(block, REPLICATES - start))
        scores.append(score(drawn.astype(np.float64)))
    return _lower_quantile(np.concatenate(scores), confidence)


def _lower_quantile(scores: NDArray[np.float64], confidence: float) -> float:
    return float(np.quantile(scores, 1.0 - confidence, method="lower"))


def _grouped(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add samples up in at most `MAX_GROUPS` groups, chosen by a fixed shuffle, so that file order does not matter."""
    if len(rows) <= MAX_GROUPS:
        return rows
    order = np.random.Generator(np.random.PCG64(_SEED)).permutation(len(rows))
    edges = np.linspace(0, len(rows), MAX_GROUPS, endpoint=False).astype(np.int64)
    return np.add.reduceat(rows[order], edges, axis=0)
