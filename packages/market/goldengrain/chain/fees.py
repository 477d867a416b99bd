"""What a transaction may cost: EIP-1559 fees and gas limits, each with a cap."""

from dataclasses import dataclass
from typing import Final

from goldengrain.chain.client import ChainClient
from goldengrain.chain.rpc import RpcError
from goldengrain.chain.rpc_types import as_quantity
from goldengrain_protocol.errors import UnavailableError

GWEI: Final = 10**9
REPLACEMENT_PERCENT: Final = 13
"""How much more a replacement pays: nodes want at least 10 % (geth) to 12.5 % (others)."""


@dataclass(frozen=True, slots=True)
class Fees:
    """The two fee fields of a transaction, in wei per gas."""

    max_fee_wei: int
    priority_fee_wei: int


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """Limits on what a sender pays.

    Args:
        max_fee_cap_wei: highest fee per gas ever offered.
        gas_cap: highest gas limit ever set; a single transaction may use 2**24 (EIP-7825).
        gas_margin_percent: added to the node's estimate.
    """

    max_fee_cap_wei: int = 300 * GWEI
    default_priority_wei: int = GWEI
    gas_cap: int = 2**24
    gas_margin_percent: int = 20

    def quote(self, client: ChainClient) -> Fees:
        """Return fees that stay valid while the base fee doubles, within the cap.

        Raises:
            UnavailableError: the present base fee is above the cap.
        """
        base_fee_wei = client.block("latest").base_fee_wei
        if base_fee_wei > self.max_fee_cap_wei:
            raise UnavailableError(
                f"the network's base fee of {base_fee_wei} wei per gas is above the cap of"
                f" {self.max_fee_cap_wei} wei",
                next_step="try again when the network is cheaper, or raise the cap",
            )
        priority_wei = min(self._priority(client), self.max_fee_cap_wei - base_fee_wei)
        max_fee_wei = min(2 * base_fee_wei + priority_wei, self.max_fee_cap_wei)
        return Fees(max_fee_wei, priority_wei)

    def bump(self, client: ChainClient, old: Fees) -> Fees | None:
        """Return fees that replace a transaction with `old` fees; None if the cap does not allow it."""
        fresh = self.quote(client)
        max_fee_wei = max(fresh.max_fee_wei, _raised(old.max_fee_wei))
        priority_wei = max(fresh.priority_fee_wei, _raised(old.priority_fee_wei))
        if max_fee_wei > self.max_fee_cap_wei:
            return None
        return Fees(max_fee_wei, min(priority_wei, max_fee_wei))

    def gas_limit(self, estimate: int) -> int:
        """Return the gas limit for an estimate: with the margin, within the cap."""
        return min(estimate + estimate * self.gas_margin_percent // 100, self.gas_cap)

    def _priority(self, client: ChainClient) -> int:
        try:
            value = client.raw_request("eth_maxPriorityFeePerGas", [])
        except RpcError:
            # Not every node offers the method.
            return self.default_priority_wei
        return as_quantity(value, "priority fee")


def _raised(fee_wei: int) -> int:
    return fee_wei + max(1, -(-fee_wei * REPLACEMENT_PERCENT // 100))
