# pragma version 0.4.3
"""
@title Money in and money out, for ETH and any ERC-20
@license Apache-2.0
@notice Token `empty(address)` is ETH. Tokens that return nothing are accepted, tokens that return false
        are failures, and an address without code is no token.
"""

from ethereum.ercs import IERC20

ETH: constant(address) = empty(address)

# What a push gives its receiver, at most and at least. Enough for a smart account, for a proxied
# stablecoin and for one new storage slot at prices under discussion; too little to be worth a grief.
PUSH_GAS_ETH: constant(uint256) = 50_000
PUSH_GAS_TOKEN: constant(uint256) = 200_000
# A call passes on at most 63/64 of what is left (EIP-150) after its own price of up to 36,600
# (cold account 2,600 + value 9,000 + new account 25,000).
PUSH_OVERHEAD: constant(uint256) = 42_000


@internal
def _pull(token: address, sender: address, amount: uint256):
    """
    @notice Takes exactly `amount` of an ERC-20 from `sender`, measured by our balance, or reverts.
    """
    assert token.is_contract, "market: token has no code"
    balance_before: uint256 = staticcall IERC20(token).balanceOf(self)
    assert extcall IERC20(token).transferFrom(
        sender, self, amount, default_return_value=True
    ), "market: token refused transfer"
    balance_after: uint256 = staticcall IERC20(token).balanceOf(self)
    assert balance_after >= balance_before and balance_after - balance_before == amount, "market: token took a fee"


@internal
def _push(token: address, to: address, amount: uint256) -> bool:
    """
    @notice Sends `amount` to `to` and says whether that worked; never reverts because of the receiver
            or the token, and copies at most 32 bytes of what they return.
    @dev Reverts if the caller of the transaction gave so little gas that the receiver would get less
         than its allotment: otherwise a stranger could make any push fail.
    """
    if token == ETH:
        assert msg.gas > PUSH_GAS_ETH + PUSH_OVERHEAD, "market: too little gas"
        return raw_call(to, b"", gas=PUSH_GAS_ETH, value=amount, revert_on_failure=False)
    assert msg.gas > PUSH_GAS_TOKEN + PUSH_OVERHEAD, "market: too little gas"
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        token,
        abi_encode(to, amount, method_id=method_id("transfer(address,uint256)")),
        max_outsize=32,
        gas=PUSH_GAS_TOKEN,
        revert_on_failure=False,
    )
    if not success:
        return False
    if len(answer) == 0:
        return token.is_contract
    return len(answer) == 32 and convert(answer, uint256) == 1


@internal
def _send(token: address, to: address, amount: uint256):
    """
    @notice Sends `amount` to `to` with all the gas there is, or reverts.
    """
    if token == ETH:
        assert raw_call(to, b"", value=amount, revert_on_failure=False), "market: receiver refused"
    else:
        assert token.is_contract, "market: token has no code"
        assert extcall IERC20(token).transfer(
            to, amount, default_return_value=True
        ), "market: token refused transfer"
