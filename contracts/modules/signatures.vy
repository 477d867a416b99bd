# pragma version 0.4.3
"""
@title ECDSA over secp256k1 without its traps
@license Apache-2.0
"""

# Half of the order of secp256k1. A signature with a larger s has a twin with a smaller one (EIP-2).
MAX_S: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168


@internal
@view
def _recover(digest: bytes32, v: uint256, r: bytes32, s: bytes32) -> address:
    """
    @notice The address whose key signed `digest`; empty(address) if none did or if s is high.
    """
    if convert(s, uint256) > MAX_S:
        return empty(address)
    return ecrecover(digest, v, convert(r, uint256), convert(s, uint256))
