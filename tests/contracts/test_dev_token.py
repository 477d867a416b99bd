"""The development token: an ordinary ERC-20 with permit."""

import pytest

from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import ZERO_ADDRESS, to_checksum
from tests.contracts.bazaar import START_S, Bazaar, Signer, raw
from tests.contracts.chain import Reverted

PERMIT = keccak256(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")


def _permit(
    bazaar: Bazaar, owner: Signer, amount: int, deadline: int, nonce: int = 0
) -> tuple[int, bytes, bytes]:
    words = [owner.address.rjust(32, b"\x00"), raw(bazaar.stranger).rjust(32, b"\x00")]
    words += [number.to_bytes(32, "big") for number in (amount, nonce, deadline)]
    struct = keccak256(PERMIT + b"".join(words))
    signature = owner.sign(keccak256(b"\x19\x01" + bazaar.token.call("DOMAIN_SEPARATOR") + struct))
    return signature[64], signature[:32], signature[32:64]


def test_moves_what_its_owner_or_a_spender_may_move(bazaar: Bazaar) -> None:
    token = bazaar.token
    assert (token.call("name"), token.call("symbol"), token.call("decimals")) == ("Dollar", "DUSD", 6)
    supply = token.call("totalSupply")
    token.call("mint", bazaar.developer, 100)
    assert token.call("totalSupply") == supply + 100
    token.call("transfer", bazaar.stranger, 40, sender=bazaar.developer)
    token.call("approve", bazaar.stranger, 50, sender=bazaar.developer)
    with pytest.raises(Reverted, match="token: allowance too low"):
        token.call("transferFrom", bazaar.developer, bazaar.stranger, 51, sender=bazaar.stranger)
    token.call("transferFrom", bazaar.developer, bazaar.stranger, 50, sender=bazaar.stranger)
    assert token.call("allowance", bazaar.developer, bazaar.stranger) == 0
    assert (token.call("balanceOf", bazaar.developer), token.call("balanceOf", bazaar.stranger)) == (10, 90)
    with pytest.raises(Reverted, match="token: balance too low"):
        token.call("transfer", bazaar.stranger, 11, sender=bazaar.developer)
    with pytest.raises(Reverted, match="token: no receiver"):
        token.call("transfer", to_checksum(ZERO_ADDRESS), 1, sender=bazaar.developer)
    with pytest.raises(Reverted, match="token: no receiver"):
        token.call("mint", to_checksum(ZERO_ADDRESS), 1)


def test_an_unlimited_allowance_is_not_used_up(bazaar: Bazaar) -> None:
    bazaar.token.call("mint", bazaar.developer, 100)
    bazaar.token.call("approve", bazaar.stranger, 2**256 - 1, sender=bazaar.developer)
    bazaar.token.call("transferFrom", bazaar.developer, bazaar.stranger, 10, sender=bazaar.stranger)
    assert bazaar.token.call("allowance", bazaar.developer, bazaar.stranger) == 2**256 - 1


def test_a_permit_works_once_in_time_and_for_its_owner(bazaar: Bazaar) -> None:
    owner = Signer.named("owner of tokens")
    address = to_checksum(owner.address)
    arguments = (address, bazaar.stranger, 77)
    with pytest.raises(Reverted, match="token: permit expired"):
        bazaar.token.call("permit", *arguments, START_S - 1, *_permit(bazaar, owner, 77, START_S - 1))
    forged = _permit(bazaar, Signer.named("somebody else"), 77, START_S)
    with pytest.raises(Reverted, match="token: bad permit"):
        bazaar.token.call("permit", *arguments, START_S, *forged)
    nobody = (to_checksum(ZERO_ADDRESS), bazaar.stranger, 77)
    with pytest.raises(Reverted, match="token: bad permit"):
        bazaar.token.call("permit", *nobody, START_S, 27, bytes(32), bytes(32))
    signature = _permit(bazaar, owner, 77, START_S)
    bazaar.token.call("permit", *arguments, START_S, *signature)
    assert bazaar.token.call("allowance", address, bazaar.stranger) == 77
    assert bazaar.token.call("nonces", address) == 1
    with pytest.raises(Reverted, match="token: bad permit"):
        bazaar.token.call("permit", *arguments, START_S, *signature)
