# pragma version 0.4.3
"""
@title ECDSA over secp256k1 without its traps
@license Apache-2.0
"""

# Precompile: digest, v, r, s as four words; answers with one word, or with nothing where no key fits.
ECRECOVER: constant(address) = 0x0000000000000000000000000000000000000001

# Half of the order of secp256k1. A signature with a larger s has a twin with a smaller one (EIP-2).
MAX_S: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168


@internal
@view
def _recover(digest: bytes32, v: uint256, r: bytes32, s: bytes32) -> address:
    """
    @notice The address whose key signed `digest`; empty(address) if none did or if s is high.
    @dev Not the compiler's ecrecover: where no key fits, the experimental code generator of Vyper 0.4.3
         returns what memory happened to hold. The length of the answer cannot be misread.
    """
    if convert(s, uint256) > MAX_S:
        return empty(address)
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        ECRECOVER, abi_encode(digest, v, r, s), max_outsize=32, is_static_call=True, revert_on_failure=False
    )
    if not success or len(answer) != 32:
        return empty(address)
    return convert(convert(answer, bytes32), address)
