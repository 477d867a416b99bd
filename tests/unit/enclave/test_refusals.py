"""What the enclave refuses to do at all: nothing is signed, the reply says what does not fit and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from goldengrain_enclave.benchmark.sandbox import Sandbox
from goldengrain_enclave.entry import Enclave
from goldengrain_enclave.platform.simulated import SimulatedPlatform, create_directory
from goldengrain_protocol import wire
from goldengrain_protocol.config import EnclaveConfig
from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.proofs import DevPinned
from goldengrain_protocol.types import Address, Hash32
from tests.unit.enclave.world import CHAIN_ID, CONFIG, DIGITS_SPEC, MARKET, REGISTRY, World

Ask = Callable[[wire.Request], Any]
MakeWorld = Callable[..., World]


def refused(reply: Any, category: str, *words: str) -> None:
    assert isinstance(reply, wire.ErrorReply), reply
    assert reply.category == category, reply
    for word in words:
        assert word in reply.message, reply


@pytest.fixture
def world(make_world: MakeWorld, ask: Ask) -> World:
    made = make_world()
    assert isinstance(ask(made.job()), wire.EvaluateReply)  # the success that every case below perturbs
    return made


def test_not_a_request(enclave: Enclave) -> None:
    for data in (b"", b"\x00", b"\xff" * 100, b"\xc0", b"\xc5\x84boot"):
        refused(wire.decode_reply(enclave.answer(data)), "invalid")


def test_second_boot_with_another_configuration(ask: Ask) -> None:
    other = dataclasses.replace(CONFIG, market=Address(b"\x12" * 20))
    refused(ask(wire.BootRequest(other, b"")), "invalid", "another configuration")


def test_job_before_boot(platform_dir: Path, world: World) -> None:
    fresh = Enclave(SimulatedPlatform(platform_dir), Sandbox(frozenset()))
    refused(wire.decode_reply(fresh.answer(wire.encode_request(world.job()))), "invalid", "not booted")


@pytest.mark.parametrize("part", ["spec", "sealed_keys", "model", "testset"])
def test_bytes_that_the_chain_does_not_name(ask: Ask, world: World, part: str) -> None:
    altered = bytearray(getattr(world.job(), part))
    altered[-1] ^= 1
    refused(ask(world.job(**{part: bytes(altered)})), "verification", "must have digest")


def test_proof_of_another_market(ask: Ask, world: World) -> None:
    proof = world.chain.prove(world.slots, market=Address(b"\x13" * 20))
    refused(ask(world.job(proof=proof)), "verification")


def test_proof_with_too_few_confirmations(ask: Ask, world: World) -> None:
    refused(
        ask(world.job(proof=world.chain.prove(world.slots, confirmations=1))), "verification", "confirmations"
    )


def test_proof_with_an_altered_node(ask: Ask, world: World) -> None:
    proof = world.job().proof
    node = bytearray(proof.account_proof[0])
    node[5] ^= 1
    altered = dataclasses.replace(proof, account_proof=(bytes(node), *proof.account_proof[1:]))
    refused(ask(world.job(proof=altered)), "verification")


def test_proof_with_swapped_slots(ask: Ask, world: World) -> None:
    proof = world.chain.prove([world.slots[1], world.slots[0], world.slots[2]])
    refused(ask(world.job(proof=proof)), "verification")


@pytest.mark.parametrize(("word", "state"), [(0, "absent"), (3, "unpriced"), (4, "failed"), (5, "reclaimed")])
def test_submission_that_is_not_open(ask: Ask, make_world: MakeWorld, word: int, state: str) -> None:
    refused(ask(make_world(submission_word=word).job()), "verification", "must be open", state)


def test_benchmark_that_is_not_on_the_chain(ask: Ask, make_world: MakeWorld) -> None:
    refused(ask(make_world(benchmark_word=0).job()), "verification", "not on the chain")


def test_closed_benchmark_still_gets_its_results(ask: Ask, make_world: MakeWorld) -> None:
    assert isinstance(ask(make_world(benchmark_word=2).job()), wire.EvaluateReply)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"measurement": Hash32(b"\x01" * 32)}, "measurement"),
        ({"config_digest": Hash32(b"\x01" * 32)}, "configuration"),
        ({"assurance": Assurance.HARDWARE}, "assurance"),
    ],
)
def test_benchmark_that_asks_for_another_enclave(
    ask: Ask, make_world: MakeWorld, changes: dict[str, Any], word: str
) -> None:
    refused(ask(make_world(benchmark_changes=changes).job()), "verification", word)


def test_submission_for_another_benchmark(ask: Ask, world: World, make_world: MakeWorld) -> None:
    other = make_world(step_ppm=20_000)
    refused(ask(world.job(submission=other.submission)), "verification", "is for benchmark")


def test_key_sealed_to_another_enclave_only(ask: Ask, make_world: MakeWorld) -> None:
    refused(ask(make_world(seal_for=Address(b"\x01" * 20)).job()), "verification", "no key was sealed")


def test_test_set_keys_of_another_benchmark(ask: Ask, make_world: MakeWorld) -> None:
    """Somebody opens a laxer benchmark on the same ciphertext and replays the public sealed keys."""
    owner = make_world()
    thief = make_world(testset_secret=owner.testset_secret, step_ppm=1)
    assert thief.testset == owner.testset
    refused(ask(thief.job(testset_sealed_keys=owner.testset_keys.encode())), "verification", "does not open")
    assert isinstance(ask(owner.job()), wire.EvaluateReply)
    refused(ask(thief.job(testset=b"", testset_sealed_keys=owner.testset_keys.encode())), "unavailable")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"labels": np.full(797, 10, np.int64)}, ("class ids in 0..9",)),
        ({"labels": np.zeros(797, np.int32)}, ("int64",)),
        ({"labels": np.zeros(796, np.int64)}, ("input.image", "shape")),
        ({"inputs": {"picture": np.zeros((797, 64), np.float32)}}, ("must hold the tensors",)),
        ({"inputs": {"image": np.zeros((797, 64), np.float64)}}, ("float32",)),
        ({"inputs": {"image": np.zeros((797, 8, 8), np.float32)}}, ("shape",)),
    ],
)
def test_test_set_that_does_not_fit_its_specification(
    ask: Ask, make_world: MakeWorld, fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    refused(ask(make_world(**fields).job()), "invalid", *words)


def test_specification_that_is_malformed(ask: Ask, make_world: MakeWorld) -> None:
    spec = DIGITS_SPEC.replace("classes = 10", "classes = 10\nsurprise = 1").encode()
    refused(ask(make_world(spec=spec).job()), "invalid", "surprise")


def test_offer_on_an_unpriced_submission(ask: Ask, world: World) -> None:
    refused(ask(world.offer(Address(b"\x01" * 20), b"\x09" + bytes(31))), "verification", "must be priced")


def test_offer_to_a_low_order_key(ask: Ask, make_world: MakeWorld) -> None:
    priced = make_world(submission_word=2 | 10**16 << 8 | 1 << 96)
    refused(ask(priced.offer(Address(b"\x01" * 20), bytes(32))), "invalid", "low-order")


def test_unknown_error_says_its_type_and_nothing_else(
    ask: Ask, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise KeyError("secret words")

    monkeypatch.setattr("goldengrain_enclave.entry.verify_job", broken)
    reply = ask(world.job())
    refused(reply, "internal", "KeyError")
    assert "secret" not in reply.message


class TestSealedIdentity:
    """A restarted worker keeps its registration, and nobody else gets it."""

    def boot(self, platform_dir: Path, sealed: bytes, config: EnclaveConfig = CONFIG) -> Any:
        enclave = Enclave(SimulatedPlatform(platform_dir), Sandbox(frozenset({"seccomp"})))
        try:
            return wire.decode_reply(enclave.answer(wire.encode_request(wire.BootRequest(config, sealed))))
        finally:
            enclave.close()

    def test_same_identity_after_a_restart(self, platform_dir: Path, booted: wire.BootReply) -> None:
        again = self.boot(platform_dir, booted.sealed_identity)
        assert isinstance(again, wire.BootReply)
        assert (again.signer, again.sealing_key) == (booted.signer, booted.sealing_key)

    def test_fresh_identity_without_one(self, platform_dir: Path, booted: wire.BootReply) -> None:
        assert self.boot(platform_dir, b"").signer != booted.signer

    def test_refused_under_another_chain_trust(self, platform_dir: Path, booted: wire.BootReply) -> None:
        lax = EnclaveConfig(CHAIN_ID, MARKET, REGISTRY, DevPinned(Hash32(b"\x55" * 32), 0).config())
        refused(self.boot(platform_dir, booted.sealed_identity, lax), "verification", "sealed identity")

    def test_refused_on_another_machine(self, tmp_path: Path, booted: wire.BootReply) -> None:
        create_directory(tmp_path / "other", 1_800_000_000)
        refused(self.boot(tmp_path / "other", booted.sealed_identity), "verification", "sealed identity")

    def test_refused_when_altered(self, platform_dir: Path, booted: wire.BootReply) -> None:
        altered = booted.sealed_identity[:-1] + bytes([booted.sealed_identity[-1] ^ 1])
        refused(self.boot(platform_dir, altered), "verification", "sealed identity")
        refused(self.boot(platform_dir, b"\x01"), "verification", "sealed identity")
