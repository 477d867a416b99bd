"""Synthetic beacon chains for light clients: signed with keys of our own, in the official specification's types.

A light client sees a state or a block body only through Merkle branches. So most chains here have random trees
with the right leaves at the right places, which takes microseconds; `real_block` makes them from whole states.
"""

from __future__ import annotations

import importlib
import random
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from typing import Any

from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from goldengrain_protocol.proofs.ethereum_pos.bls import DOMAIN_SEPARATION_TAG
from goldengrain_protocol.proofs.ethereum_pos.light_client import signing_root
from goldengrain_protocol.proofs.ethereum_pos.network import FORMATS, PRESETS, Fork, Network, PresetId
from goldengrain_protocol.types import hash32

VERSIONS = {"deneb": "04000001", "electra": "05000001", "fulu": "06000001"}
NEVER = 2**64 - 1
GENESIS_VALIDATORS_ROOT = hash32(sha256(b"synthetic validators").digest())


def network(preset: PresetId, **epochs: int) -> Network:
    """Return a network with forks at the given epochs, e.g. electra=0, fulu=12."""
    forks = [Fork(name, epoch, bytes.fromhex(VERSIONS[name])) for name, epoch in epochs.items()]
    return Network(preset, GENESIS_VALIDATORS_ROOT, tuple(forks))


def oracle(net: Network) -> Any:
    """Return the official specification of the network's last fork, told about its schedule."""
    last = net.forks[-1].name
    spec: Any = importlib.import_module(f"eth_consensus_specs.{last}.{net.preset_id.name.lower()}")
    settings: dict[str, Any] = {}
    for name in ("altair", "bellatrix", "capella", "deneb", "electra", "fulu"):
        if hasattr(spec.config, f"{name.upper()}_FORK_EPOCH"):
            settings[f"{name.upper()}_FORK_EPOCH"] = spec.Epoch(0)
    for fork in net.forks:
        settings[f"{fork.name.upper()}_FORK_EPOCH"] = spec.Epoch(fork.epoch)
        settings[f"{fork.name.upper()}_FORK_VERSION"] = spec.Version(fork.version)
    spec.config = published_config(spec)._replace(**settings)
    return spec


@lru_cache(maxsize=16)
def published_config(spec: Any) -> Any:
    """Return a specification's configuration as it was before `oracle` told it about a network."""
    return spec.config


@dataclass(frozen=True)
class Committee:
    """A sync committee with its secrets."""

    secrets: tuple[int, ...]
    keys: tuple[bytes, ...]
    aggregate: bytes

    def sign(self, bits: list[bool], message: bytes) -> bytes:
        """Return the aggregate signature of those whose bit is set; of nobody: the point at infinity."""
        total = sum(secret for secret, bit in zip(self.secrets, bits, strict=True) if bit)
        point = G2Point.hash_to_curve(message, DOMAIN_SEPARATION_TAG)
        return bytes(
            (point * Scalar.from_be_bytes_mod_order(total.to_bytes(64, "big"))).to_compressed_bytes()
        )


@lru_cache(maxsize=4)
def _pool(size: int) -> list[tuple[int, bytes]]:
    draw = random.Random(size)
    secrets = [draw.getrandbits(200) + 1 for _ in range(size + size // 2)]
    return [(s, bytes((G1Point() * Scalar(s)).to_compressed_bytes())) for s in secrets]


@lru_cache(maxsize=64)
def committee(size: int, period: int) -> Committee:
    """Return the committee of a period: members of a fixed pool in an order of the period's own."""
    pool = list(_pool(size))
    random.Random(period).shuffle(pool)
    chosen = pool[:size]
    total = Scalar(sum(secret for secret, _ in chosen))
    aggregate = bytes((G1Point() * total).to_compressed_bytes())
    return Committee(tuple(s for s, _ in chosen), tuple(k for _, k in chosen), aggregate)


def partial_tree(leaves: dict[int, bytes], draw: random.Random) -> dict[int, bytes]:
    """Return all nodes (by generalized index) of a tree with these leaves and random siblings."""
    nodes = dict(leaves)
    inner = {g >> shift for g in leaves for shift in range(1, g.bit_length())}
    for g in sorted(inner, reverse=True):
        for child in (2 * g, 2 * g + 1):
            nodes.setdefault(child, draw.randbytes(32))
        nodes[g] = sha256(nodes[2 * g] + nodes[2 * g + 1]).digest()
    return nodes


def branch(nodes: dict[int, bytes], gindex: int) -> list[bytes]:
    """Return the siblings from a leaf up."""
    found = []
    while gindex > 1:
        found.append(nodes[gindex ^ 1])
        gindex >>= 1
    return found


@dataclass
class BlockData:
    """A block as light clients see it."""

    header: Any
    state: dict[int, bytes]


class Chain:
    """Makes light-client data of one network."""

    def __init__(self, net: Network, seed: int = 0) -> None:
        self.net = net
        self.draw = random.Random(seed)
        self.modules = {
            fork.name: importlib.import_module(
                f"eth_consensus_specs.{fork.name}.{net.preset_id.name.lower()}"
            )
            for fork in net.forks
        }
        self.preset = PRESETS[net.preset_id]

    def spec_at(self, slot: int) -> Any:
        """The specification of the fork at a slot."""
        return self.modules[self.net.fork_at(slot).name]

    def committee(self, period: int) -> Committee:
        return committee(self.preset.sync_committee_size, period)

    def ssz_committee(self, period: int, slot: int) -> Any:
        return _ssz_committee(self.spec_at(slot), self.preset.sync_committee_size, period).copy()

    def block(
        self,
        slot: int,
        finalized_root: bytes = bytes(32),
        *,
        number: int | None = None,
        block_hash: bytes | None = None,
        committees: tuple[int, int] | None = None,
    ) -> BlockData:
        """Return a block with its execution payload header and the tree of its state."""
        spec, fmt = self.spec_at(slot), FORMATS[self.net.fork_at(slot).name]
        period = self.net.period_at(slot)
        current, following = committees or (period, period + 1)
        execution = spec.ExecutionPayloadHeader(
            block_number=slot if number is None else number,
            block_hash=self.draw.randbytes(32) if block_hash is None else block_hash,
            gas_used=self.draw.getrandbits(24),
            timestamp=12 * slot,
            extra_data=self.draw.randbytes(self.draw.randrange(33)),
            base_fee_per_gas=self.draw.getrandbits(120),
            logs_bloom=self.draw.randbytes(256),
            state_root=self.draw.randbytes(32),
        )
        body = partial_tree({fmt.execution_payload_gindex: bytes(spec.hash_tree_root(execution))}, self.draw)
        state = partial_tree(
            {
                fmt.current_sync_committee_gindex: self.committee_root(current, slot),
                fmt.next_sync_committee_gindex: self.committee_root(following, slot),
                fmt.finalized_root_gindex: finalized_root,
            },
            self.draw,
        )
        header = spec.LightClientHeader(
            beacon=spec.BeaconBlockHeader(
                slot=slot,
                proposer_index=self.draw.randrange(10**6),
                parent_root=self.draw.randbytes(32),
                state_root=state[1],
                body_root=body[1],
            ),
            execution=execution,
            execution_branch=branch(body, fmt.execution_payload_gindex),
        )
        return BlockData(header, state)

    def real_block(self, slot: int, finalized_root: bytes = bytes(32)) -> BlockData:
        """As `block`, from a whole beacon state and block body, with the specification's own Merkle proofs."""
        spec, fmt = self.spec_at(slot), self.net.fork_at(slot).format
        period = self.net.period_at(slot)
        state = spec.BeaconState(
            slot=slot,
            current_sync_committee=self.ssz_committee(period, slot),
            next_sync_committee=self.ssz_committee(period + 1, slot),
            finalized_checkpoint=spec.Checkpoint(epoch=1, root=finalized_root),
        )
        body = spec.BeaconBlockBody()
        body.execution_payload.block_number = slot
        body.execution_payload.block_hash = self.draw.randbytes(32)
        block = spec.SignedBeaconBlock(
            message=spec.BeaconBlock(slot=slot, state_root=state.hash_tree_root(), body=body)
        )
        nodes: dict[int, bytes] = {}
        for gindex in (
            fmt.current_sync_committee_gindex,
            fmt.next_sync_committee_gindex,
            fmt.finalized_root_gindex,
        ):
            for depth, node in enumerate(spec.compute_merkle_proof(state, gindex)):
                nodes[(gindex >> depth) ^ 1] = bytes(node)
        return BlockData(spec.block_to_light_client_header(block), nodes)

    def committee_root(self, period: int, slot: int) -> bytes:
        return _committee_root(self, period, slot)

    def root(self, block: BlockData) -> bytes:
        """Return the beacon block root."""
        return bytes(block.header.beacon.hash_tree_root())

    def bootstrap(self, block: BlockData) -> Any:
        slot = int(block.header.beacon.slot)
        spec, fmt = self.spec_at(slot), self.net.fork_at(slot).format
        return spec.LightClientBootstrap(
            header=block.header,
            current_sync_committee=self.ssz_committee(self.net.period_at(slot), slot),
            current_sync_committee_branch=branch(block.state, fmt.current_sync_committee_gindex),
        )

    def aggregate(
        self, attested: BlockData, signature_slot: int, bits: list[bool], net: Network | None = None
    ) -> Any:
        """Return a true aggregate of the committee in office at `signature_slot`."""
        spec = self.spec_at(int(attested.header.beacon.slot))
        message = signing_root(net or self.net, self.root(attested), signature_slot)
        signature = self.committee(self.net.period_at(signature_slot)).sign(bits, message)
        return spec.SyncAggregate(sync_committee_bits=bits, sync_committee_signature=signature)

    def update(
        self,
        attested: BlockData,
        finalized: BlockData | None,
        *,
        with_committee: bool = True,
        signature_slot: int | None = None,
        participation: int | None = None,
        net: Network | None = None,
    ) -> Any:
        """Return a `LightClientUpdate`; without `finalized` or committee these parts are empty."""
        slot = int(attested.header.beacon.slot)
        spec, fmt = self.spec_at(slot), self.net.fork_at(slot).format
        signed_at = slot + 1 if signature_slot is None else signature_slot
        size = self.preset.sync_committee_size
        bits = [i < (size if participation is None else participation) for i in range(size)]
        self.draw.shuffle(bits)
        update = spec.LightClientUpdate(
            attested_header=attested.header,
            sync_aggregate=self.aggregate(attested, signed_at, bits, net),
            signature_slot=signed_at,
        )
        if with_committee:
            update.next_sync_committee = self.ssz_committee(self.net.period_at(slot) + 1, slot)
            update.next_sync_committee_branch = branch(attested.state, fmt.next_sync_committee_gindex)
        if finalized is not None:
            header = finalized.header
            if not isinstance(header, spec.LightClientHeader):  # of an earlier fork, in the same form
                header = spec.LightClientHeader.decode_bytes(header.encode_bytes())
            update.finalized_header = header
            update.finality_branch = branch(attested.state, fmt.finalized_root_gindex)
        return update

    def finality_update(self, update: Any) -> Any:
        """Return the `LightClientFinalityUpdate` with the same contents."""
        spec = self.spec_at(int(update.attested_header.beacon.slot))
        return spec.LightClientFinalityUpdate(
            attested_header=update.attested_header,
            finalized_header=update.finalized_header,
            finality_branch=update.finality_branch,
            sync_aggregate=update.sync_aggregate,
            signature_slot=update.signature_slot,
        )

    def optimistic_update(self, update: Any) -> Any:
        """Return the `LightClientOptimisticUpdate` with the same contents."""
        spec = self.spec_at(int(update.attested_header.beacon.slot))
        return spec.LightClientOptimisticUpdate(
            attested_header=update.attested_header,
            sync_aggregate=update.sync_aggregate,
            signature_slot=update.signature_slot,
        )

    def version_at(self, slot: int) -> bytes:
        return self.net.fork_at(slot).version


@lru_cache(maxsize=64)
def _ssz_committee(spec: Any, size: int, period: int) -> Any:
    one = committee(size, period)
    return spec.SyncCommittee(pubkeys=one.keys, aggregate_pubkey=one.aggregate)


@lru_cache(maxsize=256)
def _root_of(size: int, preset: PresetId, period: int) -> bytes:
    spec = importlib.import_module(f"eth_consensus_specs.electra.{preset.name.lower()}")
    one = committee(size, period)
    value = spec.SyncCommittee(pubkeys=one.keys, aggregate_pubkey=one.aggregate)
    return bytes(value.hash_tree_root())


def _committee_root(chain: Chain, period: int, slot: int) -> bytes:
    return _root_of(chain.preset.sync_committee_size, chain.net.preset_id, period)


def with_root(net: Network, root: bytes) -> Network:
    """Return the network with another genesis validators root."""
    return replace(net, genesis_validators_root=hash32(root))
