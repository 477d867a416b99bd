"""Accepting results: who may sign, what they sign, which one counts, what it is worth."""

from dataclasses import replace
from typing import Any

import boa
import pytest

from goldengrain_protocol.constants import SubmissionState, TcbStatus
from goldengrain_protocol.eip712 import market_domain_separator, result_digest
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import CurvePoint
from goldengrain_protocol.pricing import price_of
from goldengrain_protocol.types import ZERO_ADDRESS, hash32, to_checksum
from tests.contracts import chain
from tests.contracts.bazaar import START_BLOCK, START_S, Bazaar, Entry, Signer, digest, raw, with_high_s
from tests.contracts.chain import Reverted


@pytest.fixture
def entry(bazaar: Bazaar) -> Entry:
    return bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms())))


def _signed_words(bazaar: Bazaar, entry: Entry, signature: bytes, **changes: Any) -> tuple[Any, ...]:
    """A SignedResult with fields the protocol's dataclass would refuse, over a signature made elsewhere."""
    words = list(bazaar.result(entry).abi_tuple(signature))
    names = ("outcome", "score_ppm", "bound_ppm", "worker", "anchor_number", "anchor_hash", "evidence_digest")
    for name, value in changes.items():
        words[names.index(name)] = value
    return tuple(words)


def _sign_words(bazaar: Bazaar, entry: Entry, **changes: Any) -> tuple[Any, ...]:
    """The same, properly signed."""
    words = _signed_words(bazaar, entry, bytes(65), **changes)
    kinds = keccak256(
        b"Result(bytes32 submissionId,uint8 outcome,uint32 scorePpm,uint32 boundPpm,address worker,"
        b"uint64 anchorNumber,bytes32 anchorHash,bytes32 evidenceDigest)"
    )
    fields = [kinds, entry.submission_id]
    for word in words[:7]:
        if isinstance(word, int):
            fields.append(word.to_bytes(32, "big"))
        elif isinstance(word, str):
            fields.append(bytes.fromhex(word[2:]).rjust(32, b"\x00"))
        else:
            fields.append(word)
    domain = market_domain_separator(bazaar.chain_id, bazaar.market_address)
    signature = bazaar.enclave.sign(keccak256(b"\x19\x01" + domain + keccak256(b"".join(fields))))
    return (*words[:7], signature[64], signature[:32], signature[32:64])


def test_a_signed_result_becomes_a_price(bazaar: Bazaar, entry: Entry) -> None:
    result = bazaar.result(entry, 800_000)
    state, price = bazaar.accept(entry, [bazaar.signed(result)])
    assert (state, price) == (SubmissionState.PRICED, price_of(entry.benchmark.curve, 800_000))
    word = bazaar.market.call("submissions", entry.submission_id)
    assert word == 2 | price << 8 | int.from_bytes(entry.body.payee, "big") << 96
    assert bazaar.record(entry.benchmark, bazaar.developer) == (0, 1, result.score_ppm, 800_000)
    assert bazaar.credit(bazaar.worker) == entry.benchmark.fee_wei
    assert bazaar.market.call("REGISTRY") == bazaar.registry.address.lower()
    assert bazaar.market.call("DOMAIN_SEPARATOR") == market_domain_separator(1, bazaar.market_address)


def test_the_events_say_who_attested_what_and_what_was_published(bazaar: Bazaar, entry: Entry) -> None:
    result = bazaar.result(entry, 800_000)
    bazaar.accept(entry, [bazaar.signed(result)])
    assert bazaar.market.events_named("Attested") == [
        {
            "submission_id": entry.submission_id,
            "enclave": to_checksum(bazaar.enclave.address).lower(),
            "worker": bazaar.worker.lower(),
            "outcome": 1,
            "score_ppm": 805_000,
            "bound_ppm": 800_000,
            "anchor_number": START_BLOCK - 1,
            "evidence_digest": result.evidence_digest,
            "fee_wei": entry.benchmark.fee_wei,
        }
    ]
    assert bazaar.market.events_named("Scored") == [
        {
            "submission_id": entry.submission_id,
            "benchmark_id": entry.body.benchmark_id,
            "state": 2,
            "score_ppm": 805_000,
            "bound_ppm": 800_000,
            "price": price_of(entry.benchmark.curve, 800_000),
        }
    ]


# Which state a result leads to


def test_a_failed_model_ends_failed_and_keeps_the_best(bazaar: Bazaar, entry: Entry) -> None:
    bazaar.accept(entry, [bazaar.signed(bazaar.result(entry, 800_000))])
    second = bazaar.submit(bazaar.entry(entry.benchmark))
    assert bazaar.accept(second, [bazaar.signed(bazaar.failure(second))]) == (SubmissionState.FAILED, 0)
    assert bazaar.record(entry.benchmark, bazaar.developer) == (0, 2, 805_000, 800_000)
    (scored,) = bazaar.market.events_named("Scored")
    assert (scored["score_ppm"], scored["bound_ppm"]) == (805_000, 800_000)
    assert bazaar.market.call("submissions", second.submission_id) == SubmissionState.FAILED


@pytest.mark.parametrize(
    ("second_bound", "state", "best"),
    [
        (810_000, SubmissionState.PRICED, 810_000),
        (809_999, SubmissionState.UNPRICED, 800_000),
        (800_000, SubmissionState.UNPRICED, 800_000),
        (0, SubmissionState.UNPRICED, 800_000),
    ],
)
def test_the_published_score_moves_only_by_a_step(
    bazaar: Bazaar, entry: Entry, second_bound: int, state: SubmissionState, best: int
) -> None:
    bazaar.accept(entry, [bazaar.signed(bazaar.result(entry, 800_000))])
    second = bazaar.submit(bazaar.entry(entry.benchmark))
    assert bazaar.accept(second, [bazaar.signed(bazaar.result(second, second_bound))])[0] == state
    assert bazaar.record(entry.benchmark, bazaar.developer)[3] == best
    assert bazaar.market.events_named("Scored")[0]["bound_ppm"] == best


def test_below_the_curve_is_unpriced_but_counts_as_best(bazaar: Bazaar, entry: Entry) -> None:
    assert bazaar.accept(entry, [bazaar.signed(bazaar.result(entry, 499_999))]) == (
        SubmissionState.UNPRICED,
        0,
    )
    assert bazaar.record(entry.benchmark, bazaar.developer)[3] == 499_999
    assert bazaar.market.call("submissions", entry.submission_id) == SubmissionState.UNPRICED


def test_a_first_bound_below_one_step_is_no_improvement_on_nothing(bazaar: Bazaar) -> None:
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(curve=(CurvePoint(0, 10),)))))
    assert bazaar.accept(entry, [bazaar.signed(bazaar.result(entry, 9_999))]) == (SubmissionState.UNPRICED, 0)


@pytest.mark.parametrize(("above", "state"), [(0, SubmissionState.PRICED), (1, SubmissionState.UNPRICED)])
def test_the_reserve_is_the_least_price(bazaar: Bazaar, above: int, state: SubmissionState) -> None:
    terms = bazaar.open(bazaar.terms())
    price = price_of(terms.curve, 800_000)
    entry = bazaar.submit(bazaar.entry(terms, reserve=price + above))
    assert bazaar.accept(entry, [bazaar.signed(bazaar.result(entry, 800_000))])[0] == state
    assert bazaar.record(terms, bazaar.developer)[3] == 800_000


def test_the_largest_price_fits_into_its_word(bazaar: Bazaar) -> None:
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(curve=(CurvePoint(1, 2**88 - 1),)))))
    assert bazaar.accept(entry, [bazaar.signed(bazaar.result(entry, 10**6))])[1] == 2**88 - 1
    assert bazaar.price(entry) == 2**88 - 1


# What is refused


def test_a_result_is_used_once(bazaar: Bazaar, entry: Entry) -> None:
    signed = bazaar.signed(bazaar.result(entry))
    bazaar.accept(entry, [signed])
    with pytest.raises(Reverted, match="market: submission not open"):
        bazaar.accept(entry, [signed])


def test_a_result_for_another_submission_recovers_to_a_stranger(bazaar: Bazaar, entry: Entry) -> None:
    other = bazaar.submit(bazaar.entry(entry.benchmark, bazaar.other_developer))
    with pytest.raises(Reverted, match="market: enclave not registered"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(other))])


def test_a_result_for_another_chain_or_market_recovers_to_a_stranger(bazaar: Bazaar, entry: Entry) -> None:
    result = bazaar.result(entry)
    for chain_id, market in ((2, bazaar.market_address), (1, raw(bazaar.registry.address))):
        signature = bazaar.enclave.sign(result_digest(chain_id, market, result))
        with pytest.raises(Reverted, match="market: enclave not registered"):
            bazaar.accept(entry, [result.abi_tuple(signature)])


@pytest.mark.parametrize("name", ["worker", "score_ppm", "bound_ppm", "evidence_digest", "outcome"])
def test_nobody_changes_a_field_of_a_signed_result(bazaar: Bazaar, entry: Entry, name: str) -> None:
    """Among them the worker: a result seen in the mempool pays the one who made it."""
    signed = list(bazaar.signed(bazaar.failure(entry)))
    index, value = {
        "worker": (3, bazaar.stranger),
        "score_ppm": (1, 0),
        "bound_ppm": (2, 0),
        "evidence_digest": (6, digest("other evidence")),
        "outcome": (0, 1),
    }[name]
    if name in ("score_ppm", "bound_ppm"):
        signed = list(bazaar.signed(bazaar.result(entry)))
    signed[index] = value
    with pytest.raises(Reverted, match="market: enclave not registered"):
        bazaar.accept(entry, [tuple(signed)])
    assert bazaar.credit(bazaar.stranger) == 0


def test_refuses_a_benchmark_other_than_the_submissions(bazaar: Bazaar, entry: Entry) -> None:
    cheaper = bazaar.open(bazaar.terms(curve=(CurvePoint(0, 1),)))
    with pytest.raises(Reverted, match="market: wrong benchmark"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))], benchmark=cheaper)


def test_refuses_another_body_than_was_submitted(bazaar: Bazaar, entry: Entry) -> None:
    forged = replace(entry, body=replace(entry.body, payee=raw(bazaar.stranger)))
    with pytest.raises(Reverted, match="market: submission not open"):
        bazaar.accept(forged, [bazaar.signed(bazaar.result(entry))])


@pytest.mark.parametrize("bad", ["high s", "v 26", "v 29", "v 2**255", "zero r", "zero s", "zeros"])
def test_refuses_malleable_and_broken_signatures(bazaar: Bazaar, entry: Entry, bad: str) -> None:
    result = bazaar.result(entry)
    signature = bazaar.enclave.sign(result_digest(bazaar.chain_id, bazaar.market_address, result))
    words = list(result.abi_tuple(signature))
    if bad == "high s":
        words = list(result.abi_tuple(with_high_s(signature)))
    elif bad.startswith("v"):
        words[7] = {"v 26": 26, "v 29": 29, "v 2**255": 2**255 + 27}[bad]
    else:
        words[8:10] = {
            "zero r": [bytes(32), words[9]],
            "zero s": [words[8], bytes(32)],
            "zeros": [bytes(32), bytes(32)],
        }[bad]
    with pytest.raises(Reverted, match="market: bad signature"):
        bazaar.accept(entry, [tuple(words)])
    bazaar.accept(entry, [result.abi_tuple(signature)])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outcome": 0}, "bad outcome"),
        ({"outcome": 3}, "bad outcome"),
        ({"outcome": 2**256 - 1}, "bad outcome"),
        ({"score_ppm": 1_000_001}, "bad score"),
        ({"bound_ppm": 1_000_001}, "bad score"),
        ({"bound_ppm": 2**256 - 1}, "bad score"),
        ({"outcome": 2, "score_ppm": 1, "bound_ppm": 0}, "failed model with a score"),
        ({"outcome": 2, "score_ppm": 0, "bound_ppm": 1}, "failed model with a score"),
        ({"worker": to_checksum(ZERO_ADDRESS)}, "no worker"),
    ],
)
def test_refuses_malformed_results_even_if_signed(
    bazaar: Bazaar, entry: Entry, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Reverted, match=f"market: {reason}"):
        bazaar.accept(entry, [_sign_words(bazaar, entry, **changes)])


@pytest.mark.parametrize("age", [1, 2, 256, 257, 5_000, 8_191])
def test_accepts_every_anchor_that_the_chain_remembers(bazaar: Bazaar, entry: Entry, age: int) -> None:
    result = bazaar.result(entry, anchor_number=START_BLOCK - age)
    bazaar.accept(entry, [bazaar.signed(result)])


@pytest.mark.parametrize("number", [START_BLOCK, START_BLOCK + 1, START_BLOCK - 8_192, 0, 2**64 - 1])
def test_refuses_current_future_and_forgotten_anchors(bazaar: Bazaar, entry: Entry, number: int) -> None:
    result = bazaar.result(entry, anchor_number=number)
    with pytest.raises(Reverted, match="market: unknown anchor"):
        bazaar.accept(entry, [bazaar.signed(result)])


@pytest.mark.parametrize("age", [1, 256, 257, 8_191])
def test_refuses_an_anchor_from_a_fork_or_zero(bazaar: Bazaar, entry: Entry, age: int) -> None:
    for wrong in (digest("fork"), hash32(bytes(32)), hash32(chain.block_hash(START_BLOCK - age - 1))):
        result = bazaar.result(entry, anchor_number=START_BLOCK - age, anchor_hash=wrong)
        with pytest.raises(Reverted, match="market: unknown anchor"):
            bazaar.accept(entry, [bazaar.signed(result)])


def test_a_block_the_history_never_saw_is_no_anchor(bazaar: Bazaar, entry: Entry) -> None:
    """On a chain younger than its history contract the slot holds zero, and zero is nobody's hash."""
    boa.env.set_storage(chain.HISTORY_ADDRESS, (START_BLOCK - 300) % chain.HISTORY_WINDOW, 0)
    result = bazaar.result(entry, anchor_number=START_BLOCK - 300, anchor_hash=hash32(bytes(32)))
    with pytest.raises(Reverted, match="market: unknown anchor"):
        bazaar.accept(entry, [bazaar.signed(result)])
    boa.env.set_code(chain.HISTORY_ADDRESS, b"")
    with pytest.raises(Reverted, match="market: unknown anchor"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry, anchor_number=START_BLOCK - 300))])


def test_the_deadline_second_itself_is_in_time(bazaar: Bazaar, entry: Entry) -> None:
    chain.set_time(START_S + entry.benchmark.result_window_s)
    bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))])


# Which enclaves count


def test_refuses_enclaves_of_another_kind(bazaar: Bazaar, entry: Entry) -> None:
    for label, kind in (("a", {"config": "other"}), ("b", {"measurement": "other"})):
        signer = bazaar.register(label, **kind)
        with pytest.raises(Reverted, match="market: enclave not registered"):
            bazaar.accept(entry, [bazaar.signed(bazaar.result(entry), signer)])
    with pytest.raises(Reverted, match="market: enclave not registered"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry), Signer.named("nobody"))])


def test_refuses_an_enclave_another_verifier_vouched_for(bazaar: Bazaar) -> None:
    other_verifier = chain.deploy(chain.SOURCES / "StubVerifier.vy")
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(verifier=raw(other_verifier.address)))))
    with pytest.raises(Reverted, match="market: enclave not registered"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))])


def test_refuses_an_expired_enclave(bazaar: Bazaar, entry: Entry) -> None:
    signer = bazaar.register("short-lived", expiry=START_S + 100)
    chain.set_time(START_S + 101)
    with pytest.raises(Reverted, match="market: enclave expired"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry), signer)])
    chain.set_time(START_S + 100)
    bazaar.accept(entry, [bazaar.signed(bazaar.result(entry), signer)])


def test_refuses_an_invalidated_enclave(bazaar: Bazaar, entry: Entry) -> None:
    platform = digest("platform of enclave")
    bazaar.verifier.call("set_revoked", platform, True)
    bazaar.registry.call(
        "invalidate",
        bazaar.verifier.address,
        to_checksum(bazaar.enclave.address),
        digest("measurement"),
        digest("config"),
        platform,
        b"",
    )
    with pytest.raises(Reverted, match="market: enclave not registered"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))])


@pytest.mark.parametrize("status", list(TcbStatus))
def test_only_the_allowed_tcb_statuses_count(bazaar: Bazaar, status: TcbStatus) -> None:
    signer = bazaar.register("platform of some status", tcb_status=status)
    allowing = (1 << status) & 0b111111
    others = 0b111111 & ~allowing
    refusing = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(tcb_allowed=others))))
    with pytest.raises(Reverted, match="market: tcb status not allowed"):
        bazaar.accept(refusing, [bazaar.signed(bazaar.result(refusing), signer)])
    if allowing:
        accepting = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(tcb_allowed=allowing))))
        bazaar.accept(accepting, [bazaar.signed(bazaar.result(accepting), signer)])


def test_a_simulated_enclave_never_serves_a_benchmark_that_asks_for_hardware(bazaar: Bazaar) -> None:
    simulated = bazaar.register("simulated", assurance=1)
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(assurance=2))))
    with pytest.raises(Reverted, match="market: assurance too low"):
        bazaar.accept(entry, [bazaar.signed(bazaar.result(entry), simulated)])
    bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))])


# Quorums


def _quorum(bazaar: Bazaar, size: int, platform: str | None = None) -> list[Signer]:
    signers = [bazaar.register(f"member {i}", platform=platform) for i in range(size)]
    return sorted(signers, key=lambda signer: signer.address)


@pytest.mark.parametrize(
    "bounds", [(700, 800, 600), (900, 900, 100), (1, 2, 3), (800, None, 700), (None, None, 9)]
)
def test_the_median_of_three_counts(bazaar: Bazaar, bounds: tuple[int | None, ...]) -> None:
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(quorum=3, step_ppm=1))))
    results = [
        bazaar.failure(entry) if bound is None else bazaar.result(entry, bound * 1000) for bound in bounds
    ]
    signed = [bazaar.signed(r, s) for r, s in zip(results, _quorum(bazaar, 3), strict=True)]
    median = sorted(-1 if bound is None else bound * 1000 for bound in bounds)[1]
    state, price = bazaar.accept(entry, signed)
    assert price == (price_of(entry.benchmark.curve, median) if median >= 0 else 0)
    assert (state == SubmissionState.FAILED) == (median < 0)
    assert len(bazaar.market.events_named("Attested")) == 3


def test_two_liars_of_five_do_not_move_the_price_outside_the_honest_scores(bazaar: Bazaar) -> None:
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(quorum=5))))
    bounds = (10**6, 700_000, 10**6, 710_000, 705_000)
    signed = [
        bazaar.signed(bazaar.result(entry, b), s) for b, s in zip(bounds, _quorum(bazaar, 5), strict=True)
    ]
    assert bazaar.accept(entry, signed)[1] == price_of(entry.benchmark.curve, 710_000)


def test_the_fee_is_shared_and_the_remainder_is_the_firsts(bazaar: Bazaar) -> None:
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(quorum=3, fee_wei=1_001))))
    workers = [bazaar.worker, bazaar.other_worker, bazaar.worker]
    signed = [
        bazaar.signed(bazaar.result(entry, worker=raw(w)), s)
        for w, s in zip(workers, _quorum(bazaar, 3), strict=True)
    ]
    bazaar.accept(entry, signed)
    assert (bazaar.credit(bazaar.worker), bazaar.credit(bazaar.other_worker)) == (335 + 333, 333)
    assert [event["fee_wei"] for event in bazaar.market.events_named("Attested")] == [335, 333, 333]


def test_a_quorum_needs_its_number_of_distinct_ascending_signers(bazaar: Bazaar) -> None:
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(quorum=3))))
    one, two, three = (bazaar.signed(bazaar.result(entry), s) for s in _quorum(bazaar, 3))
    for wrong_number in ([], [one], [one, two]):
        with pytest.raises(Reverted, match="market: wrong number of results"):
            bazaar.accept(entry, wrong_number)
    for wrong_order in ([one, one, two], [two, one, three], [one, three, two]):
        with pytest.raises(Reverted, match="market: signers not ascending"):
            bazaar.accept(entry, wrong_order)
    bazaar.accept(entry, [one, two, three])


def test_one_platform_cannot_fill_a_quorum(bazaar: Bazaar) -> None:
    """A stolen attestation key can register any number of signers, but they share their platform."""
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(quorum=3))))
    signed = [bazaar.signed(bazaar.result(entry), s) for s in _quorum(bazaar, 3, platform="the same")]
    with pytest.raises(Reverted, match="market: platform counted twice"):
        bazaar.accept(entry, signed)


def test_one_bad_member_spoils_the_whole_quorum(bazaar: Bazaar) -> None:
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(quorum=3))))
    signers = _quorum(bazaar, 2)
    members = sorted([*signers, Signer.named("nobody")], key=lambda signer: signer.address)
    signed = [bazaar.signed(bazaar.result(entry), member) for member in members]
    with pytest.raises(Reverted, match="market: enclave not registered"):
        bazaar.accept(entry, signed)
    assert bazaar.credit(bazaar.worker) == 0


def test_a_free_benchmark_credits_nobody(bazaar: Bazaar) -> None:
    entry = bazaar.submit(bazaar.entry(bazaar.open(bazaar.terms(fee_wei=0))))
    bazaar.accept(entry, [bazaar.signed(bazaar.result(entry))])
    assert bazaar.credit(bazaar.worker) == 0
    assert bazaar.market.events_named("Attested")[0]["fee_wei"] == 0
