"""From scores to money: the reference of what `Market` computes. Integers only, rounding down.

Source: docs/spec/pricing.md.
"""

from collections.abc import Sequence
from itertools import pairwise

from goldengrain_protocol.constants import BPS, PPM, QUORUMS, Outcome, SubmissionState
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.messages import CurvePoint, Result, validate_curve

__all__ = [
    "chosen_result",
    "fee_shares",
    "is_improved",
    "price_of",
    "quantize_down",
    "royalty_of",
    "settle",
    "validate_curve",
]


def price_of(curve: Sequence[CurvePoint], bound_ppm: int) -> int:
    """Return the price at `bound_ppm`: 0 below the first point, the last price above the last point.

    Between two points it is `p0 + (p1 - p0) * (x - x0) // (x1 - x0)`.

    Args:
        curve: scores strictly rising (see `validate_curve`).
    """
    if bound_ppm < 0:
        raise InvalidInput(f"bound_ppm must not be negative, got {bound_ppm}")
    if not curve or bound_ppm < curve[0].score_ppm:
        return 0
    for low, high in pairwise(curve):
        if bound_ppm < high.score_ppm:
            rise = (high.price - low.price) * (bound_ppm - low.score_ppm)
            return low.price + rise // (high.score_ppm - low.score_ppm)
    return curve[-1].price


def quantize_down(ppm: int, step: int) -> int:
    """Return the largest multiple of `step` that is not above `ppm` (`ppm` itself for step 0 or 1)."""
    if not 0 <= ppm <= PPM or step < 0:
        raise InvalidInput(f"quantize_down needs 0 <= ppm <= {PPM} and step >= 0, got {ppm} and {step}")
    return ppm - ppm % step if step else ppm


def is_improved(bound: int, best_bound: int, step: int) -> bool:
    """Return whether `bound` beats the developer's best by at least `step` (the ladder rule)."""
    return bound >= best_bound + step


def chosen_result(results: Sequence[Result]) -> Result:
    """Return the result that counts: the median by bound, failures below every score.

    Of equal ranks the first in the given order (signers ascending) comes first.

    Raises:
        InvalidInput: not 1, 3 or 5 results.
    """
    if len(results) not in QUORUMS:
        raise InvalidInput(f"results must number one of {QUORUMS}, got {len(results)}")
    ranked = sorted(results, key=lambda r: r.bound_ppm if r.outcome == Outcome.SCORED else -1)
    return ranked[len(ranked) // 2]


def settle(
    curve: Sequence[CurvePoint], result: Result, *, best_bound_ppm: int, step_ppm: int, reserve: int
) -> tuple[SubmissionState, int]:
    """Return the state and price that `Market.accept` gives a submission for the chosen `result`.

    Priced only if scored, improved on the developer's best by `step_ppm`, with a price above zero that
    is not below `reserve`; the price is 0 in every other state.
    """
    if result.outcome == Outcome.MODEL_FAILED:
        return SubmissionState.FAILED, 0
    if is_improved(result.bound_ppm, best_bound_ppm, step_ppm):
        price = price_of(curve, result.bound_ppm)
        if price > 0 and price >= reserve:
            return SubmissionState.PRICED, price
    return SubmissionState.UNPRICED, 0


def royalty_of(amount: int, royalty_bps: int) -> int:
    """Return the royalty's part of `amount`, rounded down; the payee receives the rest."""
    if amount < 0 or not 0 <= royalty_bps <= BPS:
        raise InvalidInput(f"royalty needs amount >= 0 and bps in 0..{BPS}, got {amount} and {royalty_bps}")
    return amount * royalty_bps // BPS


def fee_shares(fee_wei: int, workers: int) -> list[int]:
    """Return the workers' parts of a submission fee: equal, the remainder to the first."""
    if fee_wei < 0 or workers < 1:
        raise InvalidInput(f"fee shares need fee >= 0 and at least one worker, got {fee_wei} and {workers}")
    share = fee_wei // workers
    return [fee_wei - share * (workers - 1)] + [share] * (workers - 1)
