"""Registering enclaves by quote, prolonging and invalidating them."""

from typing import Any

import pytest

from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import enclave_id
from goldengrain_protocol.status import decode_enclave_status
from goldengrain_protocol.types import ZERO_ADDRESS, to_checksum
from tests.contracts import chain
from tests.contracts.bazaar import START_S, Bazaar, Signer, digest, raw
from tests.contracts.chain import Reverted

SIGNER = Signer.named("new enclave")
SEALING_KEY = digest("sealing key")
VERDICT: dict[str, Any] = {
    "measurement": digest("measurement"),
    "report_data_high": report_data(SIGNER.address, SEALING_KEY, digest("config"))[:32],
    "report_data_low": bytes(32),
    "tcb_status": 3,
    "assurance": 2,
    "expiry": START_S + 1000,
    "platform": digest("platform"),
}


def _register(bazaar: Bazaar, *, signer: str | None = None, **verdict: Any) -> bytes:
    bazaar.verifier.call("set_verdict", tuple({**VERDICT, **verdict}.values()))
    return bytes(
        bazaar.registry.call(
            "register",
            bazaar.verifier.address,
            b"a quote",
            b"",
            signer or to_checksum(SIGNER.address),
            SEALING_KEY,
            digest("config"),
            sender=bazaar.stranger,
        )
    )


def _invalidate(bazaar: Bazaar, platform: bytes = VERDICT["platform"]) -> None:
    bazaar.registry.call(
        "invalidate",
        bazaar.verifier.address,
        to_checksum(SIGNER.address),
        VERDICT["measurement"],
        digest("config"),
        platform,
        b"",
        sender=bazaar.stranger,
    )


def test_registers_under_the_id_the_protocol_computes(bazaar: Bazaar) -> None:
    registered = _register(bazaar)
    assert registered == enclave_id(
        raw(bazaar.verifier.address), SIGNER.address, VERDICT["measurement"], digest("config")
    )
    assert bazaar.registry.events_named("Registered") == [
        {
            "enclave_id": registered,
            "signer": to_checksum(SIGNER.address).lower(),
            "verifier": bazaar.verifier.address.lower(),
            "sealing_key": SEALING_KEY,
            "measurement": VERDICT["measurement"],
            "config_digest": digest("config"),
            "assurance": 2,
            "tcb_status": 3,
            "expiry": START_S + 1000,
            "platform": VERDICT["platform"],
            "quote_digest": keccak256(b"a quote"),
        }
    ]


def test_packs_what_the_market_asks_into_one_word(bazaar: Bazaar) -> None:
    word = bazaar.registry.call("enclaves", _register(bazaar))
    tag = int.from_bytes(VERDICT["platform"][8:], "big")
    assert word == 1 | (START_S + 1000) << 8 | 3 << 48 | 2 << 56 | tag << 64
    status = decode_enclave_status(word)
    assert (int(status.state), status.expiry, int(status.tcb_status)) == (1, START_S + 1000, 3)


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ({"report_data_high": digest("other keys")}, "report data names other keys"),
        ({"report_data_low": digest("tail")}, "report data has a tail"),
        ({"assurance": 0}, "bad assurance"),
        ({"assurance": 3}, "bad assurance"),
        ({"tcb_status": 7}, "bad tcb status"),
        ({"tcb_status": 2**200}, "bad tcb status"),
        ({"expiry": START_S}, "verdict expired"),
        ({"expiry": 0}, "verdict expired"),
        ({"expiry": 2**40}, "bad expiry"),
        ({"expiry": 2**256 - 1}, "bad expiry"),
    ],
)
def test_refuses_verdicts_out_of_range(bazaar: Bazaar, verdict: dict[str, Any], reason: str) -> None:
    with pytest.raises(Reverted, match=f"registry: {reason}"):
        _register(bazaar, **verdict)
    _register(bazaar)


def test_nobody_registers_their_own_key_with_anothers_quote(bazaar: Bazaar) -> None:
    with pytest.raises(Reverted, match="registry: report data names other keys"):
        _register(bazaar, signer=bazaar.stranger)
    with pytest.raises(Reverted, match="registry: no signer"):
        _register(bazaar, signer=to_checksum(ZERO_ADDRESS))


def test_a_registration_is_only_ever_prolonged(bazaar: Bazaar) -> None:
    """An older verdict, which is public, cannot be put back over a newer one."""
    enclave = _register(bazaar, tcb_status=0)
    _register(bazaar, tcb_status=4, expiry=START_S + 2000)
    for expiry in (START_S + 1000, START_S + 2000):
        with pytest.raises(Reverted, match="registry: not later than registered"):
            _register(bazaar, tcb_status=0, expiry=expiry)
    assert int(decode_enclave_status(bazaar.registry.call("enclaves", enclave)).tcb_status) == 4


def test_an_expired_registration_can_be_renewed(bazaar: Bazaar) -> None:
    enclave = _register(bazaar)
    chain.set_time(START_S + 5000)
    _register(bazaar, expiry=START_S + 9000)
    assert decode_enclave_status(bazaar.registry.call("enclaves", enclave)).expiry == START_S + 9000


def test_anyone_invalidates_an_enclave_of_a_revoked_platform_for_good(bazaar: Bazaar) -> None:
    enclave = _register(bazaar)
    with pytest.raises(Reverted, match="registry: platform not revoked"):
        _invalidate(bazaar)
    bazaar.verifier.call("set_revoked", VERDICT["platform"], True)
    _invalidate(bazaar)
    assert bazaar.registry.events_named("Invalidated") == [{"enclave_id": enclave}]
    assert int(decode_enclave_status(bazaar.registry.call("enclaves", enclave)).state) == 2
    with pytest.raises(Reverted, match="registry: enclave not registered"):
        _invalidate(bazaar)
    with pytest.raises(Reverted, match="registry: enclave invalidated"):
        _register(bazaar, expiry=START_S + 9000)


def test_another_platforms_revocation_does_not_invalidate(bazaar: Bazaar) -> None:
    _register(bazaar)
    bazaar.verifier.call("set_revoked", digest("other platform"), True)
    with pytest.raises(Reverted, match="registry: wrong platform"):
        _invalidate(bazaar, digest("other platform"))


def test_what_was_never_registered_cannot_be_invalidated(bazaar: Bazaar) -> None:
    with pytest.raises(Reverted, match="registry: enclave not registered"):
        _invalidate(bazaar)


def test_each_verifier_vouches_only_for_its_own_enclaves(bazaar: Bazaar) -> None:
    enclave = _register(bazaar)
    worthless = chain.deploy(chain.SOURCES / "StubVerifier.vy")
    worthless.call("set_revoked", VERDICT["platform"], True)
    with pytest.raises(Reverted, match="registry: enclave not registered"):
        bazaar.registry.call(
            "invalidate",
            worthless.address,
            to_checksum(SIGNER.address),
            VERDICT["measurement"],
            digest("config"),
            VERDICT["platform"],
            b"",
        )
    assert bazaar.registry.call("enclaves", enclave) & 0xFF == 1


def test_a_verifier_cannot_re_enter_the_registry(bazaar: Bazaar) -> None:
    inner = bazaar.registry.encode_call(
        "register",
        bazaar.verifier.address,
        b"inner",
        b"",
        to_checksum(SIGNER.address),
        SEALING_KEY,
        digest("config"),
    )
    bazaar.verifier.call("set_hook", bazaar.registry.address, inner)
    _register(bazaar)
    assert bazaar.verifier.call("hook_successes") == 0
    assert len(bazaar.registry.events_named("Registered")) == 1


def test_an_address_without_code_is_no_verifier(bazaar: Bazaar) -> None:
    with pytest.raises(Reverted):
        bazaar.registry.call(
            "register", bazaar.stranger, b"", b"", to_checksum(SIGNER.address), SEALING_KEY, digest("config")
        )
