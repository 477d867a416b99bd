"""Light-client data from its SSZ bytes: strict, of known size, nothing but `InvalidInput` comes out.

Every offset must be the one that the canonical encoding has, so one value has one encoding.

Source: consensus specs, specs/altair/light-client/sync-protocol.md, specs/deneb/light-client/sync-protocol.md,
specs/electra/light-client/sync-protocol.md.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.proofs.ethereum_pos.bls import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from goldengrain_protocol.proofs.ethereum_pos.network import LightClientFormat, Preset
from goldengrain_protocol.proofs.ethereum_pos.ssz import bytes_root, merkle_root, mix_in_length, uint_chunk
from goldengrain_protocol.types import Hash32

MAX_EXTRA_DATA_BYTES: Final = 32
_KEY_PADDING: Final = bytes(64 - PUBLIC_KEY_BYTES)
_BEACON_HEADER_BYTES: Final = 112
_EXECUTION_BRANCH_NODES: Final = 4
_HEADER_FIXED_BYTES: Final = _BEACON_HEADER_BYTES + 4 + 32 * _EXECUTION_BRANCH_NODES
_EXECUTION_FIELDS: Final = (32, 20, 32, 32, 256, 32, 8, 8, 8, 8, 4, 32, 32, 32, 32, 8, 8)
"""Sizes of the fixed part: parent hash, fee recipient, state root, receipts root, logs bloom, randao, number, gas
limit, gas used, timestamp, offset of extra data, base fee, block hash, transactions root, withdrawals root, blob gas
used, excess blob gas."""
_EXECUTION_FIXED_BYTES: Final = sum(_EXECUTION_FIELDS)
_NUMBER, _EXTRA_DATA, _BLOCK_HASH = 6, 10, 12
_EMPTY_HEADER: Final = b"".join(
    (
        bytes(_BEACON_HEADER_BYTES),
        _HEADER_FIXED_BYTES.to_bytes(4, "little"),
        bytes(32 * _EXECUTION_BRANCH_NODES),
        bytes(sum(_EXECUTION_FIELDS[:_EXTRA_DATA])),
        _EXECUTION_FIXED_BYTES.to_bytes(4, "little"),
        bytes(sum(_EXECUTION_FIELDS[_EXTRA_DATA + 1 :])),
    )
)
MIN_HEADER_BYTES: Final = _HEADER_FIXED_BYTES + _EXECUTION_FIXED_BYTES
MAX_HEADER_BYTES: Final = MIN_HEADER_BYTES + MAX_EXTRA_DATA_BYTES

Branch = tuple[bytes, ...]
"""Sibling hashes from the leaf up."""


@dataclass(frozen=True, slots=True)
class LightClientHeader:
    """A beacon block header with the execution payload header that its block claims to carry."""

    slot: int
    state_root: bytes
    body_root: bytes
    beacon_root: Hash32
    """hash_tree_root of the beacon header: the block root."""
    execution_root: bytes
    """hash_tree_root of the execution payload header."""
    execution_branch: Branch
    """Proves `execution_root` under `body_root`, once `light_client` has checked it."""
    block_number: int
    """Of the execution block."""
    block_hash: Hash32
    """Of the execution block."""
    is_empty: bool
    """All fields zero: stands for an absent header."""


@dataclass(frozen=True, slots=True)
class SyncCommittee:
    """The keys of one sync-committee period."""

    public_keys: bytes
    """Compressed keys, 48 bytes each, one after the other."""
    aggregate_public_key: bytes
    root: bytes
    """hash_tree_root."""

    @property
    def is_empty(self) -> bool:
        """Return whether all keys are zero: stands for an absent committee."""
        return not any(self.public_keys) and not any(self.aggregate_public_key)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """`LightClientBootstrap`."""

    header: LightClientHeader
    current_sync_committee: SyncCommittee
    current_sync_committee_branch: Branch


@dataclass(frozen=True, slots=True)
class Update:
    """`LightClientUpdate`; finality and optimistic updates are the same with parts absent."""

    attested_header: LightClientHeader
    next_sync_committee: SyncCommittee | None
    next_sync_committee_branch: Branch
    """Empty where there is no next committee."""
    finalized_header: LightClientHeader | None
    finality_branch: Branch
    """Empty where nothing is said about finality."""
    participants: tuple[bool, ...]
    signature: bytes
    signature_slot: int


def decode_bootstrap(data: bytes, preset: Preset, fmt: LightClientFormat) -> Bootstrap:
    """Return the `LightClientBootstrap` in `data`. Raises: InvalidInput."""
    r = _Reader(data, "bootstrap")
    offset = r.uint(4)
    committee = _committee(r, preset)
    branch = r.branch(fmt.current_sync_committee_gindex)
    return Bootstrap(_headers(r, [offset])[0], committee, branch)


def decode_update(data: bytes, preset: Preset, fmt: LightClientFormat) -> Update:
    """Return the `LightClientUpdate` in `data`.

    A zero branch means that its part is absent, and the part must then be empty.

    Raises:
        InvalidInput: malformed, or a part without its branch.
    """
    r = _Reader(data, "update")
    attested_at = r.uint(4)
    committee: SyncCommittee | None = _committee(r, preset)
    committee_branch = r.branch(fmt.next_sync_committee_gindex)
    finalized_at = r.uint(4)
    finality_branch = r.branch(fmt.finalized_root_gindex)
    participants, signature, slot = _aggregate(r, preset)
    attested, finalized = _headers(r, [attested_at, finalized_at])
    if not _present(committee_branch):
        if committee is not None and not committee.is_empty:
            raise InvalidInput("update: a next sync committee without its branch")
        committee, committee_branch = None, ()
    return Update(
        attested,
        committee,
        committee_branch,
        *_finality(finalized, finality_branch),
        participants,
        signature,
        slot,
    )


def decode_finality_update(data: bytes, preset: Preset, fmt: LightClientFormat) -> Update:
    """Return the `LightClientFinalityUpdate` in `data`. Raises: InvalidInput."""
    r = _Reader(data, "finality update")
    attested_at, finalized_at = r.uint(4), r.uint(4)
    finality_branch = r.branch(fmt.finalized_root_gindex)
    participants, signature, slot = _aggregate(r, preset)
    attested, finalized = _headers(r, [attested_at, finalized_at])
    return Update(attested, None, (), *_finality(finalized, finality_branch), participants, signature, slot)


def decode_optimistic_update(data: bytes, preset: Preset) -> Update:
    """Return the `LightClientOptimisticUpdate` in `data`; it can never move a store. Raises: InvalidInput."""
    r = _Reader(data, "optimistic update")
    attested_at = r.uint(4)
    participants, signature, slot = _aggregate(r, preset)
    (attested,) = _headers(r, [attested_at])
    return Update(attested, None, (), None, (), participants, signature, slot)


def decode_header(data: bytes) -> LightClientHeader:
    """Return the `LightClientHeader` in `data`, as of Deneb, Electra and Fulu. Raises: InvalidInput."""
    r = _Reader(data, "light-client header")
    slot, proposer = r.uint(8), r.uint(8)
    parent_root, state_root, body_root = r.take(32), r.take(32), r.take(32)
    offset = r.uint(4)
    branch = tuple(r.take(32) for _ in range(_EXECUTION_BRANCH_NODES))
    if offset != _HEADER_FIXED_BYTES:
        raise InvalidInput("light-client header: wrong offset of the execution header")
    beacon = (uint_chunk(slot), uint_chunk(proposer), parent_root, state_root, body_root)
    execution_root, number, block_hash = _execution(r.rest())
    return LightClientHeader(
        slot=slot,
        state_root=state_root,
        body_root=body_root,
        beacon_root=Hash32(merkle_root(beacon)),
        execution_root=execution_root,
        execution_branch=branch,
        block_number=number,
        block_hash=Hash32(block_hash),
        is_empty=data == _EMPTY_HEADER,
    )


def _execution(data: bytes) -> tuple[bytes, int, bytes]:
    """Return (root, block number, block hash) of an `ExecutionPayloadHeader`."""
    r = _Reader(data, "execution header")
    fields = [r.take(size) for size in _EXECUTION_FIELDS]
    extra = r.rest()
    if int.from_bytes(fields[_EXTRA_DATA], "little") != _EXECUTION_FIXED_BYTES:
        raise InvalidInput("execution header: wrong offset of the extra data")
    if len(extra) > MAX_EXTRA_DATA_BYTES:
        raise InvalidInput(f"execution header: extra data has at most {MAX_EXTRA_DATA_BYTES} bytes")
    leaves = [bytes_root(field) for field in fields]
    leaves[_EXTRA_DATA] = mix_in_length(bytes_root(extra), len(extra))
    return merkle_root(leaves), int.from_bytes(fields[_NUMBER], "little"), fields[_BLOCK_HASH]


def _committee(r: "_Reader", preset: Preset) -> SyncCommittee:
    keys = r.take(preset.sync_committee_size * PUBLIC_KEY_BYTES)
    aggregate = r.take(PUBLIC_KEY_BYTES)
    starts = range(0, len(keys), PUBLIC_KEY_BYTES)
    # As `bytes_root` of each key, which is two chunks, without its lists: there are 512.
    roots = [sha256(keys[at : at + PUBLIC_KEY_BYTES] + _KEY_PADDING).digest() for at in starts]
    return SyncCommittee(keys, aggregate, merkle_root([merkle_root(roots), bytes_root(aggregate)]))


def _aggregate(r: "_Reader", preset: Preset) -> tuple[tuple[bool, ...], bytes, int]:
    """Return (participants, signature, signature slot)."""
    bits = int.from_bytes(r.take(preset.sync_committee_size // 8), "little")
    participants = tuple(bool(bits >> i & 1) for i in range(preset.sync_committee_size))
    return participants, r.take(SIGNATURE_BYTES), r.uint(8)


def _headers(r: "_Reader", offsets: list[int]) -> list[LightClientHeader]:
    """Return the variable part: headers that begin at `offsets`, the first right after the fixed part."""
    start = r.at
    tail = r.rest()
    if offsets[0] != start:
        raise InvalidInput(f"{r.what}: the first offset must be {start}, got {offsets[0]}")
    ends = [*offsets[1:], start + len(tail)]
    headers = []
    for begin, end in zip(offsets, ends, strict=True):
        if not MIN_HEADER_BYTES <= end - begin <= MAX_HEADER_BYTES:
            raise InvalidInput(f"{r.what}: header must have {MIN_HEADER_BYTES}..{MAX_HEADER_BYTES} bytes")
        headers.append(decode_header(tail[begin - start : end - start]))
    return headers


def _finality(header: LightClientHeader, branch: Branch) -> tuple[LightClientHeader | None, Branch]:
    if _present(branch):
        return header, branch
    if not header.is_empty:
        raise InvalidInput("a finalized header without its branch")
    return None, ()


def _present(branch: Branch) -> bool:
    return any(any(node) for node in branch)


class _Reader:
    """Takes fields off the front of a byte string."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self.what = what
        self.at = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self.at : self.at + size]
        if len(piece) != size:
            raise InvalidInput(f"{self.what} is truncated")
        self.at += size
        return piece

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def branch(self, gindex: int) -> Branch:
        return tuple(self.take(32) for _ in range(gindex.bit_length() - 1))

    def rest(self) -> bytes:
        return self.take(len(self._data) - self.at)
