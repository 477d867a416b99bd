"""The mode `witness-quorum`: N of M pinned keys, no more and nobody else."""

from __future__ import annotations

import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data

from goldengrain_protocol.config import ChainTrustConfig
from goldengrain_protocol.eip712 import SECP256K1_ORDER, address_of_public_key
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import TrustedBlock, chain_trust
from goldengrain_protocol.proofs.witness_quorum import (
    MAX_WITNESSES,
    FinalizedBlock,
    QuorumEvidence,
    WitnessQuorum,
    finalized_block_digest,
)
from goldengrain_protocol.types import Address, hash32

GENESIS = hash32(keccak256(b"genesis"))
BLOCK = FinalizedBlock(1234, hash32(keccak256(b"block")), 1_700_000_000)
KEYS = [PrivateKey(keccak256(bytes([i]))) for i in range(5)]


def who(key: PrivateKey) -> Address:
    return address_of_public_key(key.public_key.format(compressed=False))


KEYS.sort(key=who)
QUORUM = WitnessQuorum.of(31337, GENESIS, 3, [who(key) for key in KEYS])


def sign(
    key: PrivateKey, block: FinalizedBlock = BLOCK, chain_id: int = 31337, genesis: bytes = GENESIS
) -> bytes:
    digest = finalized_block_digest(chain_id, hash32(genesis), block)
    raw = key.sign_recoverable(digest, hasher=None)
    return raw[:64] + bytes([raw[64] + 27])


def evidence(*signatures: bytes, block: FinalizedBlock = BLOCK) -> bytes:
    return QuorumEvidence(block, signatures).encode()


def test_enough_witnesses_make_a_block_final() -> None:
    three = evidence(*map(sign, KEYS[:3]))
    assert QUORUM.finalized(three) == TrustedBlock(1234, BLOCK.hash)
    assert chain_trust(QUORUM.config()).finalized(three) == TrustedBlock(1234, BLOCK.hash)
    assert QUORUM.finalized(evidence(*map(sign, KEYS))) == TrustedBlock(1234, BLOCK.hash)
    assert QUORUM.finalized(evidence(*map(sign, [KEYS[0], KEYS[2], KEYS[4]]))).number == 1234


def test_what_is_signed_is_eip_712() -> None:
    """The same digest as a wallet makes of the typed data in docs/spec/chain-trust.md."""
    typed = {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "salt", "type": "bytes32"},
            ],
            "FinalizedBlock": [
                {"name": "number", "type": "uint64"},
                {"name": "hash", "type": "bytes32"},
                {"name": "timestamp", "type": "uint64"},
            ],
        },
        "primaryType": "FinalizedBlock",
        "domain": {"name": "GoldenGrain Witness", "version": "1", "chainId": 31337, "salt": GENESIS},
        "message": {"number": 1234, "hash": BLOCK.hash, "timestamp": 1_700_000_000},
    }
    signed = Account.sign_message(encode_typed_data(full_message=typed), KEYS[0].secret)
    assert QUORUM.signer(BLOCK, bytes(signed.signature)) == who(KEYS[0])


def test_refuses_too_few() -> None:
    with pytest.raises(VerificationError, match="expected 3 witnesses, got 2"):
        QUORUM.finalized(evidence(*map(sign, KEYS[:2])))
    with pytest.raises(VerificationError, match="expected 3 witnesses, got 0"):
        QUORUM.finalized(evidence())


def test_refuses_one_witness_counted_twice() -> None:
    with pytest.raises(VerificationError, match="ascending"):
        QUORUM.finalized(evidence(sign(KEYS[0]), sign(KEYS[0]), sign(KEYS[1])))


def test_refuses_signatures_out_of_order() -> None:
    with pytest.raises(VerificationError, match="ascending"):
        QUORUM.finalized(evidence(sign(KEYS[1]), sign(KEYS[0]), sign(KEYS[2])))


def test_refuses_a_stranger_even_beside_enough_witnesses() -> None:
    stranger = PrivateKey(keccak256(b"stranger"))
    with pytest.raises(VerificationError, match="not a pinned witness"):
        QUORUM.finalized(evidence(*map(sign, KEYS[:3]), sign(stranger)))


@pytest.mark.parametrize(
    "other",
    [
        FinalizedBlock(1235, BLOCK.hash, BLOCK.timestamp),
        FinalizedBlock(1234, GENESIS, BLOCK.timestamp),
        FinalizedBlock(1234, BLOCK.hash, BLOCK.timestamp + 1),
    ],
)
def test_refuses_signatures_about_something_else(other: FinalizedBlock) -> None:
    signatures = [sign(key, other) for key in KEYS[:3]]
    assert QUORUM.finalized(evidence(*signatures, block=other)).number == other.number
    with pytest.raises(VerificationError, match="not a pinned witness"):
        QUORUM.finalized(evidence(*signatures))


def test_refuses_signatures_for_another_chain() -> None:
    for chain_id, genesis in ((1, GENESIS), (31337, bytes(32))):
        signatures = [sign(key, BLOCK, chain_id, genesis) for key in KEYS[:3]]
        with pytest.raises(VerificationError):
            QUORUM.finalized(evidence(*signatures))


def test_refuses_a_mirrored_signature() -> None:
    signature = sign(KEYS[0])
    s = SECP256K1_ORDER - int.from_bytes(signature[32:64], "big")
    mirrored = signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])
    with pytest.raises(VerificationError, match="upper half"):
        QUORUM.finalized(evidence(mirrored, *map(sign, KEYS[1:3])))


def test_refuses_malformed_evidence() -> None:
    good = evidence(*map(sign, KEYS[:3]))
    for bad in (b"", b"\xc0", good + b"\0", good[:-1], evidence(*map(sign, KEYS[:2]), bytes(64))):
        with pytest.raises(InvalidInput):
            QUORUM.finalized(bad)
    with pytest.raises(InvalidInput):
        QUORUM.finalized(bytes(2**21 + 1))
    with pytest.raises(InvalidInput):
        QUORUM.finalized(evidence(*[bytes(65)] * (MAX_WITNESSES + 1)))


def test_checkpoint_round_trip() -> None:
    assert WitnessQuorum.from_checkpoint(QUORUM.checkpoint()) == QUORUM
    assert QuorumEvidence.decode(evidence(sign(KEYS[0]))) == QuorumEvidence(BLOCK, (sign(KEYS[0]),))


@pytest.mark.parametrize(
    ("threshold", "witnesses"),
    [
        (0, QUORUM.witnesses),
        (6, QUORUM.witnesses),
        (1, ()),
        (1, QUORUM.witnesses[::-1]),
        (1, (QUORUM.witnesses[0], QUORUM.witnesses[0])),
        (1, tuple(Address(bytes([1, i]) + bytes(18)) for i in range(MAX_WITNESSES + 1))),
    ],
)
def test_refuses_impossible_quorums(threshold: int, witnesses: tuple[Address, ...]) -> None:
    with pytest.raises(InvalidInput):
        WitnessQuorum(31337, GENESIS, threshold, witnesses)


def test_refuses_a_checkpoint_of_another_mode() -> None:
    with pytest.raises(InvalidInput):
        chain_trust(ChainTrustConfig("dev-pinned", QUORUM.checkpoint()))
    with pytest.raises(InvalidInput):
        chain_trust(ChainTrustConfig("ethereum-pos", QUORUM.checkpoint()))
