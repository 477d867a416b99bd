"""Posting by anybody: what is newer wins, nothing goes back, nothing unsigned gets in; and what real papers say."""

import json
from collections.abc import Iterator
from dataclasses import replace

import boa
import build_artifacts
import pytest

from goldengrain.chain import dcap
from goldengrain_protocol import attestation
from tests.contracts import chain
from tests.contracts.chain import Reverted
from tests.contracts.dcap import pki
from tests.contracts.dcap.judges import Deployment, Verdict, off_chain, vectors
from tests.contracts.dcap.pki import DAY_S, NOW, World

REAL_TIME = 1_750_400_000


def _posts(world: World) -> dict[str, dcap.Post]:
    posts = dcap.collateral_posts(json.dumps(world.collateral()).encode())
    return {post.subject: post for post in posts}


def _issued(document: pki.Document, day: int, number: int) -> pki.Document:
    return {**document, "issueDate": pki.zulu(NOW - day * DAY_S), "tcbEvaluationDataNumber": number}


@pytest.fixture(scope="session", params=list(build_artifacts.GENERATORS))
def shared(request: pytest.FixtureRequest) -> Deployment:
    chain.set_time(NOW)
    deployment = Deployment(pki.ROOT.der(), str(request.param))
    shared_posts = _posts(World(3))
    for post in shared_posts.values():
        deployment.post(post)
    for post in _posts(World(4)).values():
        if post.contract == "CollateralTcb":
            deployment.post(post)
    return deployment


@pytest.fixture
def contracts(shared: Deployment) -> Iterator[Deployment]:
    chain.set_time(NOW)
    with boa.env.anchor():
        yield shared
    chain.set_time(NOW)


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("form", [dcap.PckForm.CERTIFICATE, dcap.PckForm.CERTIFICATE_AND_REMEMBER])
def test_every_generator_says_what_dcap_qvl_says(
    contracts: Deployment, version: int, form: dcap.PckForm
) -> None:
    world = World(version)
    assert contracts.verify(world.quote(), form) == off_chain(world)
    if form == dcap.PckForm.CERTIFICATE_AND_REMEMBER:
        assert contracts.verify(world.quote(), dcap.PckForm.REMEMBERED) == off_chain(world)


def test_a_platform_counts_as_remembered_only_after_its_certificate_was_verified(
    contracts: Deployment,
) -> None:
    with pytest.raises(Reverted, match="pck certificate: not remembered"):
        contracts.verify(World(3).quote(), dcap.PckForm.REMEMBERED)


@pytest.mark.parametrize(
    ("day", "number", "reason"),
    [
        (2, 17, "collateral: not newer"),
        (3, 17, "collateral: not newer"),
        (1, 16, "collateral: older evaluation"),
        (1, 17, ""),
        (3, 18, ""),
    ],
)
@pytest.mark.parametrize("document", ["tcb_info", "qe_identity"])
def test_newer_collateral_wins_and_nothing_goes_back(
    contracts: Deployment, document: str, day: int, number: int, reason: str
) -> None:
    usual = getattr(pki, document)("sgx")
    post = _posts(World(3, **{document: _issued(usual, day, number)}))[document.replace("_", " ")]
    if reason:
        with pytest.raises(Reverted, match=reason):
            contracts.post(post)
    else:
        contracts.post(post)
        with pytest.raises(Reverted, match="collateral: not newer"):
            contracts.post(post)


def test_an_older_revocation_list_does_not_replace_a_newer_one(contracts: Deployment) -> None:
    older = replace(pki.PCK_CRL, revoked=(), issued=NOW - 3 * DAY_S)
    with pytest.raises(Reverted, match="crl: not newer"):
        contracts.post(_posts(World(3, pck_crl=older))["pck crl"])


def test_a_platform_revoked_since_is_refused_and_can_be_proven_revoked(contracts: Deployment) -> None:
    world = World(3)
    platform = contracts.verify(world.quote()).platform
    pck = dcap.certificate_pck(dcap.split_quote(world.quote()))
    evidence = dcap.encode_revocation_evidence(pck, dcap.PckForm.CERTIFICATE)
    assert contracts.verifier.call("platform_revoked", platform, evidence) is False
    newer = replace(pki.PCK_CRL, revoked=(5, 6, 7, 8, pki.PCK.serial), issued=NOW - DAY_S)
    contracts.post(_posts(world.but(pck_crl=newer))["pck crl"])
    assert contracts.verifier.call("platform_revoked", platform, evidence) is True
    with pytest.raises(Reverted, match="pck certificate: revoked"):
        contracts.verify(world.quote())
    with pytest.raises(Reverted, match="verifier: another platform"):
        contracts.verifier.call("platform_revoked", bytes(32), evidence)


def test_a_platform_whose_tcb_is_revoked_since_can_be_proven_so(contracts: Deployment) -> None:
    world = World(3)
    platform = contracts.verify(world.quote()).platform
    pck = dcap.certificate_pck(dcap.split_quote(world.quote()))
    evidence = dcap.encode_revocation_evidence(pck, dcap.PckForm.CERTIFICATE)
    info = _issued(pki.tcb_info("sgx"), 1, 18)
    info["tcbLevels"][0]["tcbStatus"] = "Revoked"
    contracts.post(_posts(world.but(tcb_info=info))["tcb info"])
    assert contracts.verifier.call("platform_revoked", platform, evidence) is True
    with pytest.raises(Reverted, match="tcb: revoked"):
        contracts.verify(world.quote())


def test_collateral_ends_on_its_second(contracts: Deployment) -> None:
    expiry = contracts.verify(World(3).quote()).expiry
    chain.set_time(expiry - 1)
    contracts.verify(World(3).quote())
    chain.set_time(expiry)
    with pytest.raises(Reverted, match="expired"):
        contracts.verify(World(3).quote())


@pytest.mark.parametrize("extra", [b"", b"\x00", b"\x00" * 32])
def test_the_signed_part_is_taken_to_the_byte(contracts: Deployment, extra: bytes) -> None:
    signed, evidence = dcap.quote_call(World(4).quote())
    if not extra:
        contracts.verify_raw(signed, evidence)
        signed = signed[:-1]
    with pytest.raises(Reverted, match="quote: size"):
        contracts.verify_raw(signed + extra, evidence)


def test_roots_do_not_mix() -> None:
    chain.set_time(NOW)
    other = Deployment(replace(pki.ROOT, key_label="other root", signer_label="other root").der())
    with pytest.raises(Reverted, match="certificate: bad signature"):
        other.post(_posts(World(3))["PCK CA, NOT INTEL"])


@pytest.mark.parametrize("name", ["sgx_quote", "tdx_quote"])
def test_a_real_quote_verifies_with_collateral_posted_by_a_stranger(name: str) -> None:
    found = vectors()
    if name not in found:
        pytest.skip("the real quotes of shared/vectors/dcap do not lie beside this repository")
    quote, collateral = found[name]
    chain.set_time(REAL_TIME)
    try:
        contracts = Deployment(dcap.split_quote(quote).certificates[2], assurance=2)
        contracts.post_all(collateral)
        theirs = attestation.verify_quote(quote, collateral, root_der=None, at_unix_s=REAL_TIME)
        verdict = contracts.verify(quote)
    finally:
        chain.set_time(NOW)
    assert verdict == Verdict(
        bytes(theirs.measurement),
        theirs.report_data,
        int(theirs.tcb_status),
        theirs.expiry,
        bytes(theirs.platform),
    )
