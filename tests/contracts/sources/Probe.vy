# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title Opens single modules to tests
"""

from modules import anchors
from modules import signatures


@external
@view
def is_ancestor(number: uint256, block_hash: bytes32) -> bool:
    return anchors._is_ancestor(number, block_hash)


@external
@view
def recover(digest: bytes32, v: uint256, r: bytes32, s: bytes32) -> address:
    return signatures._recover(digest, v, r, s)
