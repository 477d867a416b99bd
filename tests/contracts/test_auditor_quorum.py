"""The verifier that believes M of N named auditors."""

from collections.abc import Sequence
from typing import Any

import build_artifacts
import pytest
from eth_abi.abi import encode

from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.eip712 import (
    QuoteVerified,
    auditor_domain_separator,
    platform_revoked_digest,
    quote_verified_digest,
)
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import to_checksum
from tests.contracts import chain
from tests.contracts.bazaar import START_S, Bazaar, Signer, digest, raw, with_high_s
from tests.contracts.chain import Contract, Reverted

AUDITORS = sorted((Signer.named(f"auditor {i}") for i in range(5)), key=lambda signer: signer.address)
QUOTE = b"a quote of some length" * 200
ENCLAVE = Signer.named("audited enclave")
SEALING_KEY = digest("sealing key")
STATEMENT: dict[str, Any] = {
    "measurement": digest("measurement"),
    "report_data_high": report_data(ENCLAVE.address, SEALING_KEY, digest("config"))[:32],
    "report_data_low": bytes(32),
    "tcb_status": 1,
    "expiry": START_S + 1000,
    "platform": digest("platform"),
}
TYPES = ["bytes32", "bytes32", "bytes32", "uint8", "uint64", "bytes32", "bytes[]"]


def _deploy(
    generator: str, auditors: Sequence[Signer] = AUDITORS, threshold: int = 3, assurance: int = 1
) -> Contract:
    addresses = [to_checksum(auditor.address) for auditor in auditors]
    source = build_artifacts.CONTRACTS / "AuditorQuorumVerifier.vy"
    return chain.deploy(source, addresses, threshold, assurance, generator=generator)


@pytest.fixture
def verifier(bazaar: Bazaar) -> Contract:
    return _deploy(bazaar.generator)


def _sign(verifier: Contract, signers: Sequence[Signer], quote: bytes = QUOTE, **changes: Any) -> list[bytes]:
    statement = {**STATEMENT, **changes}
    signed = quote_verified_digest(1, raw(verifier.address), QuoteVerified(keccak256(quote), **statement))
    return [signer.sign(signed) for signer in signers]


def _evidence(signatures: Sequence[bytes], **changes: Any) -> bytes:
    return bytes(encode(TYPES, [*{**STATEMENT, **changes}.values(), list(signatures)]))


def test_a_quorum_of_auditors_makes_a_verdict(verifier: Contract) -> None:
    evidence = _evidence(_sign(verifier, AUDITORS[1:4]))
    assert verifier.call("verify_quote", QUOTE, evidence) == (
        STATEMENT["measurement"],
        STATEMENT["report_data_high"],
        bytes(32),
        1,
        1,
        START_S + 1000,
        STATEMENT["platform"],
    )
    everybody = _evidence(_sign(verifier, AUDITORS))
    assert verifier.call("verify_quote", QUOTE, everybody)[5] == START_S + 1000


def test_its_terms_are_public(verifier: Contract) -> None:
    assert list(verifier.call("auditors")) == [to_checksum(a.address).lower() for a in AUDITORS]
    assert (verifier.call("THRESHOLD"), verifier.call("ASSURANCE")) == (3, 1)
    assert verifier.call("DOMAIN_SEPARATOR") == auditor_domain_separator(1, raw(verifier.address))


def test_an_audited_quote_registers_an_enclave(bazaar: Bazaar, verifier: Contract) -> None:
    evidence = _evidence(_sign(verifier, AUDITORS[:3]))
    arguments = (to_checksum(ENCLAVE.address), SEALING_KEY, digest("config"))
    enclave = bazaar.registry.call("register", verifier.address, QUOTE, evidence, *arguments)
    assert bazaar.registry.call("enclaves", enclave) & 0xFF == 1

    revoked = platform_revoked_digest(1, raw(verifier.address), STATEMENT["platform"])
    signatures = [signer.sign(revoked) for signer in AUDITORS[2:]]
    bazaar.registry.call(
        "invalidate",
        verifier.address,
        to_checksum(ENCLAVE.address),
        STATEMENT["measurement"],
        digest("config"),
        STATEMENT["platform"],
        encode(["bytes[]"], [signatures]),
    )
    assert bazaar.registry.call("enclaves", enclave) & 0xFF == 2


@pytest.mark.parametrize("field", [*STATEMENT, "quote"])
def test_signatures_hold_for_every_field(verifier: Contract, field: str) -> None:
    signatures = _sign(verifier, AUDITORS[:3])
    if field == "quote":
        with pytest.raises(Reverted, match="verifier: not an auditor"):
            verifier.call("verify_quote", QUOTE + b"x", _evidence(signatures))
        return
    other = STATEMENT[field] + 1 if isinstance(STATEMENT[field], int) else digest("other")
    with pytest.raises(Reverted, match="verifier: not an auditor"):
        verifier.call("verify_quote", QUOTE, _evidence(signatures, **{field: other}))


def test_too_few_or_repeated_or_foreign_signatures_are_refused(verifier: Contract) -> None:
    one, two, three = _sign(verifier, AUDITORS[:3])
    (stranger,) = _sign(verifier, [Signer.named("stranger")])
    for signatures, reason in (
        ([], "too few signatures"),
        ([one, two], "too few signatures"),
        ([one, one, two], "signers not ascending"),
        ([two, one, three], "signers not ascending"),
        ([one, two, three, stranger], "not an auditor"),
        ([one, two, three[:64]], "bad signature length"),
        ([one, two, b""], "bad signature length"),
        ([one, two, with_high_s(three)], "not an auditor"),
        ([one, two, bytes(65)], "not an auditor"),
        ([one, two, three[:64] + b"\x01"], "not an auditor"),
    ):
        with pytest.raises(Reverted, match=f"verifier: {reason}"):
            verifier.call("verify_quote", QUOTE, _evidence(signatures))


def test_a_statement_to_another_verifier_or_chain_does_not_count(generator: str, verifier: Contract) -> None:
    twin = _deploy(generator)
    with pytest.raises(Reverted, match="verifier: not an auditor"):
        verifier.call("verify_quote", QUOTE, _evidence(_sign(twin, AUDITORS[:3])))
    elsewhere = quote_verified_digest(2, raw(verifier.address), QuoteVerified(keccak256(QUOTE), **STATEMENT))
    with pytest.raises(Reverted, match="verifier: not an auditor"):
        verifier.call("verify_quote", QUOTE, _evidence([a.sign(elsewhere) for a in AUDITORS[:3]]))


def test_a_verdict_is_no_revocation_and_a_revocation_names_its_platform(verifier: Contract) -> None:
    platform = STATEMENT["platform"]
    with pytest.raises(Reverted, match="verifier: not an auditor"):
        verifier.call("platform_revoked", platform, encode(["bytes[]"], [_sign(verifier, AUDITORS[:3])]))
    revoked = platform_revoked_digest(1, raw(verifier.address), platform)
    evidence = encode(["bytes[]"], [[signer.sign(revoked) for signer in AUDITORS[:3]]])
    assert verifier.call("platform_revoked", platform, evidence) is True
    with pytest.raises(Reverted, match="verifier: not an auditor"):
        verifier.call("platform_revoked", digest("other platform"), evidence)


@pytest.mark.parametrize(
    "evidence",
    [b"", bytes(31), bytes(224), b"\xff" * 4096, _evidence([])[:-32], encode(["bytes[]"], [[b"x" * 66] * 3])],
)
def test_garbage_evidence_reverts(verifier: Contract, evidence: bytes) -> None:
    with pytest.raises(Reverted):
        verifier.call("verify_quote", QUOTE, evidence)


def test_numbers_beyond_their_types_revert(verifier: Contract) -> None:
    signatures = _sign(verifier, AUDITORS[:3])
    words = list(STATEMENT.values())
    for index, value in ((3, 2**8), (4, 2**64)):
        wide = [*words[:index], value, *words[index + 1 :]]
        types = ["uint256" if kind.startswith("uint") else kind for kind in TYPES]
        with pytest.raises(Reverted):
            verifier.call("verify_quote", QUOTE, encode(types, [*wide, signatures]))


@pytest.mark.parametrize(
    ("auditors", "threshold", "assurance", "reason"),
    [
        (AUDITORS[::-1], 1, 1, "auditors not ascending"),
        ([AUDITORS[0]] * 2, 1, 1, "auditors not ascending"),
        (AUDITORS, 0, 1, "bad threshold"),
        (AUDITORS, 6, 1, "bad threshold"),
        ([], 0, 1, "bad threshold"),
        (AUDITORS, 5, 0, "bad assurance"),
        (AUDITORS, 5, 3, "bad assurance"),
    ],
)
def test_refuses_to_be_deployed_with_bad_terms(
    generator: str, auditors: Sequence[Signer], threshold: int, assurance: int, reason: str
) -> None:
    with pytest.raises(Reverted, match=f"verifier: {reason}"):
        _deploy(generator, auditors, threshold, assurance)


def test_a_quote_of_the_largest_size_fits(verifier: Contract) -> None:
    quote = bytes(8192)
    verifier.call("verify_quote", quote, _evidence(_sign(verifier, AUDITORS[:3], quote)))
    with pytest.raises(Reverted):
        verifier.call("verify_quote", bytes(8193), _evidence(_sign(verifier, AUDITORS[:3], bytes(8193))))
