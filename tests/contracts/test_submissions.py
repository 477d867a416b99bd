"""Submitting a model: a commitment that contains its sender, paid for, one at a time."""

from dataclasses import replace

import pytest

from goldengrain_protocol import messages
from goldengrain_protocol.constants import SubmissionState
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import ZERO_ADDRESS
from tests.contracts import chain
from tests.contracts.bazaar import DAY_S, START_S, Bazaar, digest, raw
from tests.contracts.chain import Reverted


def test_submits_under_the_id_the_protocol_computes(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms(sale=bazaar.sale(bazaar.token, royalty_bps=30)))
    entry = bazaar.entry(terms, payee=raw(bazaar.stranger), reserve=77)
    returned = bazaar.market.call(
        "submit",
        entry.body.benchmark_id,
        terms.sale.abi_tuple(),
        bazaar.stranger,
        entry.body.content_digest,
        entry.body.secret_commitment,
        77,
        entry.sealed_keys,
        sender=bazaar.developer,
        value=terms.fee_wei,
    )
    assert returned == entry.submission_id
    (event,) = bazaar.market.events_named("Submitted")
    assert event == {
        "submission_id": entry.submission_id,
        "benchmark_id": entry.body.benchmark_id,
        "developer": bazaar.developer.lower(),
        "payee": bazaar.stranger.lower(),
        "content_digest": entry.body.content_digest,
        "secret_commitment": entry.body.secret_commitment,
        "reserve": 77,
        "sealed_keys": entry.sealed_keys,
    }
    assert entry.body.sealed_digest == keccak256(event["sealed_keys"])
    word = bazaar.market.call("submissions", entry.submission_id)
    assert word == 1 | (START_S + terms.result_window_s) << 8 | terms.fee_wei << 48
    assert bazaar.record(terms, bazaar.developer) == (1, 1, 0, 0)
    assert chain.balance_of(bazaar.market.address) == terms.fee_wei


def test_takes_exactly_the_fee(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    for wrong in (0, terms.fee_wei - 1, terms.fee_wei + 1):
        with pytest.raises(Reverted, match="market: wrong fee"):
            bazaar.submit(bazaar.entry(terms), value=wrong)
    free = bazaar.open(bazaar.terms(fee_wei=0))
    with pytest.raises(Reverted, match="market: wrong fee"):
        bazaar.submit(bazaar.entry(free), value=1)
    bazaar.submit(bazaar.entry(free))


def test_a_copied_commitment_belongs_to_whoever_sends_it(bazaar: Bazaar) -> None:
    """Front-running: the copy gets an id of its own and does not stand in the original's way."""
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.entry(terms)
    bazaar.submit(entry, sender=bazaar.stranger)
    stolen = replace(entry.body, developer=raw(bazaar.stranger))
    stolen_id = messages.submission_id(
        terms.sale, messages.body_hash(bazaar.chain_id, bazaar.market_address, stolen)
    )
    assert bazaar.market.call("submissions", stolen_id) & 0xFF == SubmissionState.OPEN
    assert bazaar.state(entry) == SubmissionState.ABSENT
    bazaar.submit(entry)
    assert bazaar.state(entry) == SubmissionState.OPEN


def test_one_open_submission_at_a_time(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    first = bazaar.submit(bazaar.entry(terms))
    with pytest.raises(Reverted, match="market: another submission is open"):
        bazaar.submit(bazaar.entry(terms))
    bazaar.submit(bazaar.entry(terms, bazaar.other_developer))
    bazaar.accept(first, [bazaar.signed(bazaar.result(first))])
    bazaar.submit(bazaar.entry(terms))


def test_the_cap_counts_every_submission_whatever_became_of_it(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms(submission_cap=3))
    scored = bazaar.submit(bazaar.entry(terms))
    bazaar.accept(scored, [bazaar.signed(bazaar.result(scored))])
    failed = bazaar.submit(bazaar.entry(terms))
    bazaar.accept(failed, [bazaar.signed(bazaar.failure(failed))])
    late = bazaar.submit(bazaar.entry(terms))
    chain.set_time(START_S + 2 * DAY_S)
    bazaar.reclaim_fee(late)
    assert bazaar.record(terms, bazaar.developer)[:2] == (0, 3)
    with pytest.raises(Reverted, match="market: submission cap reached"):
        bazaar.submit(bazaar.entry(terms))


def test_the_same_body_is_never_submitted_twice(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.submit(bazaar.entry(terms))
    bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))])
    with pytest.raises(Reverted, match="market: submission exists"):
        bazaar.submit(entry)


def test_submissions_end_with_their_closing_second(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms(submissions_close=START_S + 100))
    chain.set_time(START_S + 100)
    bazaar.submit(bazaar.entry(terms))
    chain.set_time(START_S + 101)
    with pytest.raises(Reverted, match="market: submissions closed"):
        bazaar.submit(bazaar.entry(terms, bazaar.other_developer))


def test_refuses_unknown_benchmark_payee_zero_and_absurd_reserve(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    with pytest.raises(Reverted, match="market: benchmark not open"):
        bazaar.submit(bazaar.entry(terms, benchmark_id=digest("unknown")))
    with pytest.raises(Reverted, match="market: no payee"):
        bazaar.submit(bazaar.entry(terms, payee=ZERO_ADDRESS))
    with pytest.raises(Reverted, match="market: reserve too high"):
        bazaar.submit(bazaar.entry(terms, reserve=2**88))
    bazaar.submit(bazaar.entry(terms, reserve=2**88 - 1))


def test_a_submission_under_another_sale_only_costs_its_developer_time(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    wrong_sale = bazaar.sale(bazaar.token)
    entry = bazaar.submit(bazaar.entry(terms), sale=wrong_sale)
    with pytest.raises(Reverted, match="market: submission not open"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))])
    chain.set_time(START_S + DAY_S + 1)
    before = chain.balance_of(bazaar.developer)
    bazaar.reclaim_fee(entry, sale=wrong_sale)
    assert chain.balance_of(bazaar.developer) - before == terms.fee_wei


def test_a_fee_without_result_comes_back_after_the_deadline_and_only_once(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.submit(bazaar.entry(terms))
    chain.set_time(START_S + terms.result_window_s)
    with pytest.raises(Reverted, match="market: result not late"):
        bazaar.reclaim_fee(entry)
    chain.set_time(START_S + terms.result_window_s + 1)
    with pytest.raises(Reverted, match="market: result too late"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))])
    before = chain.balance_of(bazaar.developer)
    bazaar.reclaim_fee(entry)
    assert bazaar.market.events_named("FeeReclaimed") == [{"submission_id": entry.submission_id}]
    assert chain.balance_of(bazaar.developer) - before == terms.fee_wei
    assert chain.balance_of(bazaar.market.address) == 0
    assert bazaar.state(entry) == SubmissionState.RECLAIMED
    assert bazaar.record(terms, bazaar.developer) == (0, 1, 0, 0)
    with pytest.raises(Reverted, match="market: submission not open"):
        bazaar.reclaim_fee(entry)
    bazaar.submit(bazaar.entry(terms))


def test_a_fee_that_bought_a_result_does_not_come_back(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.submit(bazaar.entry(terms))
    bazaar.accept(entry, [bazaar.signed(bazaar.failure(entry))])
    chain.set_time(START_S + 2 * DAY_S)
    with pytest.raises(Reverted, match="market: submission not open"):
        bazaar.reclaim_fee(entry)


def test_reclaiming_keeps_the_developers_best(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    bazaar.priced(terms, bound_ppm=700_000)
    late = bazaar.submit(bazaar.entry(terms))
    chain.set_time(START_S + 2 * DAY_S)
    bazaar.reclaim_fee(late)
    assert bazaar.record(terms, bazaar.developer) == (0, 2, 705_000, 700_000)


def test_ids_of_two_markets_differ(bazaar: Bazaar) -> None:
    """The market's address is inside every id, so nothing said about one market holds in another."""
    terms = bazaar.terms()
    entry = bazaar.entry(terms)
    elsewhere = raw(bazaar.stranger)
    assert messages.benchmark_id(bazaar.chain_id, elsewhere, terms) != entry.body.benchmark_id
    assert messages.body_hash(bazaar.chain_id, elsewhere, entry.body) != entry.body_hash
    assert messages.body_hash(bazaar.chain_id + 1, bazaar.market_address, entry.body) != entry.body_hash
