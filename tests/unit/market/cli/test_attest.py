"""`gg attest verify`: quotes of the simulated platform, and Intel's own where they are at hand."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from goldengrain.cli.main import run
from goldengrain_enclave.platform.simulated import SimulatedPlatform, create_directory

VECTORS = Path(__file__).resolve().parents[5] / "shared" / "vectors" / "dcap"
INTEL_TIME = 1_750_400_000  # 2025-06-20
FIELDS = {
    "verdict",
    "reason",
    "tee",
    "version",
    "measurement",
    "report_data",
    "tcb_status",
    "fmspc",
    "assurance",
}


def verify(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = int(run(["attest", "verify", *words, "--json"]))
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert set(document) >= FIELDS
    return code, document


@pytest.mark.parametrize(
    ("name", "tee", "status", "fmspc"),
    [
        ("sgx", "sgx", "ConfigurationAndSWHardeningNeeded", "00A067110000"),
        ("tdx", "tdx", "UpToDate", "B0C06F000000"),
    ],
)
def test_verifies_real_intel_quotes_inside_their_window_only(
    capsys: pytest.CaptureFixture[str], name: str, tee: str, status: str, fmspc: str
) -> None:
    quote, collateral = VECTORS / f"{name}_quote", VECTORS / f"{name}_quote_collateral.json"
    if not quote.exists():
        pytest.skip(f"Intel's sample quote {quote.name} is not beside the checkout")
    files = ("--quote", str(quote), "--collateral", str(collateral))
    code, document = verify(capsys, *files, "--at", str(INTEL_TIME))
    assert (code, document["verdict"]) == (0, "verified")
    assert (document["tee"], document["tcb_status"], document["fmspc"]) == (tee, status, fmspc)
    assert document["assurance"] == "hardware"
    code, document = verify(capsys, *files, "--at", str(INTEL_TIME + 400 * 86_400))
    assert (code, document["verdict"], document["tcb_status"]) == (1, "refused", None)
    assert document["reason"]


def test_simulated_quote_verifies_under_the_simulated_root_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    platform = home / "simulated-platform"
    create_directory(platform, int(time.time()))

    quote = SimulatedPlatform(platform).quote(bytes(range(64)))
    file = tmp_path / "quote.hex"
    file.write_text(quote.hex())
    collateral = platform / "collateral_sgx.json"
    words = ("--quote", str(file), "--collateral", str(collateral), "--home", str(home))
    code, document = verify(capsys, *words, "--root", "simulated")
    assert (code, document["verdict"], document["assurance"]) == (0, "verified", "simulated")
    assert document["report_data"] == "0x" + bytes(range(64)).hex()
    code, document = verify(capsys, *words)
    assert (code, document["verdict"]) == (1, "refused")
    damaged = bytearray(quote)
    damaged[400] ^= 1
    file.write_text(damaged.hex())
    assert verify(capsys, *words, "--root", "simulated")[0] == 1


def test_refuses_what_is_no_quote(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file, collateral = tmp_path / "quote", tmp_path / "collateral.json"
    file.write_bytes(b"not a quote")
    collateral.write_text("{}")
    code, document = verify(capsys, "--quote", str(file), "--collateral", str(collateral))
    assert (code, document["verdict"]) == (1, "refused")
