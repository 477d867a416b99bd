"""A small world around one enclave: a synthetic chain whose proofs are real, one benchmark, one developer."""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rlp
import safetensors.numpy
from trie.hexary import HexaryTrie

from goldengrain_protocol import keyschedule, messages, wire
from goldengrain_protocol.commitments import digest_of
from goldengrain_protocol.config import EnclaveConfig, config_digest
from goldengrain_protocol.constants import (
    MARKET_SLOT_BENCHMARKS,
    MARKET_SLOT_RECORDS,
    MARKET_SLOT_SUBMISSIONS,
    Assurance,
)
from goldengrain_protocol.container import ContainerKind, encrypt_container
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Benchmark, CurvePoint, Sale, Submission
from goldengrain_protocol.proofs import ChainProof, DevPinned, mapping_slot
from goldengrain_protocol.proofs.dev_pinned import encode_evidence
from goldengrain_protocol.sealing import seal, sealed_keys, submission_seal_context, testset_seal_context
from goldengrain_protocol.types import Address, Hash32

CHAIN_ID = 31337
MARKET = Address(b"\x11" * 20)
REGISTRY = Address(b"\x22" * 20)
WORKER = Address(b"\x33" * 20)
DEVELOPER = Address(b"\x44" * 20)
GENESIS = Hash32(b"\x55" * 32)
CONFIG = EnclaveConfig(CHAIN_ID, MARKET, REGISTRY, DevPinned(GENESIS, 2).config())

DIGITS_SPEC = """
format = 1
title = "Handwritten digits"
task = "classification"
classes = 10

[[inputs]]
name = "image"
dtype = "float32"
shape = ["n", 64]

[output]
name = "probabilities"
dtype = "float32"
shape = ["n", 10]

[score]
metric = "accuracy"
confidence_ppm = 950000

[limits]
model_bytes = 1000000
memory_bytes = 268435456
cpu_s = 20
wall_s = 30
batch = 256
"""


class FakeChainState:
    """State and headers made by hand; the Merkle proofs over them are real."""

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}
        self.number = 7

    def prove(self, slots: list[int], *, market: Address = MARKET, confirmations: int = 2) -> ChainProof:
        storage = HexaryTrie({})
        for slot, value in self.slots.items():
            if value:
                storage.set(keccak256(slot.to_bytes(32, "big")), rlp.encode(value))
        state = HexaryTrie({})
        state.set(keccak256(market), rlp.encode([1, 0, storage.root_hash, keccak256(b"code")]))
        state.set(keccak256(b"\x99" * 20), rlp.encode([5, 10**18, HexaryTrie({}).root_hash, keccak256(b"")]))
        headers = [_header(self.number, b"\x77" * 32, state.root_hash)]
        for step in range(confirmations):
            headers.append(_header(self.number + 1 + step, keccak256(headers[-1]), b"\x66" * 32))
        return ChainProof(
            encode_evidence(headers),
            headers[0],
            _nodes(state, keccak256(market)),
            tuple(_nodes(storage, keccak256(slot.to_bytes(32, "big"))) for slot in slots),
        )


def _nodes(trie: Any, key: bytes) -> tuple[bytes, ...]:
    encoded = [rlp.encode(node) for node in trie.get_proof(key)]
    return tuple(
        node for index, node in enumerate(encoded) if node != b"\x80" and (index == 0 or len(node) >= 32)
    )


def _header(number: int, parent: bytes, state_root: bytes) -> bytes:
    fields = [parent, b"\x01" * 32, b"\x02" * 20, state_root, b"\x03" * 32, b"\x04" * 32, bytes(256)]
    return rlp.encode(
        [*fields, 0, number, 30_000_000, 21_000, 1_700_000_000 + number, b"", bytes(32), bytes(8), 7]
    )


@dataclass
class World:
    """Everything a job is made of; change a field, then ask for the request."""

    booted: wire.BootReply
    model: bytes
    inputs: dict[str, np.ndarray]
    labels: np.ndarray
    spec: bytes = DIGITS_SPEC.encode()
    step_ppm: int = 10_000
    assurance: int = Assurance.SIMULATED
    best: tuple[int, int] = (0, 0)
    submission_word: int = 1 | 2_000_000_000 << 8
    benchmark_word: int = 1
    testset_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    sealed_secret: bytes | None = None
    seal_to: bytes | None = None
    seal_for: Address | None = None
    committed_secret: bytes | None = None
    container: bytes | None = None
    benchmark_changes: dict[str, Any] = field(default_factory=dict)
    chain: FakeChainState = field(default_factory=FakeChainState)

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Recompute all that follows from the fields."""
        tensors = {f"input.{name}": array for name, array in self.inputs.items()} | {"label": self.labels}
        plain = safetensors.numpy.save(tensors)
        self.testset = encrypt_container(plain, ContainerKind.TESTSET, self.testset_secret, b"\x01" * 32)
        terms: dict[str, Any] = {
            "owner": Address(b"\xaa" * 20),
            "sale": Sale(Address(bytes(20)), Address(bytes(20)), 0),
            "spec_digest": digest_of(self.spec),
            "testset_digest": digest_of(self.testset),
            "verifier": Address(b"\xbb" * 20),
            "measurement": self.booted.measurement,
            "config_digest": config_digest(CONFIG),
            "assurance": self.assurance,
            "tcb_allowed": 1,
            "quorum": 1,
            "fee_wei": 10**15,
            "submission_cap": 5,
            "step_ppm": self.step_ppm,
            "submissions_close": 2_000_000_000,
            "result_window_s": 3600,
            "curve": (CurvePoint(500_000, 10**16), CurvePoint(1_000_000, 10**18)),
        }
        self.benchmark = Benchmark(**(terms | self.benchmark_changes))
        self.benchmark_id = messages.benchmark_id(CHAIN_ID, MARKET, self.benchmark)
        signer, key = self.seal_for or self.booted.signer, self.seal_to or self.booted.sealing_key
        context = testset_seal_context(CHAIN_ID, MARKET, self.benchmark_id, self.benchmark.testset_digest)
        self.testset_keys = sealed_keys(
            {self.booted.signer: seal(self.booted.sealing_key, self.testset_secret, context)}
        )
        container = self.container
        if container is None:
            container = encrypt_container(self.model, ContainerKind.MODEL, self.secret, b"\x02" * 32)
        self.sent_container = container
        content = digest_of(container)
        context = submission_seal_context(CHAIN_ID, MARKET, self.benchmark_id, DEVELOPER, content)
        sealed = seal(key, self.sealed_secret or self.secret, context)
        self.keys = sealed_keys({signer: sealed})
        self.submission = Submission(
            benchmark_id=self.benchmark_id,
            developer=DEVELOPER,
            payee=DEVELOPER,
            content_digest=content,
            secret_commitment=keyschedule.secret_commitment(self.committed_secret or self.secret),
            sealed_digest=keccak256(self.keys.encode()),
            reserve=0,
        )
        body = messages.body_hash(CHAIN_ID, MARKET, self.submission)
        self.submission_id = messages.submission_id(self.benchmark.sale, body)
        record = messages.record_id(self.benchmark_id, DEVELOPER)
        self.slots = [
            mapping_slot(MARKET_SLOT_BENCHMARKS, self.benchmark_id),
            mapping_slot(MARKET_SLOT_SUBMISSIONS, self.submission_id),
            mapping_slot(MARKET_SLOT_RECORDS, record),
        ]
        words = [
            self.benchmark_word,
            self.submission_word,
            1 | 1 << 8 | self.best[0] << 24 | self.best[1] << 48,
        ]
        self.chain.slots = dict(zip(self.slots, words, strict=True)) | {5: 17, 6: 2**200}

    def job(self, **changes: Any) -> wire.JobRequest:
        """Return the request to evaluate, with fields replaced by `changes`."""
        request = wire.JobRequest(
            proof=self.chain.prove(self.slots),
            benchmark=self.benchmark,
            submission=self.submission,
            sealed_keys=self.keys.encode(),
            testset_sealed_keys=self.testset_keys.encode(),
            spec=self.spec,
            model=self.sent_container,
            testset=self.testset,
            worker=WORKER,
        )
        return dataclasses.replace(request, **changes)

    def offer(self, buyer: Address, buyer_key: bytes, **changes: Any) -> wire.OfferRequest:
        """Return the request for an offer, with fields replaced by `changes`."""
        request = wire.OfferRequest(
            proof=self.chain.prove(self.slots[1:2]),
            benchmark=self.benchmark,
            submission=self.submission,
            sealed_keys=self.keys.encode(),
            buyer=buyer,
            buyer_key=buyer_key,
        )
        return dataclasses.replace(request, **changes)
