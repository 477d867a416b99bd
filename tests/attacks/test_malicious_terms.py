"""T15: benchmarks that name foreign code, verifier or configuration, and enclaves that are not (any more) good.

Developers' and buyers' clients refuse them before anything is sealed or paid; the contract refuses their results.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from goldengrain.chain.contracts import AuditorQuorum
from goldengrain.chain.events import RegisteredEvent
from goldengrain.chain.reverts import RevertError
from goldengrain.host.registration import RegistrationRequest, endorse, make_request, platform_root, register
from goldengrain.sdk.benchmarks import BenchmarkOffer, open_benchmark, parse_curve
from goldengrain.sdk.claims import claim_open_orders
from goldengrain.sdk.orders import decrypt_purchase, place_order
from goldengrain.sdk.submissions import submit_model
from goldengrain.sdk.trust import usable_enclaves
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.messages import Benchmark, benchmark_id
from goldengrain_protocol.types import Address, Hash32
from goldengrain_protocol.wire import EvaluateReply
from tests.attacks.sales import Goods, await_open_order, goods_of
from tests.attacks.test_forged_job import honest_job
from tests.market_stage import (
    CURVE,
    SPEC,
    START_WEI,
    MarketStage,
    Person,
    digits,
    good_model,
    market_stage,
    new_account,
    with_terms,
)

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]


AUDITORS = "auditors"
"""The verifier whose auditors this module plays."""


def _terms_of(stage: MarketStage, benchmark: Hash32) -> Benchmark:
    from goldengrain.sdk.benchmarks import get_benchmark

    return get_benchmark(stage.host.session, benchmark).terms


MALICE: dict[str, tuple[dict[str, Any], str]] = {
    "code that leaks": ({"measurement": Hash32(b"\xee" * 32)}, "trusts enclave code 0xeeee"),
    "a verifier that says yes": ({"verifier": Address(b"\xdd" * 20)}, "trusts verifier 0x"),
    "a configuration for another chain": (
        {"config_digest": Hash32(b"\xcc" * 32)},
        "fixes enclave configuration",
    ),
    "assurance that nobody gives": ({"assurance": 2}, "asks for assurance 2"),
}


@pytest.mark.parametrize("malice", MALICE)
def test_developer_seals_nothing_for_terms_that_the_address_book_does_not_know(
    stage: MarketStage, benchmark: Hash32, malice: str
) -> None:
    changes, message = MALICE[malice]
    attacker, developer = stage.person("attacker"), stage.person("developer")
    terms = dataclasses.replace(_terms_of(stage, benchmark), owner=attacker.address, **changes)
    session = attacker.session
    attacker.send(session.market.open_benchmark(terms, b"\x01", ""))
    trap = benchmark_id(session.chain_id, session.market_address, terms)
    blobs = {path.name for path in (stage.root / "blobs").iterdir()}
    with pytest.raises(VerificationError, match=message) as caught:
        submit_model(developer.session, trap, good_model())
    assert caught.value.next_step
    assert developer.wei() == START_WEI
    assert {path.name for path in (stage.root / "blobs").iterdir()} == blobs, "something was uploaded"


def test_buyer_pays_nothing_for_terms_that_the_own_address_book_does_not_know(
    stage: MarketStage, benchmark: Hash32
) -> None:
    goods = goods_of(stage, benchmark)
    buyer = stage.person("buyer")
    foreign = stage.elsewhere(buyer, with_terms(stage.book, trusted_measurements=(Hash32(b"\x01" * 32),)))
    with pytest.raises(VerificationError, match="trusts enclave code") as caught:
        place_order(foreign.session, goods.submission_id)
    assert "gg enclave measure" in caught.value.next_step
    assert buyer.wei() == START_WEI
    place_order(buyer.session, goods.submission_id)
    assert buyer.gained_wei() == -goods.price


def test_auditors_sign_for_no_code_and_no_keys_but_those_of_the_quote(stage: MarketStage) -> None:
    session, auditor = stage.host.session, stage.auditors[0]
    entry = stage.book.verifier(AUDITORS)
    collateral = (session.home.simulated_platform_dir / "collateral_sgx.json").read_bytes()
    honest = make_request(session, stage.boot, entry, collateral)
    root = platform_root(session, entry)

    def sign(request: RegistrationRequest, root_der: bytes | None = root) -> None:
        endorse(session, request, auditor, root_der=root_der, now_unix_s=int(time.time()))

    sign(honest)
    host_key = new_account("the host's own key").address
    forged = (
        dataclasses.replace(honest, signer=host_key),
        dataclasses.replace(honest, sealing_key=secrets.token_bytes(32)),
        dataclasses.replace(honest, measurement=Hash32(b"\x02" * 32)),
        dataclasses.replace(honest, config_digest=Hash32(b"\x03" * 32)),
        dataclasses.replace(
            honest, quote=honest.quote[:200] + bytes([honest.quote[200] ^ 1]) + honest.quote[201:]
        ),
        dataclasses.replace(honest, expires_at_unix_s=int(time.time()) - 1),
    )
    for request in forged:
        with pytest.raises((VerificationError, InvalidInput)):
            sign(request)
    with pytest.raises((VerificationError, InvalidInput)):
        sign(honest, None)  # a simulated quote under Intel's root


def test_registration_needs_the_threshold_of_this_verifiers_auditors(stage: MarketStage) -> None:
    session, entry = stage.host.session, stage.book.verifier(AUDITORS)
    collateral = (session.home.simulated_platform_dir / "collateral_sgx.json").read_bytes()
    request = make_request(session, stage.boot, entry, collateral)
    root = platform_root(session, entry)
    now = int(time.time())
    ours = [endorse(session, request, each, root_der=root, now_unix_s=now) for each in stage.auditors[:2]]
    stranger = endorse(session, request, new_account("nobody"), root_der=root, now_unix_s=now)
    with pytest.raises(InvalidInput, match=r"1 endorsement\(s\), 2 needed"):
        register(session, request, ours[:1])
    with pytest.raises(InvalidInput, match=r"1 endorsement\(s\), 2 needed"):
        register(session, request, [ours[0], ours[0]])
    with pytest.raises(VerificationError, match="not an auditor"):
        register(session, request, [ours[0], stranger])
    # Past the client, the contract says the same.
    quorum = AuditorQuorum(session.client, entry.address)
    for signatures in ([ours[0].signature], [ours[0].signature, stranger.signature]):
        evidence = quorum.encode_evidence(ours[0].statement, signatures)
        call = session.registry.register(
            entry.address, request.quote, evidence, request.signer, request.sealing_key, request.config_digest
        )
        with pytest.raises(RevertError, match="verifier: "):
            stage.host.send(call)


# --- enclaves that were good once -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fallen:
    """A market of its own whose only enclave is not good any more, with a sale at every stage."""

    stage: MarketStage
    provider: Person
    benchmark: Hash32
    developer: Person
    waiting: Any
    result: EvaluateReply
    goods: Goods
    buyer: Person
    purchase: Any
    why: str


def _invalidate(stage: MarketStage) -> None:
    session, entry = stage.host.session, stage.book.verifier(AUDITORS)
    (event,) = session.registry.events(RegisteredEvent, from_block=0)
    quorum = AuditorQuorum(session.client, entry.address)
    signatures = [quorum.sign_platform_revoked(each, event.platform) for each in stage.auditors[:2]]
    boot = stage.boot

    def call(evidence: bytes) -> Any:
        return session.registry.invalidate(
            entry.address, boot.signer, boot.measurement, boot.config_digest, event.platform, evidence
        )

    stranger = stage.person("anybody")
    with pytest.raises(RevertError):
        stranger.send(call(quorum.encode_revocation(event.platform, signatures[:1])))
    stranger.send(call(quorum.encode_revocation(event.platform, signatures)))


def _expire(stage: MarketStage) -> None:
    stage.pass_time(31 * 24 * 3600)


@pytest.fixture(scope="module", params=["revoked", "expired"])
def fallen(request: pytest.FixtureRequest) -> Iterator[Fallen]:
    ends: Callable[[MarketStage], None] = {"revoked": _invalidate, "expired": _expire}[request.param]
    with market_stage(AUDITORS) as stage:
        provider = stage.person("provider")
        days = 24 * 3600
        benchmark = stage.benchmark(provider, closes_in_s=90 * days, result_window_s=30 * days)
        goods = goods_of(stage, benchmark)
        buyer = stage.person("early-buyer")
        purchase = place_order(buyer.session, goods.submission_id, window_s=29 * days)
        developer = stage.person("developer")
        stage.stop_worker()
        waiting = stage.submit(developer, benchmark, good_model())
        result = stage.ask_enclave(honest_job(stage, waiting))
        assert isinstance(result, EvaluateReply)
        assert usable_enclaves(provider.session, waiting.terms)
        ends(stage)
        yield Fallen(
            stage, provider, benchmark, developer, waiting, result, goods, buyer, purchase, request.param
        )


def test_developer_seals_nothing_to_a_fallen_enclave(fallen: Fallen) -> None:
    newcomer = fallen.stage.person("newcomer")
    with pytest.raises(UnavailableError, match=r"0 registered enclave\(s\) can serve") as caught:
        submit_model(newcomer.session, fallen.benchmark, good_model())
    assert "gg worker run" in caught.value.next_step
    assert newcomer.wei() == START_WEI


def test_provider_opens_no_benchmark_without_a_good_enclave(fallen: Fallen) -> None:
    provider = fallen.stage.person("provider")
    test_x, test_y = digits()[2:]
    with pytest.raises(UnavailableError, match="0 registered enclave"):
        open_benchmark(
            provider.session,
            SPEC,
            {"image": test_x},
            test_y,
            BenchmarkOffer(curve=parse_curve(CURVE), verifier=AUDITORS),
        )
    assert provider.wei() == START_WEI


def test_contract_takes_no_result_of_a_fallen_enclave(fallen: Fallen) -> None:
    stage = fallen.stage
    messages = {"revoked": "market: enclave not registered", "expired": "market: enclave expired"}
    late = {"expired": "market: result too late"}
    reply = stage.ask_enclave(honest_job(stage, fallen.waiting))
    assert isinstance(reply, EvaluateReply)
    market = stage.host.session.market
    call = market.accept(fallen.waiting.terms, fallen.waiting.body, [(reply.result, reply.signature)])
    with pytest.raises(RevertError) as caught:
        stage.host.send(call)
    assert caught.value.reason in (messages[fallen.why], late.get(fallen.why))


def test_buyer_does_not_pay_on_the_word_of_a_fallen_enclave(fallen: Fallen) -> None:
    buyer = fallen.stage.person("late-buyer")
    with pytest.raises(VerificationError, match="not a registered, unexpired enclave"):
        place_order(buyer.session, fallen.goods.submission_id)
    assert buyer.wei() == START_WEI


def test_enclave_that_fell_after_the_order_delays_nobody(fallen: Fallen) -> None:
    """The hashlock was signed while it was good: key and money still change hands, or the money comes back."""
    stage, goods = fallen.stage, fallen.goods
    if fallen.why == "revoked":
        await_open_order(stage, goods, fallen.purchase)
        (report,) = claim_open_orders(goods.developer.session)
        assert report.error == ""
        assert decrypt_purchase(fallen.buyer.session, fallen.purchase) == good_model()
        assert fallen.buyer.gained_wei() == -goods.price
    else:
        from goldengrain.sdk.orders import refund_order

        refund_order(fallen.buyer.session, fallen.purchase)
        assert fallen.buyer.gained_wei() == 0


def test_revocation_is_for_good_and_expiry_is_not(fallen: Fallen) -> None:
    stage, entry = fallen.stage, fallen.stage.book.verifier(AUDITORS)
    session = stage.host.session
    collateral = (session.home.simulated_platform_dir / "collateral_sgx.json").read_bytes()
    request = make_request(session, stage.boot, entry, collateral)
    root = platform_root(session, entry)
    now = int(time.time())
    signed = [endorse(session, request, each, root_der=root, now_unix_s=now) for each in stage.auditors[:2]]
    if fallen.why == "revoked":
        with pytest.raises(RevertError, match="registry: enclave invalidated"):
            register(session, request, signed)
    else:
        register(session, request, signed)
        assert usable_enclaves(fallen.provider.session, fallen.waiting.terms)
