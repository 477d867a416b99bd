# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title A token that misbehaves on demand; for tests only
@notice `configure` sets what both transfer functions do. The hook calls any contract with any data before
        money moves, as a token with callbacks would.
"""

HONEST: constant(uint256) = 0
RETURNS_NOTHING: constant(uint256) = 1
RETURNS_FALSE: constant(uint256) = 2
REVERTS: constant(uint256) = 3
RETURNS_TWO: constant(uint256) = 4
RETURNS_BOMB: constant(uint256) = 5
BURNS_GAS: constant(uint256) = 6
MOVES_NOTHING: constant(uint256) = 7
RETURNS_SHORT: constant(uint256) = 8

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
mode: public(uint256)
fee_bps: public(uint256)
blacklisted: public(HashMap[address, bool])
hook_target: public(address)
hook_data: public(Bytes[4096])
hook_calls: public(uint256)
hook_successes: public(uint256)
hook_answer: public(Bytes[256])


@external
def configure(mode: uint256, fee_bps: uint256):
    self.mode = mode
    self.fee_bps = fee_bps


@external
def set_hook(target: address, data: Bytes[4096]):
    self.hook_target = target
    self.hook_data = data


@external
def blacklist(account: address, yes: bool):
    self.blacklisted[account] = yes


@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@external
@raw_return
def transfer(to: address, amount: uint256) -> Bytes[4096]:
    return self._move(msg.sender, to, amount)


@external
@raw_return
def transferFrom(sender: address, to: address, amount: uint256) -> Bytes[4096]:
    assert self.allowance[sender][msg.sender] >= amount, "token: allowance too low"
    self.allowance[sender][msg.sender] -= amount
    return self._move(sender, to, amount)


@internal
def _move(sender: address, to: address, amount: uint256) -> Bytes[4096]:
    assert self.mode != REVERTS, "token: refused"
    assert not self.blacklisted[to], "token: blacklisted"
    if self.hook_target != empty(address):
        target: address = self.hook_target
        self.hook_target = empty(address)
        success: bool = False
        answer: Bytes[256] = b""
        success, answer = raw_call(target, self.hook_data, max_outsize=256, revert_on_failure=False)
        self.hook_calls += 1
        self.hook_answer = answer
        if success:
            self.hook_successes += 1
    if self.mode == BURNS_GAS:
        for i: uint256 in range(100_000):
            self.hook_calls += 1
    if self.mode == RETURNS_FALSE:
        return abi_encode(False)
    if self.mode != MOVES_NOTHING:
        assert self.balanceOf[sender] >= amount, "token: balance too low"
        self.balanceOf[sender] -= amount
        self.balanceOf[to] += amount - amount * self.fee_bps // 10_000
    if self.mode == RETURNS_NOTHING:
        return b""
    if self.mode == RETURNS_TWO:
        return abi_encode(convert(2, uint256))
    if self.mode == RETURNS_SHORT:
        return b"\x01"
    if self.mode == RETURNS_BOMB:
        # more than one word, the first of which says success
        return slice(concat(abi_encode(True), empty(bytes32), empty(bytes32)), 0, 96)
    return abi_encode(True)
