# pragma version 0.4.3
"""
@title Hashes of recent blocks
@license Apache-2.0
"""

# System contract of EIP-2935: the hashes of the last 8,191 blocks, called with the number as 32 bytes.
HISTORY: constant(address) = 0x0000F90827F1C53a10cb7A02335B175320002935
HISTORY_WINDOW: constant(uint256) = 8191
# The BLOCKHASH opcode knows the last 256 and costs 20 gas; the system contract costs about 5,000.
OPCODE_WINDOW: constant(uint256) = 256


@internal
@view
def _is_ancestor(number: uint256, block_hash: bytes32) -> bool:
    """
    @notice True only if `block_hash` is the hash of block `number` of this chain, which lies among the
            last 8,191 blocks. The current block, future blocks and older blocks are never ancestors.
    """
    if number >= block.number or block.number - number > HISTORY_WINDOW or block_hash == empty(bytes32):
        return False
    if block.number - number <= OPCODE_WINDOW:
        return blockhash(number) == block_hash
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        HISTORY, abi_encode(number), max_outsize=32, is_static_call=True, revert_on_failure=False
    )
    return success and len(answer) == 32 and convert(answer, bytes32) == block_hash
