"""ERC-20 tokens: balances, allowances, and permits signed off chain (EIP-2612)."""

from dataclasses import dataclass
from typing import Final

from goldengrain.accounts import Account
from goldengrain.chain.artifacts import load_artifact
from goldengrain.chain.client import BlockTag, ChainClient
from goldengrain.chain.rpc import MalformedReply
from goldengrain.chain.transactions import TransactionRequest
from goldengrain_protocol import abi
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import Address, Hash32, to_checksum

PERMIT_TYPEHASH: Final = keccak256(
    b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)
_DOMAIN_TYPEHASH: Final = keccak256(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_VERSIONS: Final = ("1", "2")
"""Domain versions tried for tokens that do not tell theirs (USDC's is 2)."""


@dataclass(frozen=True, slots=True)
class Permit:
    """A signed permission to spend, for `order_with_permit`."""

    deadline: int
    v: int
    r: bytes
    s: bytes


class Token:
    """One ERC-20 contract. Amounts in its smallest unit."""

    def __init__(self, client: ChainClient, address: Address) -> None:
        self._client: Final = client
        self.address: Final = address

    def decimals(self) -> int:
        """Return how many digits stand behind the decimal point in shown amounts."""
        return _integer(self._read("decimals"))

    def symbol(self) -> str:
        """Return the token's symbol: text of its author, untrusted."""
        return str(self._read("symbol"))

    def balance_of(self, account: Address, *, block: BlockTag = "latest") -> int:
        """Return the balance of an account."""
        return _integer(self._read("balanceOf", account, block=block))

    def allowance(self, owner: Address, spender: Address, *, block: BlockTag = "latest") -> int:
        """Return how much `spender` may take from `owner`."""
        return _integer(self._read("allowance", owner, spender, block=block))

    def approve(self, spender: Address, amount: int) -> TransactionRequest:
        """Return the call that lets `spender` take `amount`."""
        return self._call("approve", spender, amount)

    def transfer(self, to: Address, amount: int) -> TransactionRequest:
        """Return the call that sends `amount` to an account."""
        return self._call("transfer", to, amount)

    def mint(self, to: Address, amount: int) -> TransactionRequest:
        """Return the call that makes `amount` out of nothing; development tokens only."""
        return self._call("mint", to, amount)

    def supports_permit(self) -> bool:
        """Return whether `sign_permit` can work: the token follows EIP-2612 under a domain we can rebuild."""
        try:
            self._read("nonces", self.address)
            return self._domain_fits()
        except (VerificationError, MalformedReply):
            return False

    def sign_permit(self, account: Account, spender: Address, amount: int, deadline: int) -> Permit:
        """Return the owner's signed permission for `spender` to take `amount` until `deadline` (Unix s).

        Raises:
            InvalidInput: the token does not support it; use `approve`.

        Source: EIP-2612.
        """
        if not self._domain_fits():
            raise InvalidInput(
                f"token {to_checksum(self.address)} does not support permits", next_step="approve instead"
            )
        nonce = _integer(self._read("nonces", account.address))
        struct = keccak256(abi.words(PERMIT_TYPEHASH, account.address, spender, amount, nonce, deadline))
        signature = account.sign_digest(keccak256(b"\x19\x01" + self._domain() + struct))
        return Permit(deadline, signature[64], signature[:32], signature[32:64])

    def _domain(self) -> Hash32:
        value = self._read("DOMAIN_SEPARATOR")
        if not isinstance(value, bytes):
            raise MalformedReply("the token's domain separator is not 32 bytes")
        return Hash32(value)

    def _domain_fits(self) -> bool:
        """Return whether the token's domain is its own, so that no signature for another contract is made."""
        domain, name = self._domain(), str(self._read("name")).encode()
        return any(
            domain
            == keccak256(
                abi.words(
                    _DOMAIN_TYPEHASH,
                    keccak256(name),
                    keccak256(version.encode()),
                    self._client.chain_id,
                    self.address,
                )
            )
            for version in _VERSIONS
        )

    def _read(self, function: str, *arguments: object, block: BlockTag = "latest") -> object:
        artifact = load_artifact("DevToken")
        data = self._client.call(self.address, artifact.encode_call(function, arguments), block=block)
        return artifact.decode_result(function, data)[0]

    def _call(self, function: str, *arguments: object) -> TransactionRequest:
        data = load_artifact("DevToken").encode_call(function, arguments)
        return TransactionRequest(self.address, data, what=f"{function} of a token")


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise MalformedReply("the token's answer is no number")
    return value


def eth_transfer(to: Address, amount_wei: int) -> TransactionRequest:
    """Return the transfer of ETH to an account."""
    return TransactionRequest(to, b"", amount_wei, what="a transfer")
