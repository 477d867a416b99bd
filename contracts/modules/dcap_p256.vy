# pragma version 0.4.3
"""
@title ECDSA over P-256 by the precompile
@license Apache-2.0
@dev EIP-7951. The precompile refuses r or s outside 1..n-1 and points off the curve. It accepts a high s, as
     Intel's signers emit it; nothing here depends on a signature being unique.
"""

P256: constant(address) = 0x0000000000000000000000000000000000000100


@internal
@view
def _is_signed(digest: bytes32, r: uint256, s: uint256, x: uint256, y: uint256) -> bool:
    """
    @notice Whether (r, s) is a signature of the SHA-256 `digest` by the key (x, y).
    """
    ok: bool = False
    answer: Bytes[32] = b""
    ok, answer = raw_call(
        P256,
        abi_encode(digest, r, s, x, y),
        max_outsize=32,
        is_static_call=True,
        revert_on_failure=False,
    )
    return ok and len(answer) == 32 and convert(answer, uint256) == 1
