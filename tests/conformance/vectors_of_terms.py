"""Vectors of identifiers, signatures, prices and blobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from coincurve import PrivateKey

from goldengrain_protocol import eip712
from tests.conformance.operations import OPERATIONS, tohex, unhex
from tests.conformance.vector import BUYER, CAPTURED, MARKET, Vector


def _terms() -> dict[str, Any]:
    captured = json.loads(CAPTURED.read_text())
    return {"benchmark": captured["benchmark"], "submission": captured["submission"]}


def identifier_vectors() -> Iterator[Vector]:
    base = _terms() | {
        "chain_id": 31337, "market": MARKET, "signer": "0x" + "09" * 20,
        "order": {"buyer": BUYER, "deadline": 1_700_000_000, "hashlock": "0x" + "06" * 32},
    }  # fmt: skip
    yield Vector("identifiers", "all", "identifiers", "every identifier", base)
    captured = json.loads(CAPTURED.read_text())
    real = base | {"market": captured["market"], "chain_id": captured["chain_id"]}
    yield Vector("identifiers", "as-the-contract", "identifiers",
                 "benchmark_id and submission_id equal those of a real contract", real)  # fmt: skip
    erc20 = list(base["benchmark"])
    erc20[1], erc20[15] = ["0x" + "0c" * 20, "0x" + "0d" * 20, 0], [[1, 1]]
    yield Vector("identifiers", "erc20-one-point", "identifiers", "token sale, one curve point",
                 base | {"benchmark": erc20})  # fmt: skip
    yield Vector("identifiers", "validate", "validate_benchmark", "terms the market accepts",
                 {"benchmark": base["benchmark"]})  # fmt: skip
    for name, at, value, reason in (
        ("quorum-even", 9, 2, "quorum"), ("quorum-seven", 9, 7, "quorum"), ("assurance-zero", 7, 0, "assurance"),
        ("tcb-revoked", 8, 64, "tcb_allowed"), ("step-zero", 12, 0, "step_ppm"), ("cap-zero", 11, 0, "cap"),
        ("fee-too-high", 10, 2**96, "fee_wei"), ("royalty-above-price", 1, [MARKET, BUYER, 10_001], "royalty"),
        ("royalty-for-nobody", 1, [MARKET, "0x" + "00" * 20, 1], "recipient"), ("curve-empty", 15, [], "points"),
        ("curve-score-repeats", 15, [[5, 1], [5, 2]], "rise"), ("curve-price-falls", 15, [[5, 2], [6, 1]], "fall"),
        ("curve-price-zero", 15, [[5, 0]], "prices"), ("curve-score-above-one", 15, [[1_000_001, 1]], "scores"),
        ("window-too-long", 14, 30 * 86_400 + 1, "result_window_s"),
    ):  # fmt: skip
        terms = list(base["benchmark"])
        terms[at] = value
        yield Vector("identifiers", f"refuse-{name}", "validate_benchmark", name.replace("-", " "),
                     {"benchmark": terms}, "invalid", reason)  # fmt: skip


def _result(**more: Any) -> dict[str, Any]:
    return {
        "submission_id": "0x" + "11" * 32, "outcome": 1, "score_ppm": 912_000, "bound_ppm": 900_000,
        "worker": "0x" + "12" * 20, "anchor_number": 4_000_000, "anchor_hash": "0x" + "13" * 32,
        "evidence_digest": "0x" + "14" * 32,
    } | more  # fmt: skip


def eip712_vectors() -> Iterator[Vector]:

    at = {"chain_id": 31337, "market": MARKET}
    result = at | {"result": _result()}
    yield Vector("eip712", "result", "result_digest", "what an enclave signs", result)
    yield Vector("eip712", "result-failed", "result_digest", "a failed model",
                 at | {"result": _result(outcome=2, score_ppm=0, bound_ppm=0)})  # fmt: skip
    offer = {"submission_id": "0x" + "11" * 32, "buyer": BUYER, "buyer_key": "0x" + "15" * 32,
             "hashlock": "0x" + "16" * 32, "sealed_pad": "0x" + "17" * 80}  # fmt: skip
    yield Vector("eip712", "offer", "offer_digest", "what an enclave signs", at | {"offer": offer})
    quote = {"chain_id": 31337, "verifier": MARKET, "quote_digest": "0x" + "18" * 32, "measurement": "0x" + "19" * 32,
             "report_data_high": "0x" + "1a" * 32, "report_data_low": "0x" + "00" * 32, "tcb_status": 3,
             "expiry": 1_800_000_000, "platform": "0x" + "1b" * 32}  # fmt: skip
    yield Vector("eip712", "quote-verified", "quote_verified_digest", "what an auditor signs", quote)
    yield Vector("eip712", "platform-revoked", "platform_revoked_digest", "what an auditor signs",
                 {"chain_id": 31337, "verifier": MARKET, "platform": "0x" + "1b" * 32})  # fmt: skip

    digest = OPERATIONS["result_digest"](result)["digest"]
    raw = PrivateKey(bytes([42]) * 32).sign_recoverable(unhex(digest), hasher=None)
    signature = raw[:64] + bytes([27 + raw[64]])
    order = eip712.SECP256K1_ORDER
    s = int.from_bytes(signature[32:64], "big")
    high = signature[:32] + (order - s).to_bytes(32, "big") + bytes([55 - signature[64]])

    def recover(name: str, says: str, sig: bytes, expect: str = "accept", reason: str = "") -> Vector:
        arguments = {"digest": digest, "signature": tohex(sig)}
        return Vector("eip712", name, "recover_signer", says, arguments, expect, reason)

    yield recover("recover", "signed with the private key 2a..2a", signature)
    yield recover("refuse-high-s", "the same with the other s", high, "verification", "upper half")
    yield recover(
        "refuse-v", "v is 0 or 1", signature[:64] + bytes([signature[64] - 27]), "invalid", "27 or 28"
    )
    yield recover("refuse-r-zero", "r is 0", bytes(32) + signature[32:], "invalid", "1..n")
    yield recover("refuse-s-zero", "s is 0", signature[:32] + bytes(32) + signature[64:], "invalid", "1..n")
    yield recover("refuse-r-order", "r is n", order.to_bytes(32, "big") + signature[32:], "invalid", "1..n")
    yield recover("refuse-r-no-point", "no point has this r", (5).to_bytes(32, "big") + signature[32:],
                  "verification", "no key")  # fmt: skip
    yield recover("refuse-short", "64 bytes", signature[:64], "invalid", "65 bytes")
    for name, more, reason in (
        ("outcome", {"outcome": 3}, "outcome"), ("score-above-one", {"score_ppm": 1_000_001}, "at most"),
        ("failed-with-score", {"outcome": 2}, "failed model"),
    ):  # fmt: skip
        yield Vector("eip712", f"refuse-result-{name}", "result_digest", name.replace("-", " "),
                     at | {"result": _result(**more)}, "invalid", reason)  # fmt: skip


def pricing_vectors() -> Iterator[Vector]:
    curve = [[500_000, 100], [700_000, 101], [900_000, 1_000_003], [1_000_000, 1_000_003]]
    for bound in (0, 499_999, 500_000, 699_999, 700_000, 700_001, 899_999, 900_000, 950_000, 1_000_000):
        yield Vector("pricing", f"price-{bound}", "price_of", "rounded down between two points",
                     {"curve": curve, "bound_ppm": bound})  # fmt: skip
    top = [[0, 1], [1_000_000, 2**88 - 1]]
    yield Vector("pricing", "price-largest", "price_of", "no overflow", {"curve": top, "bound_ppm": 999_999})
    for name, bad, reason in (
        ("empty", [], "points"), ("nine-points", [[n, n] for n in range(1, 10)], "points"),
        ("price-zero", [[1, 0]], "prices"), ("price-too-large", [[1, 2**88]], "prices"),
        ("scores-equal", [[1, 1], [1, 2]], "rise"), ("prices-fall", [[1, 2], [2, 1]], "fall"),
        ("score-too-large", [[1_000_001, 1]], "scores"),
    ):  # fmt: skip
        yield Vector("pricing", f"refuse-curve-{name}", "price_of", name.replace("-", " "),
                     {"curve": bad, "bound_ppm": 1}, "invalid", reason)  # fmt: skip
    failed = _result(outcome=2, score_ppm=0, bound_ppm=0)

    def settled(name: str, says: str, results: list[dict[str, Any]], best: int, reserve: int) -> Vector:
        return Vector("pricing", f"settle-{name}", "settle", says,
                      {"curve": curve, "results": results, "best_bound_ppm": best, "step_ppm": 1000,
                       "reserve": reserve})  # fmt: skip

    yield settled("priced", "first result", [_result()], 0, 0)
    yield settled("exactly-one-step", "improved by the step", [_result()], 899_000, 0)
    yield settled("less-than-a-step", "not improved", [_result()], 899_001, 0)
    yield settled("reserve-met", "price equals the reserve", [_result()], 0, 1_000_003)
    yield settled("reserve-above", "the curve gives less than the reserve", [_result()], 0, 1_000_004)
    yield settled("below-curve", "no price below the first point", [_result(bound_ppm=499_999)], 0, 0)
    yield settled("failed", "the model failed", [failed], 0, 0)
    median = [_result(bound_ppm=900_000), _result(bound_ppm=600_000), _result(bound_ppm=700_000)]
    yield settled("median", "the middle one of three", median, 0, 0)
    yield settled(
        "median-with-failure", "a failure ranks below every score", [median[0], failed, median[1]], 0, 0
    )
    yield settled("median-of-failures", "two of three failed", [failed, median[0], failed], 0, 0)
    base = {
        "amount": 1_000_003,
        "royalty_bps": 250,
        "fee_wei": 1001,
        "workers": 3,
        "ppm": 912_345,
        "step": 1000,
    }
    yield Vector("pricing", "shares", "shares", "royalty down; fee remainder to the first", base)
    yield Vector("pricing", "shares-all", "shares", "all to the royalty; no fee; no step",
                 base | {"royalty_bps": 10_000, "fee_wei": 0, "step": 0})  # fmt: skip
    yield Vector("pricing", "refuse-royalty", "shares", "royalty above the price",
                 base | {"royalty_bps": 10_001}, "invalid", "royalty")  # fmt: skip


def blob_vectors() -> Iterator[Vector]:
    mib = 2**20
    for size in (0, 1, mib - 1, mib, mib + 1, 3 * mib):
        yield Vector("blobs", f"digest-{size}", "blob_digest", f"{size} bytes",
                     {"data": {"repeat": "0x677261696e", "size": size}})  # fmt: skip
    two = OPERATIONS["blob_digest"]({"data": {"repeat": "0x677261696e", "size": mib + 1}})["chunk_list"]
    yield Vector("blobs", "list-two", "decode_chunk_list", "two pieces", {"data": two})
    for name, says, data, reason in (
        ("short", "7 bytes", "0x00000000000000", "at least 8"),
        ("digest-missing", "a digest too few", two[:-64], "has 72 bytes"),
        ("digest-more", "a digest too many", two + "00" * 32, "has 72 bytes"),
        ("too-large", "2^33 bytes", "0x0000000200000000", "at most"),
    ):
        yield Vector(
            "blobs", f"refuse-list-{name}", "decode_chunk_list", says, {"data": data}, "invalid", reason
        )

    def piece(
        name: str, says: str, index: int, data: Any, expect: str = "accept", reason: str = ""
    ) -> Vector:
        arguments = {"chunk_list": two, "index": index, "piece": data}
        return Vector("blobs", name, "verify_piece", says, arguments, expect, reason)

    last = "0x" + (b"grain" * (mib // 5 + 2))[mib : mib + 1].hex()
    yield piece("piece-last", "the short last piece", 1, last)
    yield piece("refuse-piece-altered", "another byte", 1, "0x00", "verification", "does not match")
    yield piece("refuse-piece-long", "a byte too many", 1, last + "00", "verification", "must have 1 bytes")
    yield piece("refuse-piece-index", "there is no third piece", 2, last, "invalid", "index")
