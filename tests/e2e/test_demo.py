"""`gg demo --json` from end to end: a real chain, real models, real money arithmetic."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 300


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "goldengrain.cli.main", "demo", "--json", "--report", "report.json"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document == json.loads((Path(directory) / "report.json").read_text())
    return document


def test_scores_and_prices_at_least_four_real_models(report: dict[str, Any]) -> None:
    submissions = report["submissions"]
    assert len({row["name"] for row in submissions}) >= 4
    assert report["assurance"] == "simulated"
    for row in submissions:
        assert 0 < row["bound_ppm"] <= row["score_ppm"] <= 1_000_000
        assert 0 < row["submit_gas"] <= 85_000
        assert 0 < row["result_gas"] <= 108_000


def test_leaves_a_bad_model_unpriced(report: dict[str, Any]) -> None:
    unpriced = [row for row in report["submissions"] if row["price"] is None]
    assert [row["name"] for row in unpriced] == ["linear-60"]
    assert unpriced[0]["price_wei"] is None
    assert unpriced[0]["state"] == "scored, not for sale"


def test_sells_for_eth_and_for_a_token_and_delivers_what_was_scored(report: dict[str, Any]) -> None:
    by_currency = {row["currency"]: row for row in report["sales"]}
    assert set(by_currency) == {"ETH", "USDG"}
    for sale in by_currency.values():
        assert sale["delivered"] is True
        assert sale["price"] > 0
        assert sale["seconds"] > 0
    assert by_currency["ETH"]["order_gas"] + by_currency["ETH"]["claim_gas"] <= 100_000
    assert by_currency["USDG"]["order_gas"] > 0


def test_refunds_an_order_that_nobody_delivered(report: dict[str, Any]) -> None:
    (refund,) = report["refunds"]
    assert refund["refunded"] is True
    assert refund["refund_gas"] > 0


def test_money_adds_up_to_the_wei(report: dict[str, Any]) -> None:
    money = report["money"]
    assert money["unaccounted_wei"] == 0
    assert money["unaccounted_tokens"] == 0
    assert money["market_wei"] == 0
    assert money["market_tokens"] == 0

    accounts = money["accounts"]
    fee_wei = 10**15
    prices = {(row["currency"], row["name"]): row["price"] for row in report["sales"]}
    sold_eth, sold_usd = prices["ETH", "forest"], prices["USDG", "mlp"]
    fees_of = {f"dev-{row['name']}": 0 for row in report["submissions"]}
    for row in report["submissions"]:
        fees_of[f"dev-{row['name']}"] += fee_wei

    def change(name: str) -> int:
        account = accounts[name]
        return int(account["end_wei"] - account["start_wei"] + account["gas_wei"])

    assert change("buyer") == -sold_eth
    assert change("worker") == sum(fees_of.values())
    for name, fees in fees_of.items():
        assert change(name) == (sold_eth if name == "dev-forest" else 0) - fees
    royalty = sold_usd * 250 // 10_000
    start = 10_000 * 10**6
    assert accounts["buyer"]["tokens"] == start - sold_usd
    assert accounts["dev-mlp"]["tokens"] == start + sold_usd - royalty
    assert accounts["provider"]["tokens"] == start + royalty
