"""Evidence from a host: whatever its bytes, only `InvalidInput` or `VerificationError` comes out, in bounded time.

Random bytes; valid evidence with a few bytes changed, cut, doubled or moved, in its RLP and inside its SSZ; and
longer runs of the comparison with the official specification.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.proofs.ethereum_pos import EthereumPos, Versioned
from goldengrain_protocol.proofs.ethereum_pos.containers import (
    decode_bootstrap,
    decode_finality_update,
    decode_header,
    decode_optimistic_update,
    decode_update,
)
from goldengrain_protocol.proofs.ethereum_pos.mode import PosEvidence
from goldengrain_protocol.proofs.ethereum_pos.network import FORMATS, PRESETS, PresetId
from goldengrain_protocol.proofs.witness_quorum import QuorumEvidence, WitnessQuorum
from tests.unit.protocol.proofs_pos.beacon_chain import network
from tests.unit.protocol.proofs_pos.sequences import Tally, run_sequence
from tests.unit.protocol.proofs_pos.test_history import HEAD, TRUSTED, step
from tests.unit.protocol.proofs_pos.test_light_client import World, make_world
from tests.unit.protocol.proofs_pos.test_witness_quorum import BLOCK, KEYS, QUORUM, sign

WORLD: World = make_world(network(PresetId.MINIMAL, electra=0, fulu=28))
EVIDENCE = replace(WORLD.evidence(), history=step(HEAD - 5))
QUORUM_EVIDENCE = QuorumEvidence(BLOCK, tuple(map(sign, KEYS[:3])), step(HEAD - 5))
PRESET, FORMAT = PRESETS[PresetId.MINIMAL], FORMATS["electra"]

Decoder = Callable[[bytes], Any]
DECODERS: dict[str, tuple[Decoder, bytes]] = {
    "bootstrap": (lambda data: decode_bootstrap(data, PRESET, FORMAT), WORLD.boot.encode_bytes()),
    "update": (lambda data: decode_update(data, PRESET, FORMAT), WORLD.update.encode_bytes()),
    "finality": (lambda data: decode_finality_update(data, PRESET, FORMAT), WORLD.finality.encode_bytes()),
    "optimistic": (
        lambda data: decode_optimistic_update(data, PRESET),
        WORLD.chain.optimistic_update(WORLD.update).encode_bytes(),
    ),
    "header": (decode_header, WORLD.final.header.encode_bytes()),
    "pos-evidence": (PosEvidence.decode, EVIDENCE.encode()),
    "pos-checkpoint": (EthereumPos.from_checkpoint, WORLD.mode.checkpoint()),
    "quorum-evidence": (QuorumEvidence.decode, QUORUM_EVIDENCE.encode()),
    "quorum-checkpoint": (WitnessQuorum.from_checkpoint, QUORUM.checkpoint()),
}


@st.composite
def spoiled(draw: st.DrawFn, sample: bytes) -> bytes:
    """A valid encoding with up to four faults."""
    data = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 4)):
            case 0 if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case 1:
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case 2:
                del data[at : at + draw(st.integers(1, 40))]
            case 3:
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case _:
                data[at:at] = b"\xff" * draw(st.integers(1, 9))
    return bytes(data)


@pytest.mark.parametrize("name", sorted(DECODERS))
@given(draw=st.data())
def test_decoders_refuse_with_invalid_input_only(name: str, draw: st.DataObject) -> None:
    decode, sample = DECODERS[name]
    decode(sample)
    data = draw.draw(st.binary(max_size=400) | spoiled(sample))
    try:
        value = decode(data)
    except InvalidInput:
        return
    for form in (PosEvidence, QuorumEvidence):
        if isinstance(value, form):
            assert value.encode() == data


def refused(act: Callable[[], Any]) -> None:
    try:
        act()
    except (InvalidInput, VerificationError):
        pass


@given(draw=st.data())
def test_spoiled_evidence_of_ethereum_pos(draw: st.DataObject) -> None:
    data = draw.draw(spoiled(EVIDENCE.encode()))
    refused(lambda: WORLD.mode.finalized(data))


@given(draw=st.data())
def test_spoiled_ssz_never_finalises_another_block(draw: st.DataObject) -> None:
    """Well-formed evidence around spoiled SSZ: refused, or the same block."""
    whole = WORLD.evidence()
    part = draw.draw(st.sampled_from(["bootstrap", "update", "finality"]))
    parts: dict[str, Versioned] = {
        "bootstrap": whole.bootstrap,
        "update": whole.updates[0],
        "finality": whole.finality or whole.bootstrap,
    }
    bad = Versioned(parts[part].version, draw.draw(spoiled(parts[part].ssz)))
    change: dict[str, Any] = {"updates": (bad,)} if part == "update" else {part: bad}
    try:
        block = WORLD.mode.finalized(replace(whole, **change).encode())
    except (InvalidInput, VerificationError):
        return
    assert block == WORLD.check()


@given(draw=st.data())
def test_spoiled_evidence_of_witnesses(draw: st.DataObject) -> None:
    data = draw.draw(spoiled(QUORUM_EVIDENCE.encode()))
    try:
        block = QUORUM.finalized(data)
    except (InvalidInput, VerificationError):
        return
    assert block.number in (BLOCK.number, HEAD - 5)
    assert TRUSTED.number == HEAD


def test_the_worst_evidence_takes_bounded_time_and_memory() -> None:
    """As many updates as fit, each the largest possible, none of them true."""
    junk = Versioned(bytes.fromhex("05000001"), b"\xff" * (2**15))
    evidence = WORLD.evidence(updates=(junk,) * 63, finality=junk).encode()
    assert len(evidence) > 2**20
    tracemalloc.start()
    begun = time.monotonic()
    refused(lambda: WORLD.mode.finalized(evidence))
    assert time.monotonic() - begun < 5
    assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    tracemalloc.stop()


@settings(max_examples=max(2, settings().max_examples // 10))
@given(seed=st.integers(10_000, 10**9), preset=st.sampled_from([PresetId.MINIMAL] * 9 + [PresetId.MAINNET]))
def test_agrees_with_the_specification(seed: int, preset: PresetId) -> None:
    run_sequence(preset, seed, Tally())
