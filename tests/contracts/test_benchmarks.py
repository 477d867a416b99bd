"""Opening and closing benchmarks: terms that can never change, checked once."""

from dataclasses import replace
from typing import Any

import build_artifacts
import pytest

from goldengrain_protocol.messages import CurvePoint, Sale
from goldengrain_protocol.types import ZERO_ADDRESS
from tests.contracts import chain
from tests.contracts.bazaar import START_S, Bazaar, digest, raw
from tests.contracts.chain import Reverted


def test_opens_under_the_id_the_protocol_computes(bazaar: Bazaar) -> None:
    terms = bazaar.terms(sale=bazaar.sale(bazaar.token, royalty_bps=250))
    returned = bazaar.market.call(
        "open_benchmark", terms.abi_tuple(), b"sealed", "title", sender=bazaar.owner
    )
    assert returned == bazaar.benchmark_id(terms)
    (event,) = bazaar.market.events_named("BenchmarkOpened")
    assert event["benchmark_id"] == returned
    assert event["owner"].lower() == bazaar.owner.lower()
    assert type(terms).from_abi(event["benchmark"]) == terms
    assert (event["sealed_keys"], event["metadata"]) == (b"sealed", "title")


def test_packs_what_submissions_need_into_one_word(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms(fee_wei=2**96 - 1, submission_cap=2**16 - 1))
    word = bazaar.market.call("benchmarks", bazaar.benchmark_id(terms))
    close, window = terms.submissions_close, terms.result_window_s
    assert word == 1 | terms.submission_cap << 8 | close << 24 | window << 64 | terms.fee_wei << 96


def test_one_owner_cannot_open_the_same_terms_twice(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    with pytest.raises(Reverted, match="market: benchmark exists"):
        bazaar.open(terms)
    bazaar.open(replace(terms, spec_digest=digest("another")))


def test_nobody_opens_in_anothers_name(bazaar: Bazaar) -> None:
    with pytest.raises(Reverted, match="market: not the owner"):
        bazaar.open(bazaar.terms(), sender=bazaar.stranger)


POINT = CurvePoint(500_000, 10)

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sale": Sale(ZERO_ADDRESS, raw("0x" + "11" * 20), 10_001)}, "royalty above the price"),
    ({"sale": Sale(ZERO_ADDRESS, ZERO_ADDRESS, 1)}, "royalty for nobody"),
    ({"assurance": 0}, "bad assurance"),
    ({"assurance": 3}, "bad assurance"),
    ({"tcb_allowed": 0}, "bad tcb statuses"),
    ({"tcb_allowed": 1 | 1 << 6}, "bad tcb statuses"),
    ({"tcb_allowed": 2**255}, "bad tcb statuses"),
    ({"quorum": 0}, "bad quorum"),
    ({"quorum": 2}, "bad quorum"),
    ({"quorum": 7}, "bad quorum"),
    ({"fee_wei": 2**96}, "fee too high"),
    ({"submission_cap": 0}, "bad submission cap"),
    ({"submission_cap": 2**16}, "bad submission cap"),
    ({"step_ppm": 0}, "bad step"),
    ({"step_ppm": 1_000_001}, "bad step"),
    ({"submissions_close": START_S - 1}, "bad closing time"),
    ({"submissions_close": 2**40 - 1}, "bad closing time"),
    ({"submissions_close": 2**256 - 1}, "bad closing time"),
    ({"result_window_s": 0}, "bad result window"),
    ({"result_window_s": 30 * 86_400 + 1}, "bad result window"),
    ({"curve": ()}, "bad price curve"),
    ({"curve": (CurvePoint(0, 0), POINT)}, "bad price curve"),
    ({"curve": (POINT, POINT)}, "bad price curve"),
    ({"curve": (POINT, CurvePoint(400_000, 20))}, "bad price curve"),
    ({"curve": (POINT, CurvePoint(600_000, 9))}, "bad price curve"),
    ({"curve": (CurvePoint(1_000_001, 10),)}, "bad price curve"),
    ({"curve": (POINT, CurvePoint(600_000, 2**88))}, "bad price curve"),
]


@pytest.mark.parametrize(("change", "reason"), REFUSED)
def test_refuses_terms_outside_their_range(bazaar: Bazaar, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Reverted, match=f"market: {reason}"):
        bazaar.open(bazaar.terms(**change))


@pytest.mark.parametrize(
    "change",
    [
        {"quorum": 5, "tcb_allowed": 0b111111, "assurance": 2, "step_ppm": 1_000_000},
        {"submissions_close": START_S, "result_window_s": 30 * 86_400, "fee_wei": 0, "submission_cap": 1},
        {"submissions_close": 2**40 - 1 - 30 * 86_400},
        {"curve": (CurvePoint(0, 2**88 - 1),)},
        {"curve": tuple(CurvePoint(i * 142_857, 5) for i in range(8))},
        {"sale": Sale(ZERO_ADDRESS, raw("0x" + "11" * 20), 10_000)},
    ],
)
def test_accepts_terms_at_the_edge_of_their_range(bazaar: Bazaar, change: dict[str, Any]) -> None:
    bazaar.open(bazaar.terms(**change))


def test_closing_ends_submissions_for_good(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    with pytest.raises(Reverted, match="market: not the owner"):
        bazaar.market.call("close_benchmark", terms.abi_tuple(), sender=bazaar.stranger)
    bazaar.submit(bazaar.entry(terms))
    bazaar.market.call("close_benchmark", terms.abi_tuple(), sender=bazaar.owner)
    assert bazaar.market.events_named("BenchmarkClosed") == [{"benchmark_id": bazaar.benchmark_id(terms)}]
    with pytest.raises(Reverted, match="market: benchmark not open"):
        bazaar.submit(bazaar.entry(terms, bazaar.other_developer))
    with pytest.raises(Reverted, match="market: benchmark not open"):
        bazaar.market.call("close_benchmark", terms.abi_tuple(), sender=bazaar.owner)
    with pytest.raises(Reverted, match="market: benchmark exists"):
        bazaar.open(terms)


def test_what_was_submitted_before_closing_is_still_scored_and_sold(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.submit(bazaar.entry(terms))
    bazaar.market.call("close_benchmark", terms.abi_tuple(), sender=bazaar.owner)
    bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))])
    (order,) = bazaar.order([entry])
    bazaar.claim(order)
    assert bazaar.locked(order) == 0


def test_a_benchmark_that_was_never_opened_cannot_be_closed(bazaar: Bazaar) -> None:
    with pytest.raises(Reverted, match="market: benchmark not open"):
        bazaar.market.call("close_benchmark", bazaar.terms().abi_tuple(), sender=bazaar.owner)


def test_a_market_needs_a_registry_with_code(generator: str) -> None:
    with pytest.raises(Reverted, match="market: registry has no code"):
        chain.deploy(build_artifacts.CONTRACTS / "Market.vy", "0x" + "11" * 20, generator=generator)
