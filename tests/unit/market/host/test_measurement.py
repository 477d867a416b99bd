"""`gg enclave measure`: what an operator should get on each platform, and what is refused on the way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from goldengrain.cli.main import run
from goldengrain.host.measurement import decode_sigstruct
from goldengrain_enclave.platform.source_measurement import source_mr_enclave
from goldengrain_protocol.attestation import measurement_sgx, measurement_tdx
from goldengrain_protocol.errors import InvalidInput, VerificationError

MR_ENCLAVE = bytes(range(32))
REGISTERS = {f"rtmr{index}": bytes([index]) * 48 for index in range(4)} | {"mrtd": b"\xaa" * 48}
EXPECTED_TDX = measurement_tdx(REGISTERS["mrtd"], *(REGISTERS[f"rtmr{index}"] for index in range(4)))
EVENT_DIGESTS = [hashlib.sha384(name).digest() for name in (b"app-id", b"compose-hash", b"system-ready")]


@pytest.fixture(scope="module")
def signing_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=3, key_size=3072)


def sigstruct(key: rsa.RSAPrivateKey, *, attributes: int = 0x04) -> bytes:
    head = bytes.fromhex("06000000e10000000000010000000000") + bytes(8)
    head += bytes.fromhex("01010000600000006000000001000000") + bytes(88)
    body = bytes(28) + attributes.to_bytes(8, "little") + bytes(8) + b"\xff" * 16 + MR_ENCLAVE + bytes(36)
    assert (len(head), len(body)) == (128, 128)
    signature = int.from_bytes(key.sign(head + body, padding.PKCS1v15(), hashes.SHA256()), "big")
    modulus = key.public_key().public_numbers().n.to_bytes(384, "little")
    signed = head + modulus + (3).to_bytes(4, "little") + signature.to_bytes(384, "little") + body
    return signed + bytes(12 + 384 + 384)


def measure(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = int(run(["enclave", "measure", *words, "--json"]))
    return code, json.loads(capsys.readouterr().out)


def options(registers: dict[str, bytes]) -> list[str]:
    return [word for name, value in registers.items() for word in (f"--{name}", value.hex())]


def rtmr3_of(digests: list[bytes]) -> bytes:
    register = bytes(48)
    for digest in digests:
        register = hashlib.sha384(register + digest).digest()
    return register


def test_simulated_measurement_is_computed_from_the_installed_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, document = measure(capsys)
    assert code == 0
    assert document["measurement"] == "0x" + measurement_sgx(source_mr_enclave()).hex()
    assert "no silicon vouches" in document["not_computed"]


class TestGramine:
    def test_from_the_signature_file(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, signing_key: rsa.RSAPrivateKey
    ) -> None:
        (tmp_path / "enclave.sig").write_bytes(sigstruct(signing_key))
        code, document = measure(capsys, "--platform", "gramine", "--sig", str(tmp_path / "enclave.sig"))
        assert code == 0
        assert document["measurement"] == "0x" + measurement_sgx(MR_ENCLAVE).hex()
        modulus = signing_key.public_key().public_numbers().n.to_bytes(384, "little")
        assert document["registers"]["mr_signer"] == "0x" + hashlib.sha256(modulus).hexdigest()

    def test_from_mrenclave(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, document = measure(capsys, "--platform", "gramine", "--mrenclave", MR_ENCLAVE.hex())
        assert (code, document["measurement"]) == (0, "0x" + measurement_sgx(MR_ENCLAVE).hex())
        code, document = measure(capsys, "--platform", "gramine", "--mrenclave", MR_ENCLAVE.hex()[2:])
        assert (code, document["error"]["message"]) == (3, "mrenclave must be 32 bytes in hexadecimal")

    @pytest.mark.parametrize("words", [[], ["--mrenclave", MR_ENCLAVE.hex(), "--sig", __file__]])
    def test_wants_one_of_the_two(self, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
        code, document = measure(capsys, "--platform", "gramine", *words)
        assert (code, document["error"]["category"]) == (2, "usage")

    def test_damaged_signature_file(self, signing_key: rsa.RSAPrivateKey) -> None:
        whole = sigstruct(signing_key)
        assert decode_sigstruct(whole).mr_enclave == MR_ENCLAVE
        for at in (960, 930, 520, 130):
            flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
            with pytest.raises(VerificationError, match="signature does not hold"):
                decode_sigstruct(flipped)
        for malformed in (whole[:-1], whole + b"\0", b"\7" + whole[1:], b""):
            with pytest.raises(InvalidInput):
                decode_sigstruct(malformed)

    def test_debug_enclave(self, signing_key: rsa.RSAPrivateKey) -> None:
        with pytest.raises(InvalidInput, match="debug mode"):
            decode_sigstruct(sigstruct(signing_key, attributes=0x06))


@pytest.mark.parametrize("platform", ["tdx", "dstack"])
class TestTdx:
    def test_from_options(self, capsys: pytest.CaptureFixture[str], platform: str) -> None:
        code, document = measure(capsys, "--platform", platform, *options(REGISTERS))
        assert (code, document["measurement"]) == (0, "0x" + EXPECTED_TDX.hex())
        assert "MRTD and RTMR0 to RTMR2" in document["not_computed"]

    def test_from_a_file_and_options(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, platform: str
    ) -> None:
        some = {name: "0x" + value.hex() for name, value in REGISTERS.items() if name != "rtmr3"}
        (tmp_path / "image.json").write_text(json.dumps(some | {"os_image_hash": "00"}))
        words = ("--platform", platform, "--registers", str(tmp_path / "image.json"))
        code, document = measure(capsys, *words, "--rtmr3", REGISTERS["rtmr3"].hex())
        assert (code, document["measurement"]) == (0, "0x" + EXPECTED_TDX.hex())
        code, document = measure(capsys, *words)
        assert code == 3
        assert document["error"]["message"].endswith("missing: rtmr3")

    def test_rtmr3_from_the_event_log(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, platform: str
    ) -> None:
        events = [{"imr": 3, "digest": digest.hex(), "event": "e"} for digest in EVENT_DIGESTS]
        events.insert(1, {"imr": 0, "digest": "ff" * 48, "event": "other register"})
        info = {name: value.hex() for name, value in REGISTERS.items()}
        info |= {"rtmr3": rtmr3_of(EVENT_DIGESTS).hex(), "event_log": events}
        path = tmp_path / "info.json"
        words = ("--platform", platform, "--registers", str(path))
        path.write_text(json.dumps(info))
        code, document = measure(capsys, *words)
        assert code == 0
        assert document["registers"]["rtmr3"] == "0x" + rtmr3_of(EVENT_DIGESTS).hex()
        without = {name: value for name, value in info.items() if name != "rtmr3"}
        path.write_text(json.dumps(without | {"event_log": json.dumps(events)}))
        assert measure(capsys, *words)[1]["measurement"] == document["measurement"]
        path.write_text(json.dumps(info | {"event_log": events[:-1]}))
        code, document = measure(capsys, *words)
        assert (code, document["error"]["category"]) == (1, "verification")

    @pytest.mark.parametrize(
        "text", ["", "[]", '{"mrtd": 7}', '{"mrtd": "aa"}', '{"event_log": 3}', '{"event_log": [{"imr": 3}]}']
    )
    def test_malformed_file(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, platform: str, text: str
    ) -> None:
        (tmp_path / "image.json").write_text(text)
        code, _ = measure(capsys, "--platform", platform, "--registers", str(tmp_path / "image.json"))
        assert code == 3


def test_options_of_another_platform_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["--mrenclave", MR_ENCLAVE.hex()],
        ["--platform", "tdx", "--mrenclave", MR_ENCLAVE.hex()],
        ["--platform", "gramine", *options(REGISTERS)],
        ["--platform", "imaginary"],
    ):
        code, document = measure(capsys, *words)
        assert (code, document["error"]["category"]) == (2, "usage")
