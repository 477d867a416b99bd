"""The whole door: boot, evaluate, offer; and what each stage refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from goldengrain_protocol import keyschedule, wire
from goldengrain_protocol.constants import Outcome
from goldengrain_protocol.eip712 import offer_digest, recover_signer, result_digest
from goldengrain_protocol.sealing import offer_seal_context, open_sealed, x25519_public
from goldengrain_protocol.types import Address
from tests.unit.enclave.world import CHAIN_ID, CONFIG, MARKET, WORKER, World

Ask = Callable[[wire.Request], Any]
MakeWorld = Callable[..., World]
PRICED = 2 | 10**16 << 8 | int.from_bytes(b"\x44" * 20, "big") << 96


def evaluated(ask: Ask, request: wire.JobRequest) -> tuple[wire.EvaluateReply, wire.Evidence]:
    reply = ask(request)
    assert isinstance(reply, wire.EvaluateReply), reply
    evidence = wire.decode_evidence(reply.evidence)
    assert wire.evidence_digest(evidence) == reply.result.evidence_digest
    return reply, evidence


def test_scores_an_honest_model_and_signs(ask: Ask, make_world: MakeWorld, booted: wire.BootReply) -> None:
    world = make_world()
    reply, evidence = evaluated(ask, world.job())
    result = reply.result
    assert recover_signer(result_digest(CHAIN_ID, MARKET, result), reply.signature) == booted.signer
    assert result.outcome == Outcome.SCORED
    assert result.submission_id == world.submission_id
    assert result.worker == WORKER
    assert result.anchor_number == world.chain.number
    assert 850_000 < result.bound_ppm < result.score_ppm <= 1_000_000
    assert result.score_ppm % world.step_ppm == 0 == result.bound_ppm % world.step_ppm
    assert (evidence.score_ppm, evidence.bound_ppm) == (result.score_ppm, result.bound_ppm)
    assert evidence.reason_code == 0
    assert "seccomp" in evidence.engine


def test_same_job_gives_the_same_bytes(ask: Ask, make_world: MakeWorld) -> None:
    request = make_world().job()
    assert ask(request) == ask(request)


def test_ladder_repeats_the_best_until_it_is_beaten_by_a_step(ask: Ask, make_world: MakeWorld) -> None:
    fresh = evaluated(ask, make_world().job())[0].result
    beaten = (fresh.score_ppm - 10_000, fresh.bound_ppm - 10_000)
    assert evaluated(ask, make_world(best=beaten).job())[0].result.bound_ppm == fresh.bound_ppm
    equal = (123_456, fresh.bound_ppm)
    repeated = evaluated(ask, make_world(best=equal).job())[0].result
    assert (repeated.score_ppm, repeated.bound_ppm) == equal


def test_offer_opens_for_the_buyer_and_for_nobody_else(
    ask: Ask, make_world: MakeWorld, booted: wire.BootReply
) -> None:
    world = make_world(submission_word=PRICED)
    buyer, private = Address(b"\x77" * 20), b"\x88" * 32
    reply = ask(world.offer(buyer, x25519_public(private)))
    assert isinstance(reply, wire.OfferReply), reply
    offer = reply.offer
    assert recover_signer(offer_digest(CHAIN_ID, MARKET, offer), reply.signature) == booted.signer
    pad = keyschedule.order_pad(world.secret, CHAIN_ID, MARKET, world.submission_id, buyer, offer.buyer_key)
    assert keyschedule.hashlock(pad) == offer.hashlock
    context = offer_seal_context(CHAIN_ID, MARKET, world.submission_id, buyer, offer.hashlock)
    opened = open_sealed(private, offer.sealed_pad, context)
    assert keyschedule.xor32(opened, pad) == keyschedule.content_key(world.secret)
    assert opened not in (pad, keyschedule.content_key(world.secret))


def test_omitted_test_set_is_asked_for_once(ask: Ask, make_world: MakeWorld) -> None:
    world = make_world()
    refused = ask(world.job(testset=b""))
    assert isinstance(refused, wire.ErrorReply)
    assert refused.category == "unavailable"
    first = ask(world.job())
    assert ask(world.job(testset=b"")) == first


def test_boot_again_gives_the_same_reply(ask: Ask, booted: wire.BootReply) -> None:
    assert ask(wire.BootRequest(CONFIG, b"")) == booted
