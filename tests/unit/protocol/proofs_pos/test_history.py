"""The step from a trusted block to an older one through the history contract, under both modes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import TrustedBlock, decode_header
from goldengrain_protocol.proofs.ethereum_pos import EthereumPos, PosEvidence, Versioned
from goldengrain_protocol.proofs.ethereum_pos.network import PresetId
from goldengrain_protocol.proofs.history import (
    HISTORY_CONTRACT,
    HistoryStep,
    history_slot,
    verify_history_step,
)
from goldengrain_protocol.proofs.witness_quorum import FinalizedBlock, QuorumEvidence, WitnessQuorum
from goldengrain_protocol.types import hash32
from tests.unit.protocol.proofs_pos.beacon_chain import Chain, network
from tests.unit.protocol.proofs_pos.execution import State, header, history_state, history_step
from tests.unit.protocol.proofs_pos.test_witness_quorum import GENESIS, KEYS, sign, who

HEAD = 20_000
HASHES = {n: keccak256(n.to_bytes(8, "big")) for n in range(HEAD - 60, HEAD)}
HASHES[HEAD - 8191] = keccak256(b"oldest")
STATE = history_state(HEAD, HASHES)
HEADER = header(HEAD, STATE.root)
TRUSTED = TrustedBlock(HEAD, decode_header(HEADER).hash)


def step(number: int) -> HistoryStep:
    return history_step(STATE, HEADER, number)


@pytest.mark.parametrize("number", [HEAD - 1, HEAD - 33, HEAD - 8191])
def test_an_older_block(number: int) -> None:
    assert verify_history_step(TRUSTED, step(number)) == TrustedBlock(number, hash32(HASHES[number]))


@pytest.mark.parametrize("number", [HEAD, HEAD + 1, HEAD - 8192, 0])
def test_out_of_reach(number: int) -> None:
    """The slot exists, and belongs to another block of the ring."""
    with pytest.raises(VerificationError, match="must be one of the 8191 blocks"):
        verify_history_step(TRUSTED, step(number))


def test_a_hash_that_is_not_there() -> None:
    with pytest.raises(VerificationError, match="holds no hash"):
        verify_history_step(TRUSTED, step(HEAD - 100))


def test_another_head() -> None:
    for head in (TrustedBlock(HEAD, hash32(bytes(32))), TrustedBlock(HEAD + 1, TRUSTED.hash)):
        with pytest.raises(VerificationError, match="does not start at the trusted block"):
            verify_history_step(head, step(HEAD - 1))


def test_a_header_that_does_not_hash() -> None:
    forged = header(HEAD, STATE.root, salt=1)
    with pytest.raises(VerificationError):
        verify_history_step(TRUSTED, replace(step(HEAD - 1), head_header=forged))


def test_a_slot_of_another_number() -> None:
    with pytest.raises(VerificationError):
        verify_history_step(TRUSTED, replace(step(HEAD - 1), number=HEAD - 2))


def test_a_slot_of_another_contract() -> None:
    other = b"\x11" * 20
    state = State({other: {history_slot(HEAD - 1): 7}, HISTORY_CONTRACT: {history_slot(HEAD - 1): 9}})
    head = header(HEAD, state.root)
    trusted = TrustedBlock(HEAD, decode_header(head).hash)
    honest = history_step(state, head, HEAD - 1)
    assert verify_history_step(trusted, honest).hash == (9).to_bytes(32, "big")
    lying = replace(
        honest,
        account_proof=state.account_proof(other),
        storage_proof=state.storage_proof(other, history_slot(HEAD - 1)),
    )
    with pytest.raises(VerificationError):
        verify_history_step(trusted, lying)
    with pytest.raises(VerificationError):
        verify_history_step(trusted, replace(honest, storage_proof=lying.storage_proof))


def test_a_chain_without_the_contract() -> None:
    state = State({b"\x11" * 20: {1: 1}})
    head = header(HEAD, state.root)
    absent = HistoryStep(HEAD - 1, head, state.account_proof(HISTORY_CONTRACT), ())
    with pytest.raises(VerificationError, match="no account"):
        verify_history_step(TrustedBlock(HEAD, decode_header(head).hash), absent)


def test_an_empty_storage_trie() -> None:
    state = State({HISTORY_CONTRACT: {}})
    head = header(HEAD, state.root)
    empty = HistoryStep(HEAD - 1, head, state.account_proof(HISTORY_CONTRACT), ())
    with pytest.raises(VerificationError, match="holds no hash"):
        verify_history_step(TrustedBlock(HEAD, decode_header(head).hash), empty)


def test_swapped_doubled_or_missing_nodes() -> None:
    good = step(HEAD - 1)
    for name in ("account_proof", "storage_proof"):
        nodes = getattr(good, name)
        assert len(nodes) >= 2
        for bad in (nodes[::-1], (*nodes, nodes[-1]), (nodes[0], *nodes), nodes[:-1], ()):
            with pytest.raises(VerificationError):
                verify_history_step(TRUSTED, replace(good, **{name: bad}))
        with pytest.raises((VerificationError, InvalidInput)):
            verify_history_step(TRUSTED, replace(good, **{name: (*nodes[:-1], nodes[-1][:-1])}))


def test_under_a_witness_quorum() -> None:
    quorum = WitnessQuorum.of(31337, GENESIS, 2, [who(key) for key in KEYS])
    block = FinalizedBlock(HEAD, TRUSTED.hash, 12 * HEAD)
    signatures = tuple(sign(key, block) for key in KEYS[:2])
    evidence = QuorumEvidence(block, signatures, step(HEAD - 5)).encode()
    assert quorum.finalized(evidence) == TrustedBlock(HEAD - 5, hash32(HASHES[HEAD - 5]))
    assert QuorumEvidence.decode(evidence).history == step(HEAD - 5)


def test_under_ethereum_pos() -> None:
    net = network(PresetId.MINIMAL, electra=0)
    chain = Chain(net, 1)
    start = chain.block(150, number=HEAD, block_hash=TRUSTED.hash)
    mode = EthereumPos(net, hash32(chain.root(start)))
    boot = Versioned(net.forks[0].version, chain.bootstrap(start).encode_bytes())
    evidence = PosEvidence(boot, (), None, step(HEAD - 8191))
    assert mode.finalized(evidence.encode()) == TrustedBlock(HEAD - 8191, hash32(keccak256(b"oldest")))
    other = history_state(HEAD, {HEAD - 5: bytes([1]) * 32})
    forged = history_step(other, header(HEAD, other.root), HEAD - 5)
    with pytest.raises(VerificationError):
        mode.finalized(replace(evidence, history=forged).encode())
