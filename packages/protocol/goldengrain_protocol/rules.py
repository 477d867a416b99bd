"""Which terms the market accepts, checked before anybody pays gas to be told.

Source: `Market.open_benchmark`; docs/spec/messages.md.
"""

from itertools import pairwise

from goldengrain_protocol.constants import (
    BPS,
    MAX_CURVE_POINTS,
    MAX_FEE_WEI,
    MAX_PRICE,
    MAX_RESULT_WINDOW_S,
    MAX_SUBMISSION_CAP,
    MAX_SUBMISSIONS_CLOSE_S,
    PPM,
    QUORUMS,
    TCB_ALLOWED_ALL,
    Assurance,
)
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.terms import Benchmark, CurvePoint
from goldengrain_protocol.types import ZERO_ADDRESS


def validate_benchmark(benchmark: Benchmark) -> None:
    """Check the terms that `Market.open_benchmark` demands, apart from time and sender.

    Raises:
        InvalidInput: names the first field that does not fit.
    """
    limits = {
        "submission_cap": (1, MAX_SUBMISSION_CAP),
        "fee_wei": (0, MAX_FEE_WEI),
        "step_ppm": (1, PPM),
        "submissions_close": (1, MAX_SUBMISSIONS_CLOSE_S),
        "result_window_s": (1, MAX_RESULT_WINDOW_S),
        "assurance": (Assurance.SIMULATED, Assurance.HARDWARE),
        "tcb_allowed": (1, TCB_ALLOWED_ALL),
    }
    for name, (least, most) in limits.items():
        value = getattr(benchmark, name)
        if not least <= value <= most:
            raise InvalidInput(f"benchmark.{name} must be in {int(least)}..{int(most)}, got {value}")
    if benchmark.quorum not in QUORUMS:
        raise InvalidInput(f"benchmark.quorum must be one of {QUORUMS}, got {benchmark.quorum}")
    sale = benchmark.sale
    if sale.royalty_bps > BPS or (sale.royalty_bps > 0 and sale.royalty_recipient == ZERO_ADDRESS):
        raise InvalidInput(f"sale.royalty_bps must be at most {BPS}, with a recipient unless it is 0")
    validate_curve(benchmark.curve)


def validate_curve(curve: tuple[CurvePoint, ...]) -> None:
    """Check that a price curve has 1..8 points, rising scores within 0..PPM and non-falling prices > 0.

    Raises:
        InvalidInput: names the rule that is broken.
    """
    if not 1 <= len(curve) <= MAX_CURVE_POINTS:
        raise InvalidInput(f"curve must have 1..{MAX_CURVE_POINTS} points, got {len(curve)}")
    if curve[0].price < 1 or curve[-1].price > MAX_PRICE:
        raise InvalidInput("curve prices must be in 1..2**88 - 1")
    if curve[-1].score_ppm > PPM:
        raise InvalidInput(f"curve scores must be at most {PPM}, got {curve[-1].score_ppm}")
    for low, high in pairwise(curve):
        if high.score_ppm <= low.score_ppm:
            raise InvalidInput(f"curve scores must rise: {high.score_ppm} follows {low.score_ppm}")
        if high.price < low.price:
            raise InvalidInput(f"curve prices must not fall: {high.price} follows {low.price}")
