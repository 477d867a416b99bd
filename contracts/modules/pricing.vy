# pragma version 0.4.3
"""
@title The public price curve
@license Apache-2.0
@notice A curve is up to 8 points (score_ppm, price), piecewise linear between them, integers only.
        `goldengrain_protocol.pricing` is its reference; property tests hold the two together.
"""

MAX_PPM: constant(uint256) = 1_000_000
MAX_PRICE: constant(uint256) = 2**88 - 1
MAX_POINTS: constant(uint256) = 8


struct CurvePoint:
    # parts per million of a perfect score
    score_ppm: uint256
    # in the smallest unit of the sale's token
    price: uint256


@internal
@pure
def _is_valid_curve(curve: DynArray[CurvePoint, MAX_POINTS]) -> bool:
    """
    @notice True if scores rise strictly up to at most 1,000,000 and prices, the first of them
            positive, never fall and stay below 2**88.
    """
    if len(curve) == 0 or curve[0].price == 0:
        return False
    score_ppm: uint256 = 0
    price: uint256 = 0
    first: bool = True
    for point: CurvePoint in curve:
        if point.score_ppm > MAX_PPM or point.price > MAX_PRICE:
            return False
        if not first and (point.score_ppm <= score_ppm or point.price < price):
            return False
        score_ppm = point.score_ppm
        price = point.price
        first = False
    return True


@internal
@pure
def _price_of(curve: DynArray[CurvePoint, MAX_POINTS], bound_ppm: uint256) -> uint256:
    """
    @notice The price of a score bound on a valid curve: 0 below the first point, the last price from
            the last point on, else linear between its two neighbours, rounded down.
    """
    score_below: uint256 = 0
    price: uint256 = 0
    for point: CurvePoint in curve:
        if bound_ppm < point.score_ppm:
            if price == 0:
                return 0
            return price + (point.price - price) * (bound_ppm - score_below) // (point.score_ppm - score_below)
        score_below = point.score_ppm
        price = point.price
    return price
