"""Scores and lower bounds: right against scikit-learn, honest under simulation, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from goldengrain_enclave.benchmark import bounds
from goldengrain_enclave.benchmark.metrics import predicted_classes, rounded_values, score_outputs
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.spec import ScoreSpec

CLASSIFICATION = ("accuracy", "balanced_accuracy", "macro_f1")


def spec(metric: str, reference: float | None = None) -> ScoreSpec:
    return ScoreSpec(metric, 950_000, reference)


def guesses(labels: np.ndarray, rate: float, classes: int, seed: int = 1) -> np.ndarray:
    """Class scores, shape (n, classes), that are right with probability `rate`."""
    generator = np.random.default_rng(seed)
    chosen = np.where(
        generator.random(len(labels)) < rate, labels, generator.integers(0, classes, len(labels))
    )
    return np.eye(classes, dtype=np.float32)[chosen]


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 7, 1500)


@pytest.mark.parametrize(
    ("metric", "reference"),
    [
        ("accuracy", sk.accuracy_score),
        ("balanced_accuracy", sk.balanced_accuracy_score),
        ("macro_f1", lambda true, guess: sk.f1_score(true, guess, average="macro")),
    ],
)
def test_classification_scores_are_scikit_learns(labels: np.ndarray, metric: str, reference: object) -> None:
    outputs = guesses(labels, 0.8, 7)
    score = score_outputs(labels, outputs, spec(metric))
    assert callable(reference)
    assert score.score_ppm == int(reference(labels, outputs.argmax(1)) * 1_000_000 + 1e-6)
    assert score.score_ppm - 60_000 < score.bound_ppm < score.score_ppm


def test_accuracy_bound_is_the_exact_binomial_one(labels: np.ndarray) -> None:
    outputs = guesses(labels, 0.9, 7)
    correct = int((outputs.argmax(1) == labels).sum())
    exact = binomtest(correct, len(labels), alternative="greater").proportion_ci(0.95, "exact").low
    assert score_outputs(labels, outputs, spec("accuracy")).bound_ppm == int(exact * 1_000_000)


@pytest.mark.parametrize(("right", "bound"), [(0, 0), (20, 860_891)])
def test_bound_at_the_edges(right: int, bound: int) -> None:
    assert int(bounds.clopper_pearson_lower(right, 20, 0.95) * 1_000_000) == bound


def test_regression_scores_are_scikit_learns() -> None:
    generator = np.random.default_rng(3)
    targets = generator.normal(1000, 5, (2000, 1))
    values = (targets + generator.normal(0, 2, targets.shape)).astype(np.float32)
    rounded = rounded_values(values)
    r2 = score_outputs(targets, values, spec("r2"))
    assert r2.score_ppm == int(sk.r2_score(targets, rounded) * 1_000_000)
    assert r2.score_ppm - 40_000 < r2.bound_ppm < r2.score_ppm
    mae = score_outputs(targets, values, spec("mae", 10.0))
    assert mae.score_ppm == int((1 - sk.mean_absolute_error(targets, rounded) / 10) * 1_000_000)
    assert mae.score_ppm - 20_000 < mae.bound_ppm < mae.score_ppm


def test_worse_than_nothing_is_zero(labels: np.ndarray) -> None:
    targets = np.arange(50.0)[:, None]
    assert score_outputs(targets, -targets, spec("r2")).score_ppm == 0
    assert score_outputs(targets, -targets, spec("mae", 1.0)).bound_ppm == 0


@pytest.mark.parametrize("metric", CLASSIFICATION)
def test_perfect_model_scores_one(labels: np.ndarray, metric: str) -> None:
    assert score_outputs(labels, guesses(labels, 1.0, 7), spec(metric)).score_ppm == 1_000_000


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_bootstrap_bound_covers(metric: str) -> None:
    """Of 200 test sets from one law about 5 % may give a bound above the truth; percentile bootstraps miss a few."""
    classes, rate = 4, 0.7
    truth = rate + (1 - rate) / classes
    above = 0
    for seed in range(200):
        labels = np.random.default_rng(seed).integers(0, classes, 400)
        score = score_outputs(labels, guesses(labels, rate, classes, seed + 1000), spec(metric))
        above += score.bound_ppm > truth * 1_000_000
    assert above <= 22


def test_bounds_repeat_exactly(labels: np.ndarray) -> None:
    outputs = guesses(labels, 0.8, 7)
    for metric in CLASSIFICATION:
        assert score_outputs(labels, outputs, spec(metric)) == score_outputs(labels, outputs, spec(metric))


def test_bound_of_a_large_set_groups_samples_without_bias() -> None:
    generator = np.random.default_rng(5)
    targets = generator.normal(0, 1, (100_000, 1))
    values = targets + generator.normal(0, 0.5, targets.shape)
    score = score_outputs(targets, values, spec("r2"))
    expected = 1 - 0.25
    assert abs(score.score_ppm / 1e6 - expected) < 0.005
    assert 0.0005 < (score.score_ppm - score.bound_ppm) / 1e6 < 0.005


def test_noise_below_the_rounding_changes_nothing(labels: np.ndarray) -> None:
    outputs = np.random.default_rng(2).random((1500, 7)).round(3).astype(np.float32)
    noisy = outputs + np.float32(2e-6)
    assert (predicted_classes(outputs) == predicted_classes(noisy)).all()


def test_ties_go_to_the_lower_class() -> None:
    assert predicted_classes(np.array([[0.2, 0.4, 0.4000001]], np.float32)).tolist() == [1]


def test_unknown_metric_is_refused(labels: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="metric must be one of"):
        score_outputs(labels, guesses(labels, 1.0, 7), spec("vibes"))
