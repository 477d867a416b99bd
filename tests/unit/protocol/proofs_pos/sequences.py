"""Random sequences of light-client data with at most one fault, judged by the official specification and by us.

A sequence is a bootstrap and some updates for one network. Every byte string goes to both judges; they must
agree on whether it is acceptable, and after every step on what is final and who is in office.
"""

from __future__ import annotations

import importlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.proofs.ethereum_pos.containers import (
    decode_bootstrap,
    decode_finality_update,
    decode_optimistic_update,
    decode_update,
)
from goldengrain_protocol.proofs.ethereum_pos.light_client import (
    Store,
    apply_update,
    validate_update,
    verify_bootstrap,
)
from goldengrain_protocol.proofs.ethereum_pos.network import Network, PresetId
from goldengrain_protocol.types import Hash32, hash32
from tests.unit.protocol.proofs_pos.beacon_chain import Chain, network, oracle, with_root

KINDS = ("LightClientUpdate", "LightClientFinalityUpdate", "LightClientOptimisticUpdate")
FULL, FINALITY, OPTIMISTIC = range(3)


@dataclass
class Step:
    """One message to both judges."""

    kind: int
    data: bytes
    slot: int
    """Of the attested header: decides the fork whose form the bytes have."""
    current_slot: int
    genesis_validators_root: Hash32


@dataclass
class Tally:
    """What a run of sequences came to, so that a test can see that it tested something."""

    accepted: int = 0
    refused: int = 0
    moved: int = 0


class Disagreement(AssertionError):
    """The two judges differ."""


# --- the judges -----------------------------------------------------------------------------------------------


class Judges:
    """Both light clients, one after the other on the same bytes."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.spec = oracle(net)
        self.theirs: Any = None
        self.ours: Store | None = None

    def bootstrap(self, root: bytes, data: bytes, slot: int) -> bool:
        fork = self.net.fork_at(slot)
        try:
            boot = self._decoded("LightClientBootstrap", data, fork.name)
            self.theirs = self.spec.initialize_light_client_store(self.spec.Root(root), boot)
        except Exception:
            self.theirs = None
        try:
            ours = decode_bootstrap(data, self.net.preset, fork.format)
            self.ours = verify_bootstrap(self.net, hash32(root), ours)
        except (InvalidInput, VerificationError):
            self.ours = None
        self._same("bootstrap", self.theirs is not None, self.ours is not None)
        return self.ours is not None

    def step(self, step: Step, tally: Tally) -> None:
        assert self.ours is not None
        fork = self.net.fork_at(step.slot)
        net = with_root(self.net, step.genesis_validators_root)
        before = self._state()
        # theirs
        name = KINDS[step.kind]
        accepted = True
        try:
            value = self._decoded(name, step.data, fork.name)
            process = getattr(
                self.spec,
                {
                    FULL: "process_light_client_update",
                    FINALITY: "process_light_client_finality_update",
                    OPTIMISTIC: "process_light_client_optimistic_update",
                }[step.kind],
            )
            process(
                self.theirs,
                value,
                self.spec.Slot(step.current_slot),
                self.spec.Root(step.genesis_validators_root),
            )
        except Exception:
            accepted = False
        after = self._state()
        # ours: the official rule, then the policy
        preset = self.net.preset
        try:
            if step.kind == FULL:
                update = decode_update(step.data, preset, fork.format)
            elif step.kind == FINALITY:
                update = decode_finality_update(step.data, preset, fork.format)
            else:
                update = decode_optimistic_update(step.data, preset)
            if step.kind == OPTIMISTIC or after == before:
                validate_update(net, self.ours, update, step.current_slot)
            ours_accepted = True
        except (InvalidInput, VerificationError):
            ours_accepted = False
        if ours_accepted:
            try:
                self.ours = apply_update(net, self.ours, update, current_slot=step.current_slot)
            except VerificationError:
                if after != before:
                    ours_accepted = False
        self._same(name, accepted, ours_accepted)
        if self._state() != self._our_state():
            raise Disagreement(f"{name}: another state than the specification's")
        tally.accepted += accepted
        tally.refused += not accepted
        tally.moved += after != before

    def _state(self) -> tuple[bytes, ...]:
        store = self.theirs
        following = store.next_sync_committee
        return (
            bytes(store.finalized_header.beacon.hash_tree_root()),
            bytes(store.finalized_header.execution.block_hash),
            bytes(store.current_sync_committee.hash_tree_root()),
            b"" if following == self.spec.SyncCommittee() else bytes(following.hash_tree_root()),
        )

    def _our_state(self) -> tuple[bytes, ...]:
        assert self.ours is not None
        following = self.ours.next_sync_committee
        return (
            self.ours.finalized_header.beacon_root,
            self.ours.finalized_header.block_hash,
            self.ours.current_sync_committee.root,
            b"" if following is None else following.root,
        )

    def _same(self, what: str, theirs: bool, ours: bool) -> None:
        if theirs != ours:
            verdict = ["refuses", "accepts"]
            raise Disagreement(
                f"{what}: the specification {verdict[theirs]}, this implementation {verdict[ours]}"
            )

    def _decoded(self, name: str, data: bytes, fork: str) -> Any:
        """Decode as the specification does, and put Deneb's data into the form of Electra."""
        if fork != "deneb" or self.net.forks[-1].name == "deneb":
            return getattr(self.spec, name).decode_bytes(data)
        preset = self.net.preset_id.name.lower()
        deneb = importlib.import_module(f"eth_consensus_specs.deneb.{preset}")
        electra = importlib.import_module(f"eth_consensus_specs.electra.{preset}")
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removeprefix("LightClient")).lower()
        value = getattr(electra, f"upgrade_lc_{words}_to_electra")(getattr(deneb, name).decode_bytes(data))
        return getattr(self.spec, name).decode_bytes(value.encode_bytes())


# --- the sequences --------------------------------------------------------------------------------------------

Fault = Callable[["Draw", Any, Step], Step]


class Draw:
    """One sequence: a network, a chain on it, and where the store stands."""

    def __init__(self, preset: PresetId, seed: int) -> None:
        self.rng = random.Random(f"{preset.name}/{seed}")
        self.net = self._network(preset)
        self.chain = Chain(self.net, seed)
        self.sent: list[Step] = []

    def _network(self, preset: PresetId) -> Network:
        period = 256 if preset == PresetId.MAINNET else 8
        at = 3 * period + self.rng.randrange(-2, 3 * period)
        match self.rng.randrange(6):
            case 0:
                return network(preset, electra=0)
            case 1:
                return network(preset, fulu=0)
            case 2:
                return network(preset, deneb=0, electra=at)
            case 3 | 4:
                return network(preset, electra=0, fulu=at)
            case _:
                return network(preset, deneb=0, electra=at, fulu=at + self.rng.randrange(1, 2 * period))

    def bootstrap(self) -> tuple[bytes, Any, int]:
        """Return (root, bootstrap, slot)."""
        per_period = self.net.preset.slots_per_period
        slot = per_period * self.rng.choice((0, 2, 3, 4)) + self.rng.randrange(per_period - 20)
        block = self.chain.block(slot)
        return self.chain.root(block), self.chain.bootstrap(block), slot

    def update(self, store: Store, kind: int) -> tuple[Any, Step]:
        """Return a true update of some kind that fits the store, or nearly so."""
        rng, net, chain = self.rng, self.net, self.chain
        per_period, period = net.preset.slots_per_period, net.period_at(store.finalized_header.slot)
        begin = store.finalized_header.slot
        if store.next_sync_committee is not None and rng.random() < 0.6:
            period, begin = period + 1, per_period * (period + 1)
        end = per_period * (period + 1)
        finalized_slot = rng.randrange(begin, max(begin + 1, end - 4)) + (rng.random() < 0.8)
        attested_slot = rng.randrange(finalized_slot, max(finalized_slot + 1, end - 1))
        signature_slot = attested_slot + rng.choice((1, 1, 1, 2, 5))
        finalized = chain.block(finalized_slot)
        if rng.random() < (0.3 if period == 0 else 0.04):
            finalized = None
        with_finality = kind == FINALITY or (kind == FULL and rng.random() < 0.85)
        root = chain.root(finalized) if finalized is not None else bytes(32)
        attested = chain.block(attested_slot, root)
        size = net.preset.sync_committee_size
        two_thirds = -(-2 * size // 3)
        participation = rng.choice((size, size, size, size - 1, two_thirds, two_thirds, two_thirds - 1, 1))
        value = chain.update(
            attested,
            finalized if with_finality else None,
            with_committee=kind == FULL and rng.random() < 0.85,
            signature_slot=signature_slot,
            participation=participation,
        )
        if with_finality and finalized is None:  # the finalised genesis: an empty header, a true branch
            value.finality_branch = self._finality_branch(attested)
        if kind == FINALITY:
            value = chain.finality_update(value)
        elif kind == OPTIMISTIC:
            value = chain.optimistic_update(value)
        now = signature_slot + rng.choice((0, 1, 100))
        step = Step(kind, value.encode_bytes(), attested_slot, now, net.genesis_validators_root)
        return value, step

    def _finality_branch(self, attested: Any) -> list[bytes]:
        from tests.unit.protocol.proofs_pos.beacon_chain import branch

        slot = int(attested.header.beacon.slot)
        return branch(attested.state, self.net.fork_at(slot).format.finalized_root_gindex)


def run_sequence(preset: PresetId, seed: int, tally: Tally) -> str:
    """Judge one sequence; return the name of its fault. Raises: Disagreement."""
    draw = Draw(preset, seed)
    rng = draw.rng
    faults: dict[str, Fault | None] = {"none": None, **FAULTS}
    fault = sorted(faults)[seed % len(faults)] if seed % 4 else "none"
    at_bootstrap = fault.startswith("bytes") and rng.random() < 0.3
    judges = Judges(draw.net)
    root, boot, slot = draw.bootstrap()
    data = boot.encode_bytes()
    if rng.random() < 0.15:
        _false_bootstrap(draw, judges, root, boot, slot, tally)
    if at_bootstrap:
        step = Step(FULL, data, slot, slot, draw.net.genesis_validators_root)
        judges.bootstrap(root, FAULTS[fault](draw, boot, step).data, slot)
        return fault
    if not judges.bootstrap(root, data, slot):
        raise Disagreement("a true bootstrap is refused")
    steps = rng.randrange(2, 5)
    faulty = rng.randrange(steps)
    for at in range(steps):
        assert judges.ours is not None
        value, step = draw.update(judges.ours, rng.choice((FULL, FULL, FINALITY, FINALITY, OPTIMISTIC)))
        change = faults[fault]
        if at == faulty and change is not None:
            step = change(draw, value, step)
        draw.sent.append(step)
        judges.step(step, tally)
    return fault


def _false_bootstrap(draw: Draw, judges: Judges, root: bytes, boot: Any, slot: int, tally: Tally) -> None:
    other = boot.copy()
    match draw.rng.randrange(4):
        case 0:
            root = draw.rng.randbytes(32)
        case 1:
            other.current_sync_committee = draw.chain.ssz_committee(99, slot)
        case 2:
            other.header.execution.block_hash = draw.rng.randbytes(32)
        case _:
            other.current_sync_committee_branch[1] = draw.rng.randbytes(32)
    if judges.bootstrap(root, other.encode_bytes(), slot):
        raise Disagreement("a false bootstrap is accepted")
    tally.refused += 1


# --- the faults -----------------------------------------------------------------------------------------------


def _changed(value: Any, step: Step) -> Step:
    return replace(step, data=value.encode_bytes())


def _signature_bit(draw: Draw, value: Any, step: Step) -> Step:
    signature = bytearray(value.sync_aggregate.sync_committee_signature)
    signature[draw.rng.randrange(1, 96)] ^= 1 << draw.rng.randrange(8)
    value.sync_aggregate.sync_committee_signature = bytes(signature)
    return _changed(value, step)


def _signature_infinity(draw: Draw, value: Any, step: Step) -> Step:
    value.sync_aggregate.sync_committee_signature = draw.rng.choice(
        (b"\xc0" + bytes(95), bytes(96), b"\xff" * 96, b"\xe0" + bytes(95), b"\xc0" + bytes(94) + b"\1")
    )
    return _changed(value, step)


def _participant_flipped(draw: Draw, value: Any, step: Step) -> Step:
    bits = value.sync_aggregate.sync_committee_bits
    at = draw.rng.randrange(len(bits))
    bits[at] = not bits[at]
    return _changed(value, step)


def _nobody(draw: Draw, value: Any, step: Step) -> Step:
    bits = value.sync_aggregate.sync_committee_bits
    for at in range(len(bits)):
        bits[at] = False
    value.sync_aggregate.sync_committee_signature = b"\xc0" + bytes(95)
    return _changed(value, step)


def _genesis_root(draw: Draw, value: Any, step: Step) -> Step:
    return replace(step, genesis_validators_root=hash32(draw.rng.randbytes(32)))


def _fork_version(draw: Draw, value: Any, step: Step) -> Step:
    """Signed under another fork's version."""
    net = draw.net
    forks = tuple(replace(fork, version=draw.rng.randbytes(4)) for fork in net.forks)
    bits = [bool(bit) for bit in value.sync_aggregate.sync_committee_bits]
    message_net = replace(net, forks=forks)
    block = type("Block", (), {"header": value.attested_header})()
    value.sync_aggregate = draw.chain.aggregate(block, int(value.signature_slot), bits, message_net)
    return _changed(value, step)


def _clock(draw: Draw, value: Any, step: Step) -> Step:
    return replace(step, current_slot=int(value.signature_slot) - 1)


def _attested_execution(draw: Draw, value: Any, step: Step) -> Step:
    execution = value.attested_header.execution
    match draw.rng.randrange(4):
        case 0:
            execution.block_hash = draw.rng.randbytes(32)
        case 1:
            execution.block_number = int(execution.block_number) + 1
        case 2:
            execution.extra_data = b"another"
        case _:
            value.attested_header.execution_branch[draw.rng.randrange(4)] = draw.rng.randbytes(32)
    return _changed(value, step)


def _attested_beacon(draw: Draw, value: Any, step: Step) -> Step:
    beacon = value.attested_header.beacon
    match draw.rng.randrange(3):
        case 0:
            beacon.proposer_index = int(beacon.proposer_index) ^ 1
        case 1:
            beacon.state_root = draw.rng.randbytes(32)
        case _:
            beacon.parent_root = draw.rng.randbytes(32)
    return _changed(value, step)


def _finalized(draw: Draw, value: Any, step: Step) -> Step:
    if step.kind == OPTIMISTIC:
        return _signature_bit(draw, value, step)
    header = value.finalized_header
    match draw.rng.randrange(5):
        case 0:
            header.execution.block_hash = draw.rng.randbytes(32)
        case 1:
            header.beacon.slot = int(header.beacon.slot) + 1
        case 2:
            at = draw.rng.randrange(len(value.finality_branch))
            value.finality_branch[at] = draw.rng.randbytes(32)
        case 3:
            for at in range(len(value.finality_branch)):
                value.finality_branch[at] = bytes(32)
        case _:
            value.finalized_header = value.attested_header
    return _changed(value, step)


def _committee(draw: Draw, value: Any, step: Step) -> Step:
    if step.kind != FULL:
        return _participant_flipped(draw, value, step)
    match draw.rng.randrange(4):
        case 0:
            value.next_sync_committee = draw.chain.ssz_committee(99, step.slot)
        case 1:
            at = draw.rng.randrange(len(value.next_sync_committee_branch))
            value.next_sync_committee_branch[at] = draw.rng.randbytes(32)
        case 2:
            for at in range(len(value.next_sync_committee_branch)):
                value.next_sync_committee_branch[at] = bytes(32)
        case _:
            keys = value.next_sync_committee.pubkeys
            keys[0], keys[1] = bytes(keys[1]), bytes(keys[0])
    return _changed(value, step)


def _slots(draw: Draw, value: Any, step: Step) -> Step:
    """A signature slot that does not follow the attested one, or lies periods ahead; signed truly."""
    per_period = draw.net.preset.slots_per_period
    slot = draw.rng.choice(
        (step.slot, max(0, step.slot - 1), step.slot + 2 * per_period, step.slot + per_period)
    )
    bits = [bool(bit) for bit in value.sync_aggregate.sync_committee_bits]
    block = type("Block", (), {"header": value.attested_header})()
    value.signature_slot = slot
    value.sync_aggregate = draw.chain.aggregate(block, slot, bits)
    return replace(_changed(value, step), current_slot=max(step.current_slot, slot))


def _replay(draw: Draw, value: Any, step: Step) -> Step:
    return draw.rng.choice(draw.sent) if draw.sent else _signature_bit(draw, value, step)


def _bytes_cut(draw: Draw, value: Any, step: Step) -> Step:
    return replace(step, data=step.data[: draw.rng.randrange(len(step.data))])


def _bytes_more(draw: Draw, value: Any, step: Step) -> Step:
    return replace(step, data=step.data + draw.rng.randbytes(draw.rng.choice((1, 32, 33, 64))))


def _bytes_flipped(draw: Draw, value: Any, step: Step) -> Step:
    data = bytearray(step.data)
    data[draw.rng.randrange(len(data))] ^= 1 << draw.rng.randrange(8)
    return replace(step, data=bytes(data))


def _bytes_offset(draw: Draw, value: Any, step: Step) -> Step:
    data = bytearray(step.data)
    at = 0 if draw.rng.random() < 0.5 else data.rindex((584).to_bytes(4, "little"))
    offset = int.from_bytes(data[at : at + 4], "little")
    data[at : at + 4] = (offset + draw.rng.choice((-4, 1, 4, 2**31))).to_bytes(4, "little")
    return replace(step, data=bytes(data))


FAULTS: dict[str, Fault] = {
    "attested-beacon": _attested_beacon,
    "attested-execution": _attested_execution,
    "bytes-cut": _bytes_cut,
    "bytes-flipped": _bytes_flipped,
    "bytes-more": _bytes_more,
    "bytes-offset": _bytes_offset,
    "clock": _clock,
    "committee": _committee,
    "finalized": _finalized,
    "fork-version": _fork_version,
    "genesis-root": _genesis_root,
    "nobody": _nobody,
    "participant-flipped": _participant_flipped,
    "replay": _replay,
    "signature-bit": _signature_bit,
    "signature-infinity": _signature_infinity,
    "slots": _slots,
}
