"""The Altair light client, less its guesses: only what two thirds of a sync committee call final moves it.

The official protocol also keeps an optimistic header and, after a timeout, forces the best update seen. Both
trust less than two thirds, so neither exists here. `validate_update` is the official rule word for word;
`apply_update` adds the policy.

Source: consensus specs, specs/altair/light-client/sync-protocol.md with the changes of Capella to Fulu.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from goldengrain_protocol.errors import VerificationError
from goldengrain_protocol.proofs.ethereum_pos.bls import fast_aggregate_verify
from goldengrain_protocol.proofs.ethereum_pos.containers import (
    Bootstrap,
    LightClientHeader,
    SyncCommittee,
    Update,
)
from goldengrain_protocol.proofs.ethereum_pos.network import Network
from goldengrain_protocol.proofs.ethereum_pos.ssz import is_valid_branch
from goldengrain_protocol.types import Hash32

DOMAIN_SYNC_COMMITTEE: Final = bytes.fromhex("07000000")
GENESIS_SLOT: Final = 0


@dataclass(frozen=True, slots=True)
class Store:
    """What the light client knows. Immutable: an update yields a new one."""

    finalized_header: LightClientHeader
    current_sync_committee: SyncCommittee
    next_sync_committee: SyncCommittee | None
    """None while the period's first update with finality has not been seen."""


def verify_bootstrap(network: Network, trusted_block_root: Hash32, bootstrap: Bootstrap) -> Store:
    """Return the store that begins at the trusted block.

    Raises:
        VerificationError: another block, or a committee or payload that is not of this block.
    """
    header = bootstrap.header
    verify_header(network, header)
    if header.beacon_root != trusted_block_root:
        raise VerificationError("bootstrap header is not the checkpoint's block")
    if not is_valid_branch(
        bootstrap.current_sync_committee.root,
        bootstrap.current_sync_committee_branch,
        network.fork_at(header.slot).format.current_sync_committee_gindex,
        header.state_root,
    ):
        raise VerificationError("bootstrap sync committee is not in the checkpoint's state")
    return Store(header, bootstrap.current_sync_committee, None)


def verify_header(network: Network, header: LightClientHeader) -> None:
    """Accept a header whose execution payload header is in its block's body.

    Raises:
        VerificationError: it is not, or the block is older than the fork schedule.
    """
    gindex = network.fork_at(header.slot).format.execution_payload_gindex
    if not is_valid_branch(header.execution_root, header.execution_branch, gindex, header.body_root):
        raise VerificationError(f"execution payload header is not in the block of slot {header.slot}")


def validate_update(network: Network, store: Store, update: Update, current_slot: int | None) -> None:
    """Accept an update that the official `validate_light_client_update` accepts.

    Args:
        current_slot: by the caller's clock; None where there is none (inside an enclave).

    Raises:
        VerificationError: names the condition that does not hold.
    """
    # 1. Somebody signed.
    if not any(update.participants):
        raise VerificationError("no sync-committee member takes part")
    # 2. Slots are in order and no sync-committee period is skipped.
    attested = update.attested_header
    verify_header(network, attested)
    finalized_slot = GENESIS_SLOT if update.finalized_header is None else update.finalized_header.slot
    if current_slot is not None and update.signature_slot > current_slot:
        raise VerificationError(f"update is of slot {update.signature_slot}, now is slot {current_slot}")
    if not update.signature_slot > attested.slot >= finalized_slot:
        raise VerificationError("signature, attested and finalized slots are out of order")
    store_period = network.period_at(store.finalized_header.slot)
    signature_period = network.period_at(update.signature_slot)
    if signature_period != store_period and (
        store.next_sync_committee is None or signature_period != store_period + 1
    ):
        raise VerificationError(
            f"update is signed in sync-committee period {signature_period}, the store is in {store_period}"
        )
    # 3. It says something new.
    attested_period = network.period_at(attested.slot)
    brings_committee = (
        store.next_sync_committee is None
        and update.next_sync_committee is not None
        and attested_period == store_period
    )
    if attested.slot <= store.finalized_header.slot and not brings_committee:
        raise VerificationError(f"update of slot {attested.slot} says nothing new")
    # 4. The finalized header is the finalized checkpoint of the attested state.
    _verify_finality(network, update)
    # 5. The next sync committee is that of the attested state.
    _verify_next_committee(network, store, update, attested_period == store_period)
    # 6. The sync committee of the signature's period signed the attested header.
    committee = store.current_sync_committee
    if signature_period != store_period and store.next_sync_committee is not None:
        committee = store.next_sync_committee
    message = signing_root(network, attested.beacon_root, update.signature_slot)
    if not fast_aggregate_verify(committee.public_keys, update.participants, message, update.signature):
        raise VerificationError("sync committee's aggregate signature does not verify")


def apply_update(network: Network, store: Store, update: Update, *, current_slot: int | None = None) -> Store:
    """Return the store after a finalising update.

    Raises:
        VerificationError: `validate_update` refuses it, fewer than two thirds of the committee signed, it
            finalises nothing, or it moves nothing (a replay).
    """
    finalized = _verify_moves(network, store, update)
    validate_update(network, store, update, current_slot)
    if store.next_sync_committee is None:
        if network.period_at(finalized.slot) != network.period_at(store.finalized_header.slot):
            raise VerificationError("finalized header is of another period, whose committee is not known")
        store = replace(store, next_sync_committee=update.next_sync_committee)
    elif network.period_at(finalized.slot) == network.period_at(store.finalized_header.slot) + 1:
        store = replace(
            store,
            current_sync_committee=store.next_sync_committee,
            next_sync_committee=update.next_sync_committee,
        )
    if finalized.slot > store.finalized_header.slot:
        store = replace(store, finalized_header=finalized)
    return store


def signing_root(network: Network, block_root: bytes, signature_slot: int) -> bytes:
    """Return what a sync committee signs in `signature_slot` about the block before it."""
    version = network.fork_at(max(signature_slot, 1) - 1).version
    fork_data_root = sha256(version.ljust(32, b"\0") + network.genesis_validators_root).digest()
    return sha256(block_root + DOMAIN_SYNC_COMMITTEE + fork_data_root[:28]).digest()


def _verify_moves(network: Network, store: Store, update: Update) -> LightClientHeader:
    """Return the finalized header of an update that has one, and two thirds, and moves the store."""
    count, size = sum(update.participants), len(update.participants)
    if count * 3 < size * 2:
        raise VerificationError(f"two thirds of the sync committee must take part, got {count} of {size}")
    finalized = update.finalized_header
    if finalized is None:
        raise VerificationError("update finalises nothing")
    # An empty header stands for the finalised genesis: slot 0, which moves nothing but may bring a committee.
    brings_committee = (
        store.next_sync_committee is None
        and update.next_sync_committee is not None
        and network.period_at(finalized.slot) == network.period_at(update.attested_header.slot)
    )
    if finalized.slot <= store.finalized_header.slot and not brings_committee:
        raise VerificationError(
            f"update finalises slot {finalized.slot}, which is not after {store.finalized_header.slot}"
        )
    return finalized


def _verify_finality(network: Network, update: Update) -> None:
    finalized, attested = update.finalized_header, update.attested_header
    if finalized is None:
        return
    if finalized.slot == GENESIS_SLOT:
        if not finalized.is_empty:
            raise VerificationError("the finalized genesis must be stated by an empty header")
        root = bytes(32)
    else:
        verify_header(network, finalized)
        root = finalized.beacon_root
    gindex = network.fork_at(attested.slot).format.finalized_root_gindex
    if not is_valid_branch(root, update.finality_branch, gindex, attested.state_root):
        raise VerificationError("finalized header is not the finalized checkpoint of the attested state")


def _verify_next_committee(network: Network, store: Store, update: Update, same_period: bool) -> None:
    committee, attested = update.next_sync_committee, update.attested_header
    if committee is None:
        return
    known = store.next_sync_committee
    if same_period and known is not None and known != committee:
        raise VerificationError("next sync committee differs from the one already known")
    gindex = network.fork_at(attested.slot).format.next_sync_committee_gindex
    if not is_valid_branch(committee.root, update.next_sync_committee_branch, gindex, attested.state_root):
        raise VerificationError("next sync committee is not in the attested state")
