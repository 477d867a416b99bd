# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title An account that misbehaves when it is sent ETH; for tests only
@notice What it does is in its code, not in its storage: a push leaves little gas to read storage with.
"""

ACCEPTS: constant(uint256) = 0
REVERTS: constant(uint256) = 1
REENTERS: constant(uint256) = 2
REENTERS_OR_REVERTS: constant(uint256) = 3
BURNS_GAS: constant(uint256) = 4

MODE: immutable(uint256)
HOOK_TARGET: immutable(address)
HOOK_DATA: immutable(Bytes[1024])

hook_calls: public(uint256)
hook_successes: public(uint256)


@deploy
def __init__(mode: uint256, hook_target: address, hook_data: Bytes[1024]):
    MODE = mode
    HOOK_TARGET = hook_target
    HOOK_DATA = hook_data
    # above zero, so that counting needs no new slot
    self.hook_calls = 1
    self.hook_successes = 1


@external
@payable
def __default__():
    if MODE == ACCEPTS:
        return
    assert MODE != REVERTS, "receiver: refused"
    if MODE == BURNS_GAS:
        for i: uint256 in range(1_000_000):
            assert msg.gas > 0
    success: bool = raw_call(HOOK_TARGET, HOOK_DATA, revert_on_failure=False)
    if MODE == REENTERS_OR_REVERTS:
        assert success, "receiver: could not re-enter"
    if success:
        self.hook_successes += 1
    self.hook_calls += 1
