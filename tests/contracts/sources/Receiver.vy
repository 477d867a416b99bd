# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title An account that misbehaves on demand when it is sent ETH; for tests only
"""

ACCEPTS: constant(uint256) = 0
REVERTS: constant(uint256) = 1
REENTERS: constant(uint256) = 2
REENTERS_OR_REVERTS: constant(uint256) = 3
BURNS_GAS: constant(uint256) = 4

mode: public(uint256)
hook_target: public(address)
hook_data: public(Bytes[4096])
hook_calls: public(uint256)
hook_successes: public(uint256)
gas_seen: public(uint256)


@deploy
def __init__():
    # starts above zero: a new slot would not fit into the gas of a push
    self.hook_calls = 1


@external
def configure(mode: uint256, hook_target: address, hook_data: Bytes[4096]):
    self.mode = mode
    self.hook_target = hook_target
    self.hook_data = hook_data


@external
@payable
def __default__():
    if self.mode == ACCEPTS:
        return
    assert self.mode != REVERTS, "receiver: refused"
    if self.mode == BURNS_GAS:
        for i: uint256 in range(1_000_000):
            assert msg.gas > 0
    success: bool = raw_call(self.hook_target, self.hook_data, revert_on_failure=False)
    if self.mode == REENTERS_OR_REVERTS:
        assert success, "receiver: could not re-enter"
    if success:
        self.hook_successes += 1
    self.hook_calls += 1
