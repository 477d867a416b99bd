"""From a model's outputs to a score in 0..1 and its lower confidence bound.

Every metric states the score from sums of per-sample statistics, so that the bootstrap can resample them and shards
could be added up; the point score itself is scikit-learn's. Scores come from probabilities or values, never from a
label that the model claims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn import metrics as sk

from goldengrain_protocol.constants import PPM
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.spec import ScoreSpec

from . import bounds

PROBABILITY_DECIMALS: Final = 5
"""Class scores are rounded to this many decimals before they are compared; a tie goes to the lower class id."""
VALUE_BITS: Final = 16
"""Regression values are rounded to this many significant bits."""
_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Score:
    """A score and its lower bound in parts per million, neither quantised nor subject to the ladder."""

    score_ppm: int
    bound_ppm: int


def score_outputs(labels: NDArray[np.generic], outputs: NDArray[np.generic], spec: ScoreSpec) -> Score:
    """Return the score of `outputs` against `labels`.

    Args:
        labels: as in `Testset.labels`.
        outputs: finite; classification: shape (n, classes); regression: shape (n,) or (n, k).

    Raises:
        InvalidInput: the metric is not known.
    """
    metric = _METRICS.get(spec.metric)
    if metric is None:
        raise InvalidInput(f"metric must be one of {', '.join(sorted(_METRICS))}, got {spec.metric!r}")
    value, bound = metric(labels, outputs, spec)
    return Score(_to_ppm(value), _to_ppm(min(bound, value)))


def predicted_classes(outputs: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the class of each sample, shape (n,), from class scores, shape (n, classes)."""
    rounded = np.round(outputs.astype(np.float64), PROBABILITY_DECIMALS)
    return np.asarray(np.argmax(rounded, axis=1), dtype=np.int64)


def rounded_values(outputs: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return regression values rounded to `VALUE_BITS` significant bits, shape (n, k)."""
    mantissa, exponent = np.frexp(outputs.astype(np.float64))
    values = np.asarray(
        np.ldexp(np.round(mantissa * 2.0**VALUE_BITS), exponent - VALUE_BITS), dtype=np.float64
    )
    return values[:, None] if values.ndim == 1 else values


def _accuracy(
    labels: NDArray[np.generic], outputs: NDArray[np.generic], spec: ScoreSpec
) -> tuple[float, float]:
    predicted = predicted_classes(outputs)
    correct = int((predicted == labels).sum())
    value = float(sk.accuracy_score(labels, predicted))
    return value, bounds.clopper_pearson_lower(correct, len(labels), _confidence(spec))


def _balanced_accuracy(
    labels: NDArray[np.generic], outputs: NDArray[np.generic], spec: ScoreSpec
) -> tuple[float, float]:
    predicted = predicted_classes(outputs)
    value = float(
        sk.recall_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0)
    )
    table = _Confusion(labels, predicted, outputs.shape[1])
    return value, bounds.bootstrap_lower_of_counts(table.counts, table.balanced_accuracy, _confidence(spec))


def _macro_f1(
    labels: NDArray[np.generic], outputs: NDArray[np.generic], spec: ScoreSpec
) -> tuple[float, float]:
    predicted = predicted_classes(outputs)
    classes = np.arange(outputs.shape[1])
    value = float(sk.f1_score(labels, predicted, labels=classes, average="macro", zero_division=0))
    table = _Confusion(labels, predicted, outputs.shape[1])
    return value, bounds.bootstrap_lower_of_counts(table.counts, table.macro_f1, _confidence(spec))


def _r2(labels: NDArray[np.generic], outputs: NDArray[np.generic], spec: ScoreSpec) -> tuple[float, float]:
    targets, values = labels.astype(np.float64), rounded_values(outputs)
    value = float(sk.r2_score(targets, values))
    width = targets.shape[1]
    centred = targets - targets.mean(axis=0)  # keeps the sums of squares small and exact
    rows = np.hstack([np.ones((len(targets), 1)), centred, centred**2, (targets - values) ** 2])

    def score(totals: bounds.Totals) -> NDArray[np.float64]:
        samples = totals[:, :1]
        sums, squares, errors = np.split(totals[:, 1:], [width, 2 * width], axis=1)
        spread = np.maximum(squares - sums**2 / samples, _TINY)
        return np.asarray((1.0 - errors / spread).mean(axis=1))

    return value, bounds.bootstrap_lower(rows, score, _confidence(spec))


def _mae(labels: NDArray[np.generic], outputs: NDArray[np.generic], spec: ScoreSpec) -> tuple[float, float]:
    if spec.reference is None:
        raise InvalidInput("the metric mae needs a reference")
    reference = spec.reference
    targets, values = labels.astype(np.float64), rounded_values(outputs)
    value = 1.0 - float(sk.mean_absolute_error(targets, values)) / reference
    errors = np.abs(targets - values).mean(axis=1)
    rows = np.stack([np.ones(len(errors)), errors], axis=1)

    def score(totals: bounds.Totals) -> NDArray[np.float64]:
        return np.asarray(1.0 - totals[:, 1] / totals[:, 0] / reference)

    return value, bounds.bootstrap_lower(rows, score, _confidence(spec))


_METRICS: Final[
    dict[str, Callable[[NDArray[np.generic], NDArray[np.generic], ScoreSpec], tuple[float, float]]]
] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "mae": _mae,
    "r2": _r2,
}


class _Confusion:
    """Counts of the (true, predicted) pairs that occur, and the scores that depend on them alone."""

    def __init__(self, labels: NDArray[np.generic], predicted: NDArray[np.int64], classes: int) -> None:
        pairs, self.counts = np.unique(labels.astype(np.int64) * classes + predicted, return_counts=True)
        true, guess = np.divmod(pairs, classes)
        self._classes = classes
        self._by_true = _indicator(true, classes)
        self._by_guess = _indicator(guess, classes)
        self._hit = (true == guess).astype(np.float64)

    def balanced_accuracy(self, counts: bounds.Totals) -> NDArray[np.float64]:
        """Mean recall over the classes that occur; shape (replicates,)."""
        hits, actual, _ = self._sums(counts)
        occurs = actual > 0
        recall = np.divide(hits, actual, out=np.zeros_like(hits), where=occurs)
        return np.asarray(recall.sum(axis=1) / occurs.sum(axis=1))

    def macro_f1(self, counts: bounds.Totals) -> NDArray[np.float64]:
        """Mean F1 over all classes, 0 for a class that neither occurs nor is predicted; shape (replicates,)."""
        hits, actual, guessed = self._sums(counts)
        both = actual + guessed
        f1 = np.divide(2.0 * hits, both, out=np.zeros_like(hits), where=both > 0)
        return np.asarray(f1.mean(axis=1))

    def _sums(
        self, counts: bounds.Totals
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        return (counts * self._hit) @ self._by_true, counts @ self._by_true, counts @ self._by_guess


def _indicator(columns: NDArray[np.int64], width: int) -> sparse.csr_array:
    rows = np.arange(len(columns))
    return sparse.csr_array((np.ones(len(columns)), (rows, columns)), shape=(len(columns), width))


def _confidence(spec: ScoreSpec) -> float:
    return spec.confidence_ppm / PPM


def _to_ppm(value: float) -> int:
    """Round down, so that nothing is paid for what was not shown; 1e-6 ppm forgives the last bit of a float."""
    return min(PPM, max(0, int(value * PPM + 1e-6)))
