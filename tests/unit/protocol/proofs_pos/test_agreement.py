"""The light client agrees with the official executable specification, sequence by sequence.

Source of the oracle: the package eth-consensus-specs.
"""

from __future__ import annotations

import pytest

from goldengrain_protocol.proofs.ethereum_pos.network import PresetId
from tests.unit.protocol.proofs_pos.sequences import FAULTS, Tally, run_sequence

MINIMAL_SEQUENCES = 480
MAINNET_SEQUENCES = 32
CHUNK = 20
MAINNET_CHUNK = 4


@pytest.mark.parametrize("begin", range(0, MINIMAL_SEQUENCES, CHUNK))
def test_agrees_on_minimal(begin: int) -> None:
    tally = Tally()
    faults = {run_sequence(PresetId.MINIMAL, seed, tally) for seed in range(begin, begin + CHUNK)}
    # A run in which everything is refused, or nothing moves, would prove nothing.
    assert tally.accepted >= CHUNK
    assert tally.moved >= CHUNK // 2
    assert tally.refused >= CHUNK // 5
    assert len(faults) >= 8


@pytest.mark.parametrize("begin", range(0, MAINNET_SEQUENCES, MAINNET_CHUNK))
def test_agrees_on_mainnet(begin: int) -> None:
    tally = Tally()
    for seed in range(begin, begin + MAINNET_CHUNK):
        run_sequence(PresetId.MAINNET, seed, tally)
    assert tally.accepted >= MAINNET_CHUNK
    assert tally.moved >= 1


def test_every_fault_is_among_the_sequences() -> None:
    names = sorted({"none", *FAULTS})
    drawn = {names[seed % len(names)] if seed % 4 else "none" for seed in range(MINIMAL_SEQUENCES)}
    assert drawn == set(names)
