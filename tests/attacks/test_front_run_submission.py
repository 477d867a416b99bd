"""T9, T10: what is copied from the mempool or the chain under another name is worth nothing there."""

from __future__ import annotations

import dataclasses

import pytest

from goldengrain.chain.events import AttestedEvent
from goldengrain.host.jobs import JobFinder
from goldengrain.sdk.submissions import (
    SaleState,
    SubmissionView,
    get_submission,
    list_submissions,
    submit_model,
    wait_for_score,
)
from goldengrain_protocol.constants import Outcome
from goldengrain_protocol.evidence import Evidence
from goldengrain_protocol.messages import benchmark_id
from goldengrain_protocol.types import Hash32
from goldengrain_protocol.wire import ErrorReply, EvaluateReply
from tests.attacks.sales import waiting_calldata
from tests.attacks.test_forged_job import honest_job
from tests.market_stage import FEE_WEI, MarketStage, Person, good_model

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]


def test_submission_copied_from_the_mempool_is_a_failed_model_of_the_copier(
    stage: MarketStage, provider: Person
) -> None:
    benchmark = stage.benchmark(provider, title="front-run", submission_cap=2)
    developer, copier = stage.person("developer"), stage.person("copier")
    with stage.no_blocks():
        copied = _submit_unmined(stage, developer, benchmark)
        _send_first(copier, copied)
    mine, theirs = _both(stage, developer, copier, benchmark)
    assert _position(stage, theirs) < _position(stage, mine), "the copy was not first: the test shows nothing"

    # Same bytes, same ciphertext, same commitment, same sealed keys: and the enclave opens only the original.
    assert theirs.body.content_digest == mine.body.content_digest
    assert theirs.sealed_keys == mine.sealed_keys
    assert wait_for_score(developer.session, mine.submission_id, timeout_s=60).state is SaleState.FOR_SALE
    lost = wait_for_score(copier.session, theirs.submission_id, timeout_s=60)
    assert lost.state is SaleState.MODEL_FAILED
    assert _reason(stage, lost) == "the key sealed to this enclave does not open"
    assert copier.gained_wei() == developer.gained_wei() == -FEE_WEI


def test_copy_without_the_originals_payee_changes_the_submission(
    stage: MarketStage, provider: Person, benchmark: Hash32
) -> None:
    developer = stage.person("developer")
    original = stage.sell(developer, benchmark, good_model("original"))
    thief = stage.person("thief")
    # Everything of a scored submission is public; with the thief as sender it is another, unscored submission.
    body = dataclasses.replace(original.body, developer=thief.address, payee=thief.address)
    thief.send(thief.session.market.submit(body, original.terms.sale, original.sealed_keys, FEE_WEI))
    (copy,) = list_submissions(thief.session, developer=thief.address)
    assert wait_for_score(thief.session, copy.submission_id, timeout_s=60).state is SaleState.MODEL_FAILED
    assert get_submission(developer.session, original.submission_id).state is SaleState.FOR_SALE
    assert thief.gained_wei() == -FEE_WEI


def test_second_benchmark_cannot_reuse_a_public_sealed_testset_key(
    stage: MarketStage, benchmark: Hash32
) -> None:
    """A stranger names the same encrypted test set under terms that publish finer scores for a smaller fee."""
    prober = stage.person("prober")
    finder = JobFinder(stage.host.session, stage.boot, stage.book.verifier(stage.verifier).address)
    finder.scan()
    original = finder.benchmarks[benchmark]
    terms = dataclasses.replace(
        original.benchmark, owner=prober.address, fee_wei=0, step_ppm=1, submission_cap=65_535
    )
    session = prober.session
    prober.send(session.market.open_benchmark(terms, original.sealed_keys, '{"title": "probe"}'))
    probe = benchmark_id(session.chain_id, session.market_address, terms)
    with stage.silent_worker():
        view = stage.submit(prober, probe, good_model())
        # With the ciphertext, as for the first time; and without, although the enclave holds it for the original.
        control = honest_job(stage, stage.submit(stage.person("developer"), benchmark, good_model()))
        assert isinstance(stage.ask_enclave(control), EvaluateReply)
        job = honest_job(stage, view)
        reply = stage.ask_enclave(job)
        assert isinstance(reply, ErrorReply)
        assert reply.category == "verification"
        assert "does not open" in reply.message
        held = stage.ask_enclave(dataclasses.replace(job, testset=b""))
        assert isinstance(held, ErrorReply)
        assert held.category == "unavailable"
    assert get_submission(session, view.submission_id).state is SaleState.WAITING


def _submit_unmined(stage: MarketStage, developer: Person, benchmark: Hash32) -> bytes:
    """Put a submission into the mempool in another thread (the SDK waits for it); return its calldata."""
    import threading

    def submit() -> None:
        submit_model(developer.session, benchmark, good_model("front-run"))

    thread = threading.Thread(target=submit, daemon=True)
    thread.start()
    found: list[bytes] = []

    def is_waiting() -> bool:
        found[:] = [data for data in waiting_calldata(stage) if data.find(benchmark) >= 0]
        return bool(found)

    stage.await_(is_waiting, "the submission in the mempool")
    return found[0]


def _send_first(person: Person, calldata: bytes) -> None:
    client = person.client
    fields = {
        "type": 2,
        "chainId": client.chain_id,
        "nonce": 0,
        "gas": 300_000,
        "to": person.session.market_address,
        "value": FEE_WEI,
        # The payee is the copier's: fifth word after the selector (benchmark id, sale of three words, payee).
        "data": calldata[: 4 + 4 * 32 + 12] + person.address + calldata[4 + 5 * 32 :],
        "maxFeePerGas": 500 * 10**9,
        "maxPriorityFeePerGas": 200 * 10**9,
    }
    raw, tx_hash = person.account.sign_transaction(fields)
    person.unjournalled.append(tx_hash)
    client.send_raw(raw)


def _both(
    stage: MarketStage, developer: Person, copier: Person, benchmark: Hash32
) -> tuple[SubmissionView, SubmissionView]:
    stage.await_(lambda: len(list_submissions(copier.session, benchmark=benchmark)) == 2, "both submissions")
    (mine,) = list_submissions(copier.session, benchmark=benchmark, developer=developer.address)
    (theirs,) = list_submissions(copier.session, benchmark=benchmark, developer=copier.address)
    assert theirs.body.payee == copier.address
    return mine, theirs


def _position(stage: MarketStage, view: SubmissionView) -> tuple[int, int]:
    found = stage.client.raw_request("eth_getTransactionByHash", ["0x" + view.submit_tx.hex()])
    assert isinstance(found, dict)
    return int(found["blockNumber"], 16), int(found["transactionIndex"], 16)


def _reason(stage: MarketStage, view: SubmissionView) -> str:
    events = stage.host.session.market.events(AttestedEvent, from_block=0, submission_id=view.submission_id)
    (event,) = events
    assert event.outcome == Outcome.MODEL_FAILED
    return Evidence.decode(stage.host.session.blobs.get(event.evidence_digest)).reason
