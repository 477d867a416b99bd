"""Chain trust by Ethereum's own consensus: the mode `ethereum-pos`, its checkpoint and its evidence.

Source: docs/spec/chain-trust.md, "ethereum-pos".
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from threading import Lock
from typing import Final

from goldengrain_protocol.canonical import Rlp, RlpInput, decode, encode
from goldengrain_protocol.config import ETHEREUM_POS, ChainTrustConfig
from goldengrain_protocol.constants import MAX_TRUST_EVIDENCE_BYTES
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.proofs.ethereum_pos.containers import (
    decode_bootstrap,
    decode_finality_update,
    decode_update,
)
from goldengrain_protocol.proofs.ethereum_pos.light_client import Store, apply_update, verify_bootstrap
from goldengrain_protocol.proofs.ethereum_pos.network import Fork, Network
from goldengrain_protocol.proofs.history import (
    HistoryStep,
    optional_from_rlp,
    optional_to_rlp,
    verify_history_step,
)
from goldengrain_protocol.proofs.trusted_block import TrustedBlock
from goldengrain_protocol.rlp_fields import Fields
from goldengrain_protocol.types import Hash32, hash32

MAX_SSZ_BYTES: Final = 2**15
"""Largest bootstrap or update; one of 512 keys has about 27,000 bytes."""
MAX_UPDATES: Final = 512
"""Most sync-committee updates in one evidence (a year and a half); the size limit bites earlier."""
_KEPT_STORES: Final = 4


@dataclass(frozen=True, slots=True)
class Versioned:
    """SSZ bytes with the version of the fork whose form they have."""

    version: bytes
    """Four bytes; the fork at the slot of the (attested) header."""
    ssz: bytes

    def to_rlp(self) -> RlpInput:
        """Return [version, ssz]."""
        return [self.version, self.ssz]

    @classmethod
    def from_rlp(cls, value: Rlp) -> "Versioned":
        """Return what `value` holds. Raises: InvalidInput."""
        f = Fields(value, "light-client data", 2)
        return cls(f.fixed(4), f.blob(MAX_SSZ_BYTES))


@dataclass(frozen=True, slots=True)
class PosEvidence:
    """Everything between the checkpoint and the block to trust."""

    bootstrap: Versioned
    updates: tuple[Versioned, ...]
    """`LightClientUpdate`, one per sync-committee period, oldest first."""
    finality: Versioned | None = None
    """`LightClientFinalityUpdate`: the newest; None where the last update is new enough."""
    history: HistoryStep | None = None

    def encode(self) -> bytes:
        """Return RLP [bootstrap, [update, ...], [finality] or [], [history step] or []]."""
        finality = [] if self.finality is None else [self.finality.to_rlp()]
        return encode(
            [
                self.bootstrap.to_rlp(),
                [update.to_rlp() for update in self.updates],
                finality,
                optional_to_rlp(self.history),
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> "PosEvidence":
        """Return the evidence that `data` encodes. Raises: InvalidInput."""
        if len(data) > MAX_TRUST_EVIDENCE_BYTES:
            raise InvalidInput(f"trust evidence has at most {MAX_TRUST_EVIDENCE_BYTES} bytes")
        f = Fields(decode(data), "light-client evidence", 4)
        bootstrap = Versioned.from_rlp(f.any())
        updates = tuple(Versioned.from_rlp(item) for item in f.items(MAX_UPDATES))
        finality = [Versioned.from_rlp(item) for item in f.items(1)]
        return cls(bootstrap, updates, finality[0] if finality else None, optional_from_rlp(f.items(1)))


@dataclass(frozen=True, slots=True)
class EthereumPos:
    """The mode `ethereum-pos` with its parameters."""

    network: Network
    trusted_block_root: Hash32
    """The beacon block at which trust begins: final, and inside the weak-subjectivity period when chosen."""

    def __post_init__(self) -> None:
        hash32(self.trusted_block_root)

    def checkpoint(self) -> bytes:
        """Return the canonical bytes: RLP [trusted_block_root, network]."""
        return encode([self.trusted_block_root, self.network.to_rlp()])

    def config(self) -> ChainTrustConfig:
        """Return the configuration that names this mode with these parameters."""
        return ChainTrustConfig(ETHEREUM_POS, self.checkpoint())

    @classmethod
    def from_checkpoint(cls, data: bytes) -> "EthereumPos":
        """Return the mode that the checkpoint `data` states. Raises: InvalidInput."""
        f = Fields(decode(data), "ethereum-pos checkpoint", 2)
        root = f.hash32()
        return cls(Network.from_rlp(f.any()), root)

    def finalized(self, evidence: bytes) -> TrustedBlock:
        """Return the execution block that the evidence's last update finalises, or the ancestor it proves.

        Args:
            evidence: as `PosEvidence.encode` writes it.

        Raises:
            InvalidInput: malformed evidence.
            VerificationError: names the step that does not hold.
        """
        parts = PosEvidence.decode(evidence)
        store = self.sync(parts)
        head = TrustedBlock(store.finalized_header.block_number, store.finalized_header.block_hash)
        return head if parts.history is None else verify_history_step(head, parts.history)

    def sync(self, parts: PosEvidence) -> Store:
        """Return the light client's store after all of the evidence; errors as `finalized`.

        Stores after a bootstrap and its updates are remembered by the digest of exactly these bytes, so what
        has been verified once is not verified again. The answer does not depend on it.
        """
        digests = _prefix_digests(self, parts)
        done, store = _remembered(digests)
        if store is None:
            store = self._begin(parts.bootstrap)
        for update, digest in zip(parts.updates[done:], digests[done + 1 :], strict=True):
            store = self._advance(store, update, finality_only=False)
            _remember(digest, store)
        if not parts.updates:
            _remember(digests[0], store)
        if parts.finality is not None:
            store = self._advance(store, parts.finality, finality_only=True)
        return store

    def _begin(self, data: Versioned) -> Store:
        fork = self.network.fork_of_version(data.version)
        bootstrap = decode_bootstrap(data.ssz, self.network.preset, fork.format)
        self._check_fork(fork, bootstrap.header.slot)
        return verify_bootstrap(self.network, self.trusted_block_root, bootstrap)

    def _advance(self, store: Store, data: Versioned, *, finality_only: bool) -> Store:
        fork = self.network.fork_of_version(data.version)
        read = decode_finality_update if finality_only else decode_update
        update = read(data.ssz, self.network.preset, fork.format)
        self._check_fork(fork, update.attested_header.slot)
        return apply_update(self.network, store, update)

    def _check_fork(self, fork: Fork, slot: int) -> None:
        if self.network.fork_at(slot) != fork:
            raise VerificationError(f"slot {slot} is not of fork {fork.name}, whose version the data has")


_stores: Final[OrderedDict[bytes, Store]] = OrderedDict()
_lock: Final = Lock()


def _prefix_digests(mode: EthereumPos, parts: PosEvidence) -> list[bytes]:
    """Return one digest for the bootstrap and one after each update; each binds all before it."""
    digest = sha256(sha256(mode.checkpoint()).digest() + encode(parts.bootstrap.to_rlp())).digest()
    digests = [digest]
    for update in parts.updates:
        digest = sha256(digest + encode(update.to_rlp())).digest()
        digests.append(digest)
    return digests


def _remembered(digests: list[bytes]) -> tuple[int, Store | None]:
    """Return how many updates the longest remembered prefix has, and its store."""
    with _lock:
        for at in range(len(digests) - 1, -1, -1):
            store = _stores.get(digests[at])
            if store is not None:
                _stores.move_to_end(digests[at])
                return at, store
    return 0, None


def _remember(digest: bytes, store: Store) -> None:
    with _lock:
        _stores[digest] = store
        _stores.move_to_end(digest)
        while len(_stores) > _KEPT_STORES:
            _stores.popitem(last=False)
