"""A platform that is revoked, an auditor quorum, and evidence that somebody altered. On a stage of its own."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import pytest

from goldengrain.host.collateral import post_collateral
from goldengrain.host.invalidation import invalidate_enclave, sign_revocation
from goldengrain.host.registration import endorse, make_request, platform_root, register
from goldengrain.sdk.evidence import Bundle, check, collect, verify_evidence
from goldengrain.sdk.orders import place_order
from goldengrain.sdk.session import Session
from goldengrain.sdk.submissions import submit_model
from goldengrain_enclave.platform.simulated import load_pki
from goldengrain_enclave.platform.simulated_pki import collateral_json
from goldengrain_protocol.constants import EnclaveState
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.types import Hash32
from tests.market_stage import MarketStage, Person, fair_model, good_model, market_stage

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]


@pytest.fixture(scope="module")
def own_stage() -> Iterator[MarketStage]:
    with market_stage() as found:
        yield found


@pytest.fixture(scope="module")
def sold(own_stage: MarketStage) -> tuple[Person, Hash32, Hash32]:
    """(developer, benchmark, priced submission)."""
    provider, developer = own_stage.person("provider"), own_stage.person("developer")
    benchmark = own_stage.benchmark(provider)
    view = own_stage.sell(developer, benchmark, good_model())
    return developer, benchmark, view.submission_id


def links_that_fail(bundle: Bundle) -> list[str]:
    return [link.name for link in check(bundle) if not link.holds]


def test_every_link_behind_a_price_holds(own_stage: MarketStage, sold: tuple[Person, Hash32, Hash32]) -> None:
    links = verify_evidence(own_stage.person("auditor").session, sold[2])
    assert [link.name for link in links if not link.holds] == []
    assert {"price", "signed result", "quote", "registration", "silicon root"} <= {
        link.name for link in links
    }


def test_altered_evidence_is_caught_at_its_link(
    own_stage: MarketStage, sold: tuple[Person, Hash32, Hash32]
) -> None:
    bundle = collect(own_stage.person("auditor").session, sold[2])
    assert links_that_fail(bundle) == []
    (posted,), (attested,) = bundle.results, bundle.attested
    registration = bundle.registrations[attested.enclave]
    stranger = own_stage.person("stranger").address

    def registered(**changes: object) -> Bundle:
        event = dataclasses.replace(registration.event, **changes)  # type: ignore[arg-type]
        altered = dataclasses.replace(registration, event=event)
        return dataclasses.replace(bundle, registrations={attested.enclave: altered})

    def with_blob(digest: Hash32, change: Callable[[bytes], bytes]) -> Bundle:
        return dataclasses.replace(bundle, blobs={**bundle.blobs, digest: change(bundle.blobs[digest])})

    def flip(blob: bytes) -> bytes:
        return blob[:-1] + bytes([blob[-1] ^ 1])

    better = dataclasses.replace(posted.result, bound_ppm=posted.result.bound_ppm + 5_000)
    cases: list[tuple[str, Bundle]] = [
        # a result signed by an unregistered key
        (
            "registration",
            dataclasses.replace(
                bundle, attested=(dataclasses.replace(attested, enclave=stranger),), registrations={}
            ),
        ),
        (
            "signed result",
            dataclasses.replace(bundle, attested=(dataclasses.replace(attested, enclave=stranger),)),
        ),
        # a registered key of another measurement, configuration, verifier
        ("registration", registered(measurement=Hash32(bytes(32)))),
        ("registration", registered(config_digest=Hash32(bytes(32)))),
        ("registration", registered(verifier=stranger)),
        # an enclave that was invalidated or expired before the result
        (
            "registration",
            dataclasses.replace(
                bundle,
                registrations={attested.enclave: dataclasses.replace(registration, invalidated_at_block=1)},
            ),
        ),
        ("registration", registered(expiry=bundle.result_time_s - 1)),
        ("registration", registered(tcb_status=4)),
        # a quote that binds other keys
        ("quote", registered(sealing_key=Hash32(bytes(32)))),
        # results, evidence and blobs altered afterwards
        ("signed result", dataclasses.replace(bundle, results=(dataclasses.replace(posted, result=better),))),
        ("evidence record", with_blob(posted.result.evidence_digest, flip)),
        ("encrypted model", with_blob(bundle.submitted.content_digest, flip)),
        ("encrypted test set", with_blob(bundle.terms.testset_digest, flip)),
        ("spec", with_blob(bundle.terms.spec_digest, flip)),
        ("spec", with_blob(bundle.terms.spec_digest, lambda _blob: b"")),
        # a price that the curve does not give, terms that the benchmark never had
        ("price", dataclasses.replace(bundle, scored=dataclasses.replace(bundle.scored, price=1))),
        ("benchmark terms", dataclasses.replace(bundle, terms=dataclasses.replace(bundle.terms, fee_wei=1))),
        ("anchor block", dataclasses.replace(bundle, anchor_hashes={})),
        ("enclave code", dataclasses.replace(bundle, trusted_measurements=())),
        ("silicon root", dataclasses.replace(bundle, verifier_name=None)),
    ]
    for expected, altered in cases:
        assert expected in links_that_fail(altered), expected


def test_auditor_quorum_registers_and_revokes_on_its_own_threshold(own_stage: MarketStage) -> None:
    host = own_stage.host.session
    verifier = own_stage.book.verifier("auditors")
    platform = host.home.simulated_platform_dir
    collateral = (platform / "collateral_sgx.json").read_bytes()
    request = make_request(host, own_stage.boot, verifier, collateral)
    root = platform_root(host, verifier)
    now = int(time.time())
    signed = [endorse(host, request, each, root_der=root, now_unix_s=now) for each in own_stage.auditors[:2]]

    with pytest.raises(InvalidInput, match="no endorsement"):
        register(host, request)
    with pytest.raises(InvalidInput, match="1 endorsement"):
        register(host, request, signed[:1])
    outsider = own_stage.person("outsider").account
    foreign = endorse(host, request, outsider, root_der=root, now_unix_s=now)
    with pytest.raises(VerificationError, match="not an auditor"):
        register(host, request, [signed[0], foreign])
    for wrong in (
        dataclasses.replace(request, sealing_key=bytes(32)),
        dataclasses.replace(request, measurement=Hash32(bytes(32))),
        dataclasses.replace(request, quote=request.quote[:400] + b"\x01" + request.quote[401:]),
    ):
        with pytest.raises((VerificationError, InvalidInput)):
            endorse(host, wrong, own_stage.auditors[0], root_der=root, now_unix_s=now)
    with pytest.raises((VerificationError, InvalidInput)):
        endorse(host, request, own_stage.auditors[0], root_der=None, now_unix_s=now)

    identity = register(host, request, signed)
    assert host.registry.enclave_status(identity).state == EnclaveState.REGISTERED

    signer = own_stage.boot.signer
    revocations = [
        sign_revocation(Session(host.home, own_stage.book, account=each), signer)
        for each in own_stage.auditors[:2]
    ]
    stranger = own_stage.person("anybody").session
    with pytest.raises((InvalidInput, VerificationError)):
        invalidate_enclave(stranger, signer, revocations[:1])
    assert invalidate_enclave(stranger, signer, revocations) == [identity]
    assert host.registry.enclave_status(identity).state == EnclaveState.INVALIDATED
    with pytest.raises(VerificationError, match="invalidated"):
        register(host, request, signed)


def test_revoked_platform_ends_by_anybody_and_serves_nobody_any_more(
    own_stage: MarketStage, sold: tuple[Person, Hash32, Hash32]
) -> None:
    _, benchmark, submission = sold
    anybody, buyer, newcomer = (own_stage.person(name) for name in ("anybody", "buyer", "newcomer"))
    verifier = own_stage.book.verifier("dcap")
    signer = own_stage.boot.signer
    with pytest.raises(VerificationError, match="not revoked"):
        invalidate_enclave(anybody.session, signer)

    pki = load_pki(own_stage.host.home.simulated_platform_dir)
    newer = collateral_json(pki, "sgx", int(time.time()) + 60, revoked=[pki.certificates["pck"]])
    own_stage.pass_time(120)
    reports = post_collateral(anybody.session, verifier, newer)
    assert any(report.posted and "crl" in report.subject for report in reports)
    (ended,) = invalidate_enclave(anybody.session, signer)
    assert anybody.session.registry.enclave_status(ended).state == EnclaveState.INVALIDATED

    with pytest.raises((VerificationError, UnavailableError)):
        place_order(buyer.session, submission)
    assert buyer.gained_wei() == 0
    with pytest.raises(UnavailableError, match="registered enclave"):
        submit_model(newcomer.session, benchmark, fair_model())
    assert newcomer.gained_wei() == 0
    request = make_request(own_stage.host.session, own_stage.boot, verifier, newer)
    with pytest.raises(VerificationError):
        register(anybody.session, request)
    # What was scored before the revocation stays explained.
    assert [link.name for link in verify_evidence(anybody.session, submission) if not link.holds] == []
