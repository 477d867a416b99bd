"""From an untrusted `ChainProof` to the market's storage as the enclave may rely on it.

Source: docs/spec/proofs.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from goldengrain_protocol.config import EnclaveConfig
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.proofs.account import verify_account, verify_storage
from goldengrain_protocol.proofs.chain_proof import ChainProof
from goldengrain_protocol.proofs.header import decode_header
from goldengrain_protocol.proofs.trust import chain_trust
from goldengrain_protocol.types import Hash32


@dataclass(frozen=True, slots=True)
class MarketView:
    """Proven values of some storage slots of the market at one block."""

    anchor_number: int
    anchor_hash: Hash32
    values: tuple[int, ...]
    """In the order of the slots asked for; 0 where nothing is stored."""


def verify_market_state(config: EnclaveConfig, proof: ChainProof, slots: Sequence[int]) -> MarketView:
    """Return what the configured market stores in `slots` at the block that `proof` anchors to.

    Raises:
        InvalidInput: a malformed part, or another number of storage proofs than slots.
        VerificationError: names the link that does not hold.
    """
    if len(proof.storage_proofs) != len(slots):
        raise InvalidInput(f"expected {len(slots)} storage proofs, got {len(proof.storage_proofs)}")
    # 1. A block that the configured mode vouches for.
    block = chain_trust(config.chain_trust).finalized(proof.trust_evidence)
    # 2. Its header.
    header = decode_header(proof.header)
    if header.hash != block.hash or header.number != block.number:
        raise VerificationError(f"header does not hash to the trusted block {block.number}")
    # 3. The market's account under its state root.
    account = verify_account(header.state_root, config.market, proof.account_proof)
    # 4. Each slot under the account's storage root.
    values = tuple(
        verify_storage(account.storage_root, slot, nodes)
        for slot, nodes in zip(slots, proof.storage_proofs, strict=True)
    )
    return MarketView(header.number, header.hash, values)
