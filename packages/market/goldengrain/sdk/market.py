"""The two calls that most programs need: sell a model, buy a model."""

from __future__ import annotations

from typing import Any

from goldengrain.sdk.benchmarks import Progress, fetch_spec, get_benchmark
from goldengrain.sdk.convert import to_onnx
from goldengrain.sdk.orders import DEFAULT_WINDOW_S, open_purchase, place_order, wait_for_delivery
from goldengrain.sdk.runtime import Predictor
from goldengrain.sdk.session import Session
from goldengrain.sdk.submissions import SubmissionView, submit_model, wait_for_score
from goldengrain_protocol.types import Hash32, hash32_from_hex


def sell(
    session: Session,
    benchmark: Hash32 | str,
    model: Any,
    *,
    sample: Any = None,
    reserve: int = 0,
    timeout_s: float = 600,
    on_progress: Progress | None = None,
) -> SubmissionView:
    """Convert a fitted model, submit it encrypted with the benchmark's fee, and return it with score and price.

    Args:
        benchmark: its id, as bytes or 0x hexadecimal.
        model: serialised ONNX, or a fitted scikit-learn or XGBoost estimator.
        sample: rows of inputs, shape (n, features), to check a conversion on; not needed for ONNX bytes.
        reserve: the lowest price you accept, in the smallest unit of the benchmark's token.

    Raises:
        GoldenGrainError: with the unmet condition; running it again continues and pays the fee once.
    """
    identity = _hash(benchmark)
    spec = fetch_spec(session, get_benchmark(session, identity).terms)
    onnx_model = to_onnx(model, sample, spec)
    submission = submit_model(session, identity, onnx_model, reserve=reserve, on_progress=on_progress)
    return wait_for_score(session, submission, timeout_s=timeout_s, on_progress=on_progress)


def buy(
    session: Session,
    submission: Hash32 | str,
    *,
    max_price: int | None = None,
    window_s: int = DEFAULT_WINDOW_S,
    timeout_s: float = 600,
    on_progress: Progress | None = None,
) -> Predictor:
    """Check and order a submission, wait for its key, and return the opened model.

    Args:
        max_price: refuse to pay more, in the smallest unit of the benchmark's token.
        window_s: how long the developer has to deliver before the money can be taken back.

    Raises:
        GoldenGrainError: with the unmet condition; running it again continues and pays once.
    """
    purchase = place_order(
        session, _hash(submission), window_s=window_s, max_price=max_price, on_progress=on_progress
    )
    wait_for_delivery(session, purchase, timeout_s=timeout_s, on_progress=on_progress)
    return open_purchase(session, purchase)


def _hash(value: Hash32 | str) -> Hash32:
    return hash32_from_hex(value) if isinstance(value, str) else value
