"""Make the conformance vectors. Usage and format: README.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from goldengrain_protocol import eip712, sealing
from goldengrain_protocol.constants import CHUNK_BYTES
from goldengrain_protocol.types import address_from_hex, hash32_from_hex
from tests.conformance.operations import OPERATIONS, tohex, unhex

HERE = Path(__file__).parent
VECTORS = HERE / "vectors"
CAPTURED = HERE / "captured" / "osaka_market.json"

SECRET = "0x" + bytes(range(32)).hex()
OTHER_SECRET = "0x" + bytes(range(1, 33)).hex()
SALT = "0x" + bytes(range(64, 96)).hex()
MARKET = "0x" + "a1" * 20
BUYER = "0x" + "b2" * 20


@dataclass(frozen=True)
class Vector:
    """One file. `expect` is accept, or the category of the refusal with `reason` part of its message."""

    layer: str
    name: str
    operation: str
    says: str
    input: dict[str, Any]
    expect: str = "accept"
    reason: str = ""
    randomised: bool = False

    @property
    def path(self) -> str:
        return f"{self.layer}/{self.name}.json"

    def text(self) -> str:
        body: dict[str, Any] = {
            "layer": self.layer,
            "operation": self.operation,
            "says": self.says,
            "input": self.input,
            "expect": self.expect,
        }
        if self.expect == "accept":
            body["output"] = OPERATIONS[self.operation](self.input)
        else:
            body["reason"] = self.reason
        body["randomised"] = self.randomised
        return json.dumps(body, indent=1) + "\n"


def deterministic_files() -> dict[str, str]:
    """Return path (relative to `vectors`) and text of every vector that needs no randomness."""
    makers = (
        container_vectors, key_vectors, context_vectors, identifier_vectors, eip712_vectors, pricing_vectors,
        blob_vectors, proof_vectors, trie_vectors, rlp_vectors, wire_vectors, frame_vectors, spec_vectors,
        attestation_vectors,
    )  # fmt: skip
    return {vector.path: vector.text() for maker in makers for vector in maker()}


def container_vectors() -> Iterator[Vector]:
    def recipe(
        size: int, *edits: tuple[int, int, Any], kind: int = 1, secret: str = SECRET
    ) -> dict[str, Any]:
        plain = {"repeat": "0x676f6c64656e20677261696e2e", "size": size}
        made: dict[str, Any] = {"encrypt": {"plaintext": plain, "kind": kind, "secret": secret, "salt": SALT}}
        if edits:
            made["edits"] = [{"at": at, "remove": remove, "insert": insert} for at, remove, insert in edits]
        return made

    def decrypt(
        name: str, says: str, data: Any, expect: str = "accept", reason: str = "", **more: Any
    ) -> Vector:
        arguments = {"container": data, "kind": 1, "secret": SECRET} | more
        return Vector("container", name, "decrypt_container", says, arguments, expect, reason)

    chunk, sealed, head = CHUNK_BYTES, CHUNK_BYTES + 16, 82
    for size, name in (
        (0, "empty"),
        (1, "one-byte"),
        (chunk, "one-full-chunk"),
        (2 * chunk + 5, "three-chunks"),
    ):
        plain = recipe(size)["encrypt"]
        yield Vector("container", f"encrypt-{name}", "encrypt_container", "deterministic encryption", plain)
        yield decrypt(f"decrypt-{name}", f"a plaintext of {size} bytes", recipe(size))
    yield decrypt("decrypt-testset", "kind 2", recipe(9, kind=2), kind=2)
    key = OPERATIONS["derive_keys"](_key_input())["content_key"]
    buyer = {"container": recipe(70), "kind": 1, "content_key": key}
    yield Vector("container", "decrypt-with-content-key", "decrypt_container",
                 "the buyer has K and not s", buyer)  # fmt: skip

    refusals = (
        ("magic", "first byte altered", recipe(9, (0, 1, "0x48")), "invalid", "GGC1"),
        ("version", "version 2", recipe(9, (4, 1, "0x02")), "invalid", "version"),
        ("kind-unknown", "kind 3", recipe(9, (5, 1, "0x03")), "invalid", "kind"),
        ("chunk-size", "another chunk size", recipe(9, (8, 1, "0x80")), "invalid", "chunk size"),
        ("too-large", "states 2^40 bytes", recipe(9, (74, 8, "0x0000010000000000")), "invalid", "at most"),
        ("header-short", "81 bytes", recipe(9, (81, 26, "0x")), "invalid", "82 bytes"),
        ("salt", "salt altered: another key", recipe(9, (10, 1, "0xff")), "verification", "chunk 0"),
        ("commitment", "commitment altered", recipe(9, (42, 1, "0xff")), "verification", "another secret"),
        ("ciphertext-bit", "one bit of the ciphertext", recipe(1, (head, 1, "0xff")), "verification", "chunk 0"),
        ("tag-bit", "one byte of the tag", recipe(0, (head, 1, "0x00")), "verification", "chunk 0"),
        ("truncated-in-chunk", "last byte missing", recipe(9, (head + 24, 1, "0x")), "verification", "truncated"),
        ("truncated-at-chunk", "last chunk missing", recipe(2 * chunk, (head + sealed, sealed, "0x")),
         "verification", "truncated"),
        ("truncated-with-header", "last chunk missing and the header says so",
         recipe(2 * chunk, (head + sealed, sealed, "0x"), (74, 8, "0x0000000000100000")), "verification", "chunk 0"),
        ("extended", "one byte too many", recipe(9, (head + 25, 0, "0x00")), "verification", "after its last"),
        ("last-chunk-early", "the second chunk in the place of the first", recipe(2 * chunk, (head, sealed, "0x"),
         (head + sealed, 0, {"repeat": "0x00", "size": sealed})), "verification", "chunk 0"),
    )  # fmt: skip
    for name, says, data, expect, reason in refusals:
        yield decrypt(f"refuse-{name}", says, data, expect, reason)
    yield decrypt(
        "refuse-wrong-kind", "a test set where a model is due", recipe(9, kind=2), "verification", "kind"
    )
    yield decrypt("refuse-wrong-secret", "encrypted under another secret", recipe(9, secret=OTHER_SECRET),
                  "verification", "another secret")  # fmt: skip
    middle = {"repeat": "0x676f6c64656e20677261696e2e", "size": 3 * chunk}
    swap = {"encrypt": {"plaintext": middle, "kind": 1, "secret": SECRET, "salt": SALT}}
    cut = swap | {"edits": [{"at": 0, "remove": head + sealed, "insert": "0x"},
                            {"at": sealed, "remove": sealed, "insert": "0x"}]}  # fmt: skip
    swapped = swap | {"edits": [{"at": head + sealed, "remove": sealed, "insert": "0x"},
                                {"at": head, "remove": 0, "insert": cut}]}  # fmt: skip
    yield decrypt("refuse-chunks-swapped", "first and second chunk change places", swapped, "verification",
                  "chunk 0")  # fmt: skip
    repeated = swap | {"edits": [{"at": head, "remove": sealed, "insert": cut}]}
    yield decrypt("refuse-chunk-repeated", "the second chunk stands in both places", repeated, "verification",
                  "chunk 0")  # fmt: skip


def _key_input() -> dict[str, Any]:
    return {
        "secret": SECRET, "salt": SALT, "chain_id": 31337, "market": MARKET, "buyer": BUYER,
        "submission_id": "0x" + "c3" * 32, "benchmark_id": "0x" + "d4" * 32, "buyer_key": "0x" + "e5" * 32,
        "account_key": "0x" + "f6" * 32, "order_nonce": 1,
    }  # fmt: skip


def key_vectors() -> Iterator[Vector]:
    base = _key_input()
    yield Vector("keys", "schedule", "derive_keys", "every key that follows from these", base)
    yield Vector("keys", "schedule-other-buyer", "derive_keys", "another buyer key, another pad",
                 base | {"buyer_key": "0x" + "e6" * 32, "order_nonce": 2})  # fmt: skip
    for name, key, value, reason in (
        ("secret-short", "secret", "0x" + "11" * 31, "32 bytes"),
        ("buyer-key-short", "buyer_key", "0x" + "11" * 31, "32 bytes"),
        ("account-key-long", "account_key", "0x" + "11" * 33, "32 bytes"),
        ("chain-id-too-large", "chain_id", 2**256, "uint256"),
    ):
        yield Vector("keys", f"refuse-{name}", "derive_keys", name.replace("-", " "), base | {key: value},
                     "invalid", reason)  # fmt: skip


CONTEXTS: dict[str, dict[str, Any]] = {
    "submission": {
        "for": "submission", "chain_id": 31337, "market": MARKET, "benchmark_id": "0x" + "01" * 32,
        "developer": "0x" + "02" * 20, "content_digest": "0x" + "03" * 32,
    },
    "testset": {
        "for": "testset", "chain_id": 31337, "market": MARKET, "benchmark_id": "0x" + "01" * 32,
        "testset_digest": "0x" + "04" * 32,
    },
    "offer": {
        "for": "offer", "chain_id": 31337, "market": MARKET, "submission_id": "0x" + "05" * 32, "buyer": BUYER,
        "hashlock": "0x" + "06" * 32,
    },
}  # fmt: skip


def context_vectors() -> Iterator[Vector]:
    for name, context in CONTEXTS.items():
        yield Vector("sealing", f"context-{name}", "seal_context", "the bytes that go into info",
                     {"context": context})  # fmt: skip

    def entry(n: int) -> list[bytes]:
        return [bytes([n]) * 20, bytes([n]) * 80]

    def keys(name: str, says: str, data: bytes, expect: str = "accept", reason: str = "") -> Vector:
        return Vector(
            "sealing", f"keys-{name}", "decode_sealed_keys", says, {"data": tohex(data)}, expect, reason
        )

    from goldengrain_protocol.canonical import encode

    yield keys("two", "two enclaves, ascending", encode([entry(1), entry(2)]))
    yield keys("refuse-unordered", "descending signers", encode([entry(2), entry(1)]), "invalid", "ascending")
    yield keys("refuse-twice", "one enclave twice", encode([entry(1), entry(1)]), "invalid", "ascending")
    yield keys("refuse-empty", "nobody", encode([]), "invalid", "at least one")
    yield keys("refuse-short", "79 sealed bytes", encode([[bytes(20), bytes(79)]]), "invalid", "80 bytes")
    yield keys("refuse-trailing", "a byte too many", encode([entry(1)]) + b"\0", "invalid", "after the end")


def sealed_vectors() -> Iterator[Vector]:
    """Randomised: made once, then only checked."""
    private, context = "0x" + "77" * 32, CONTEXTS["offer"]
    public = sealing.x25519_public(unhex(private))
    sealed = sealing.seal(
        public, bytes(range(32)), unhex(OPERATIONS["seal_context"]({"context": context})["context"])
    )

    def opened(name: str, says: str, expect: str = "accept", reason: str = "", **more: Any) -> Vector:
        base = {"private_key": private, "sealed": tohex(sealed), "context": context} | more
        return Vector("sealing", name, "open_sealed", says, base, expect, reason, randomised=True)

    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    enc_flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    no = ("verification", "does not open")
    yield opened("open", "a 32-byte pad")
    yield opened("open-refuse-key", "another private key", *no, private_key="0x" + "78" * 32)
    yield opened("open-refuse-chain", "another chain id", *no, context=context | {"chain_id": 1})
    yield opened("open-refuse-buyer", "another buyer", *no, context=context | {"buyer": MARKET})
    yield opened("open-refuse-tag", "last byte altered", *no, sealed=tohex(flipped))
    yield opened("open-refuse-enc", "encapsulated key altered", *no, sealed=tohex(enc_flipped))
    yield opened("open-refuse-low-order", "encapsulated key zero", *no, sealed=tohex(bytes(32) + sealed[32:]))
    yield opened("open-refuse-short", "47 bytes", "invalid", "at least 48", sealed=tohex(sealed[:47]))


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
    from coincurve import PrivateKey

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


def proof_vectors() -> Iterator[Vector]:
    from goldengrain_protocol.config import ChainTrustConfig, EnclaveConfig
    from goldengrain_protocol.proofs import ChainProof, DevPinned, dev_pinned

    c = json.loads(CAPTURED.read_text())
    headers = [unhex(header) for header in c["headers"]]
    account = tuple(unhex(node) for node in c["account_proof"])
    storage = tuple(tuple(unhex(node) for node in nodes) for nodes in c["storage_proofs"])
    registry = address_from_hex(c["registry"])

    def vector(
        name: str, says: str, expect: str = "accept", reason: str = "", *, market: str = c["market"],
        confirmations: int = 2, evidence: bytes = dev_pinned.encode_evidence(headers), header: bytes = headers[0],
        account_proof: tuple[bytes, ...] = account, storage_proofs: tuple[tuple[bytes, ...], ...] = storage,
        slots: list[str] = c["slots"],
    ) -> Vector:  # fmt: skip
        trust = DevPinned(hash32_from_hex(c["genesis_hash"]), confirmations).config()
        config = EnclaveConfig(c["chain_id"], address_from_hex(market), registry, trust)
        proof = ChainProof(evidence, header, account_proof, storage_proofs)
        return Vector("proofs", name, "market_state", says,
                      {"config": tohex(config.encode()), "proof": tohex(proof.encode()), "slots": slots},
                      expect, reason)  # fmt: skip

    no = "verification"
    swapped = (storage[1], storage[0], *storage[2:])
    flipped = bytes([account[0][0], account[0][1], account[0][2], account[0][3] ^ 1]) + account[0][4:]
    later = headers[0][:-1] + bytes([headers[0][-1] ^ 1])
    yield vector("market", "open benchmark and submission, record, and an absent slot")
    yield vector("market-no-confirmations", "0 confirmations asked", confirmations=0,
                 evidence=dev_pinned.encode_evidence(headers[:1]))  # fmt: skip
    yield vector("refuse-unconfirmed", "3 confirmations asked, 2 given", no, "confirmations", confirmations=3)
    yield vector("refuse-evidence-empty", "no header at all", no, "confirmations", confirmations=0,
                 evidence=b"\xc0")  # fmt: skip
    yield vector("refuse-not-linked", "headers in another order", no, "does not follow",
                 evidence=dev_pinned.encode_evidence([headers[0], headers[2], headers[1]]))  # fmt: skip
    yield vector("refuse-gap", "a header left out", no, "does not follow", confirmations=1,
                 evidence=dev_pinned.encode_evidence([headers[0], headers[2]]))  # fmt: skip
    yield vector("refuse-header-other", "a later block's header", no, "trusted block", header=headers[1])
    yield vector("refuse-header-altered", "last byte altered", no, "trusted block", header=later)
    yield vector("refuse-header-trailing", "a byte too many", "invalid", "after the end",
                 header=headers[0] + b"\0")  # fmt: skip
    yield vector("refuse-market-other", "proof of another account", no, "", market="0x" + "55" * 20)
    yield vector("refuse-account-altered", "a byte of the root node", no, "does not hash",
                 account_proof=(flipped, *account[1:]))  # fmt: skip
    yield vector("refuse-account-short", "last node missing", no, "ends before", account_proof=account[:-1])
    yield vector("refuse-account-swapped", "nodes swapped", no, "does not hash", account_proof=account[::-1])
    yield vector("refuse-account-extra", "a node too many", no, "does not visit",
                 account_proof=(*account, account[-1]))  # fmt: skip
    yield vector("refuse-account-repeated", "root node twice", no, "does not hash",
                 account_proof=(account[0], *account))  # fmt: skip
    yield vector("refuse-account-absent", "absence proven", no, "no account", market=c["absent_account"],
                 account_proof=tuple(unhex(node) for node in c["absent_account_proof"]))  # fmt: skip
    yield vector("refuse-storage-swapped", "proofs of two slots swapped", no, "", storage_proofs=swapped)
    yield vector("refuse-storage-short", "last node missing", no, "ends before",
                 storage_proofs=(storage[0][:-1], *storage[1:]))  # fmt: skip
    yield vector("refuse-storage-empty", "no node", no, "ends before", storage_proofs=((), *storage[1:]))
    yield vector(
        "refuse-storage-count", "a proof too few", "invalid", "expected 4", storage_proofs=storage[:3]
    )
    bad = ChainTrustConfig("dev-pinned", b"\xc0")
    broken = EnclaveConfig(c["chain_id"], address_from_hex(c["market"]), registry, bad)
    whole = ChainProof(dev_pinned.encode_evidence(headers), headers[0], account, storage)
    yield Vector("proofs", "refuse-checkpoint", "market_state", "checkpoint without fields",
                 {"config": tohex(broken.encode()), "proof": tohex(whole.encode()), "slots": c["slots"]},
                 "invalid", "2 fields")  # fmt: skip


def trie_vectors() -> Iterator[Vector]:
    from goldengrain_protocol.canonical import encode
    from goldengrain_protocol.hashing import keccak256

    # A tree by hand: an extension over 62 nibbles, a branch, and under it leaves small enough to be embedded.
    shared, key = bytes(31), bytes(31) + b"\x12"
    leaf, other = [b"\x32", b"\x07"], [b"\x33", b"\x08"]
    branch: list[Any] = [b""] * 17
    branch[1], branch[2] = leaf, other
    below = encode(branch)
    root_node = encode([b"\x00" + shared, branch if len(below) < 32 else keccak256(below)])
    nodes = [root_node] if len(below) < 32 else [root_node, below]
    root = keccak256(root_node)
    empty = keccak256(b"\x80")

    def proof(
        name: str, says: str, expect: str = "accept", reason: str = "", *, at: bytes = key,
        given: list[bytes] = nodes, under: bytes = root,
    ) -> Vector:  # fmt: skip
        arguments = {"root": tohex(under), "key": tohex(at), "nodes": [tohex(node) for node in given]}
        return Vector("proofs", f"trie-{name}", "trie_proof", says, arguments, expect, reason)

    yield proof("embedded", "the leaf is embedded in its branch")
    yield proof("absent-branch", "the branch has no such child", at=shared + b"\x42")
    yield proof("absent-leaf", "the leaf has another path", at=shared + b"\x13")
    yield proof("absent-extension", "the extension has another path", at=b"\x01" + key[1:], given=[root_node])
    yield proof("empty", "empty trie, no node", given=[], under=empty)
    yield proof("empty-node", "empty trie, its node", given=[b"\x80"], under=empty)
    yield proof("refuse-empty-extra", "a node for an empty trie", "verification", "empty", under=empty)
    yield proof("refuse-no-node", "nothing", "verification", "ends before", given=[])
    yield proof("refuse-root", "another root", "verification", "does not hash", under=keccak256(b"x"))
    for name, says, node, reason in (
        ("three-items", "neither 2 nor 17 items", [b"", b"", b""], "2 or 17"),
        ("path-flag", "unknown path flag", [b"\x40", b"v"], "hex-prefix"),
        ("path-padding", "padding not zero", [b"\x01", b"v"], "padding"),
        ("path-empty", "no path at all", [b"", b"v"], "hex-prefix"),
        ("extension-no-path", "an extension of no nibble", [b"\x00", bytes(32)], "path and a child"),
        ("extension-no-child", "an extension to nothing", [b"\x00" + shared, b""], "path and a child"),
        ("reference-size", "a reference of 31 bytes", [b"\x00" + shared, bytes(31)], "0 or 32"),
        ("value-list", "a value that is a list", [b"\x20" + key, [b"v"]], "byte string"),
    ):
        made = encode(node)
        yield proof(f"refuse-{name}", says, "invalid", reason, given=[made], under=keccak256(made))
    big = encode([b"\x20" + key, bytes(1000)])
    yield proof("refuse-node-size", "a node of more than 1,024 bytes", "invalid", "at most 1024", given=[big],
                under=keccak256(big))  # fmt: skip
    yield proof("refuse-node-count", "67 nodes", "invalid", "at most 66", given=[root_node] * 67)


def rlp_vectors() -> Iterator[Vector]:
    for name, data in (
        ("empty-string", "80"), ("empty-list", "c0"), ("byte", "7f"), ("byte-80", "8180"), ("nested", "c3c2c1c0"),
        ("long-string", "b838" + "61" * 56), ("long-list", "f838" + "80" * 56), ("depth-8", "c7c6c5c4c3c2c1c0"),
    ):  # fmt: skip
        yield Vector("rlp", name, "decode_rlp", name.replace("-", " "), {"data": "0x" + data})
    for name, data, reason in (
        ("nothing", "", "truncated"), ("trailing", "8080", "after the end"), ("truncated", "8361", "truncated"),
        ("prefix-truncated", "b9", "truncated"), ("byte-prefixed", "8100", "single byte"),
        ("long-form-short", "b801ff", "long form"), ("length-zero", "b90038" + "61" * 56, "leading zero"),
        ("list-long-form-short", "f801c0", "long form"), ("inner-overruns", "c28361", "truncated"),
        ("depth-9", "c8c7c6c5c4c3c2c1c0", "nested"), ("huge", "bfffffffffffffffff", "truncated"),
        ("items", "fa010001" + "80" * 65_537, "items"),
    ):  # fmt: skip
        yield Vector("rlp", f"refuse-{name}", "decode_rlp", name.replace("-", " "), {"data": "0x" + data}, "invalid",
                     reason)  # fmt: skip


def wire_vectors() -> Iterator[Vector]:
    from goldengrain_protocol import canonical, wire
    from tests.conformance.wire_samples import REPLIES, REQUESTS, evidence

    for name, request in REQUESTS.items():
        data = wire.encode_request(request)
        yield Vector("wire", f"request-{name}", "decode_request", f"a {name} request", {"data": tohex(data)})
        items = canonical.decode(data)
        assert isinstance(items, list)
        short = canonical.encode(items[:-1])
        yield Vector("wire", f"refuse-request-{name}-short", "decode_request", "last field missing",
                     {"data": tohex(short)}, "invalid", "fields")  # fmt: skip
        yield Vector("wire", f"refuse-request-{name}-trailing", "decode_request", "a byte too many",
                     {"data": tohex(data + b"\0")}, "invalid", "after the end")  # fmt: skip
    for name, reply in REPLIES.items():
        data = wire.encode_reply(reply)
        yield Vector("wire", f"reply-{name}", "decode_reply", f"a {name} reply", {"data": tohex(data)})
        yield Vector("wire", f"refuse-reply-{name}-as-request", "decode_request", "a reply is no request",
                     {"data": tohex(data)}, "invalid", "request tag")  # fmt: skip
    yield Vector(
        "wire", "evidence", "decode_evidence", "published evidence", {"data": tohex(evidence().encode())}
    )

    def refused(name: str, says: str, items: Any, reason: str, operation: str = "decode_request") -> Vector:
        data = tohex(canonical.encode(items))
        return Vector("wire", f"refuse-{name}", operation, says, {"data": data}, "invalid", reason)

    trust = [b"dev-pinned", b"\xc0"]
    config = [b"\x01", bytes(20), bytes(20), trust]
    yield refused("tag", "unknown tag", [b"bootx", config, b""], "request tag")
    yield refused("tag-list", "the tag is a list", [[b"boot"], config, b""], "begins with its tag")
    yield refused(
        "chain-id-padded", "chain id with a leading zero", [b"boot", [b"\0\x01", *config[1:]], b""], "zero"
    )
    yield refused("chain-id-zero", "chain id 0", [b"boot", [b"", *config[1:]], b""], "chain id")
    yield refused("address-short", "19 bytes", [b"boot", [b"\x01", bytes(19), *config[2:]], b""], "20 bytes")
    yield refused("mode", "unknown chain trust", [b"boot", [*config[:3], [b"trust-me", b""]], b""], "mode")
    yield refused(
        "identity-large", "65,537 bytes of sealed identity", [b"boot", config, bytes(65_537)], "at most"
    )
    yield refused(
        "text", "text that is not utf-8", [b"error", b"invalid", b"\xff", b""], "utf-8", "decode_reply"
    )
    yield refused("category", "unknown category", [b"error", b"fatal", b"", b""], "category", "decode_reply")
    yield refused("signature", "64 bytes", [b"offered", [bytes(32), bytes(20), bytes(32), bytes(32), bytes(80)],
                  bytes(64)], "65 bytes", "decode_reply")  # fmt: skip
    yield refused(
        "evidence-version", "version 2", [b"\x02", *_evidence_items()[1:]], "version", "decode_evidence"
    )
    yield refused("evidence-outcome", "outcome 0", [*_evidence_items()[:10], b"", *_evidence_items()[11:]], "outcome",
                  "decode_evidence")  # fmt: skip


def _evidence_items() -> list[Any]:
    from goldengrain_protocol import canonical
    from tests.conformance.wire_samples import evidence

    items = canonical.decode(evidence().encode())
    assert isinstance(items, list)
    return items


def frame_vectors() -> Iterator[Vector]:
    frame = "0000000000000003616263"
    yield Vector("frames", "one", "decode_frames", "one frame", {"pieces": ["0x" + frame]})
    yield Vector("frames", "split", "decode_frames", "two frames, cut anywhere",
                 {"pieces": ["0x" + frame[:4], "0x" + frame[4:] + frame[:18], "0x" + frame[18:]]})  # fmt: skip
    for name, says, pieces, reason in (
        ("zero", "an empty payload", ["0x" + "00" * 8], "1.."),
        ("large", "2^32 + 1 bytes announced", ["0x0000000100000001"], "1.."),
        ("truncated", "stream ends inside a frame", ["0x" + frame[:-2]], "inside a frame"),
        ("header", "stream ends inside a header", ["0x000000"], "inside a frame"),
    ):
        yield Vector("frames", f"refuse-{name}", "decode_frames", says, {"pieces": pieces}, "invalid", reason)


CLASSIFICATION = """format = 1
title = "Handwritten digits"
task = "classification"
classes = 10

[[inputs]]
name = "image"
dtype = "float32"
shape = ["n", 784]

[output]
name = "probabilities"
dtype = "float32"
shape = ["n", 10]

[score]
metric = "accuracy"
confidence_ppm = 950000

[limits]
model_bytes = 50000000
memory_bytes = 2000000000
cpu_s = 60
wall_s = 120
batch = 256
"""
REGRESSION = (
    CLASSIFICATION.replace('"classification"\nclasses = 10', '"regression"')
    .replace('["n", 10]', '["n"]')
    .replace('"accuracy"\nconfidence_ppm = 950000', '"mae"\nconfidence_ppm = 950000\nreference = 2.5')
)


def spec_vectors() -> Iterator[Vector]:
    good = {"classification": CLASSIFICATION, "regression-mae": REGRESSION,
            "regression-r2": REGRESSION.replace('"mae"', '"r2"').replace("reference = 2.5\n", "")}  # fmt: skip
    for name, toml in good.items():
        yield Vector("spec", name, "decode_spec", name.replace("-", " "), {"toml": toml})
    for name, old, new, reason in (
        ("not-toml", "format = 1", "format: 1", "not TOML"),
        ("format", "format = 1", "format = 2", "format must be 1"),
        ("format-missing", "format = 1\n", "", "format is missing"),
        ("unknown-key", "classes = 10", "classes = 10\nseed = 1", "seed is not a known key"),
        ("unknown-limit", "batch = 256", "batch = 256\ngpu = 1", "limits.gpu"),
        ("task", '"classification"', '"ranking"', "task must be one of"),
        ("classes-one", "classes = 10", "classes = 1", "classes must be"),
        ("classes-text", "classes = 10", 'classes = "10"', "classes must be"),
        ("classes-true", "classes = 10", "classes = true", "classes must be"),
        ("output-classes", '["n", 10]', '["n", 9]', "output.shape"),
        ("batch-axis", '["n", 784]', "[1, 784]", '"n" followed'),
        ("size-zero", '["n", 784]', '["n", 0]', '"n" followed'),
        (
            "dtype",
            'dtype = "float32"\nshape = ["n", 784]',
            'dtype = "string"\nshape = ["n", 784]',
            "inputs.dtype",
        ),
        ("metric", '"accuracy"', '"r2"', "score.metric"),
        ("confidence", "950000", "1000000", "confidence_ppm"),
        ("reference-not-known", "950000", "950000\nreference = 1.0", "score.reference"),
        ("memory-small", "memory_bytes = 2000000000", "memory_bytes = 1", "limits.memory_bytes"),
        ("wall-missing", "wall_s = 120\n", "", "limits.wall_s is missing"),
        ("title-empty", '"Handwritten digits"', '""', "title must be"),
        ("title-newline", "Handwritten digits", "a\\nb", "title must be"),
        ("inputs-table", "[[inputs]]", "[inputs]", "inputs must be an array"),
        (
            "inputs-twice",
            "[output]",
            '[[inputs]]\nname = "image"\ndtype = "float32"\nshape = ["n"]\n[output]',
            "must differ",
        ),
        ("nested", "classes = 10", "classes = " + "[" * 5000, ""),
    ):
        if old not in CLASSIFICATION:
            raise SystemExit(f"spec vector {name} changes nothing")
        toml = CLASSIFICATION.replace(old, new, 1)
        yield Vector(
            "spec", f"refuse-{name}", "decode_spec", name.replace("-", " "), {"toml": toml}, "invalid", reason
        )
    for name, old, new, reason in (
        ("mae-without-reference", "reference = 2.5\n", "", "reference is missing"),
        ("reference-zero", "2.5", "0", "above 0"), ("reference-infinite", "2.5", "inf", "above 0"),
        ("reference-nan", "2.5", "nan", "above 0"), ("regression-classes", 'task = "regression"',
        'task = "regression"\nclasses = 2', "classes is not a known key"), ("output-deep", 'shape = ["n"]',
        'shape = ["n", 2, 2]', "output.shape"),
    ):  # fmt: skip
        toml = REGRESSION.replace(old, new, 1)
        yield Vector(
            "spec", f"refuse-{name}", "decode_spec", name.replace("-", " "), {"toml": toml}, "invalid", reason
        )


def attestation_vectors() -> Iterator[Vector]:
    from goldengrain_protocol.canonical import encode

    config = encode([b"\x7a\x69", unhex(MARKET), unhex(BUYER), [b"dev-pinned", encode([bytes(32), b"\x02"])]])
    base = {"config": tohex(config), "signer": "0x" + "21" * 20, "sealing_key": "0x" + "22" * 32,
            "mr_enclave": "0x" + "23" * 32, "tdx_registers": ["0x" + f"{n:02x}" * 48 for n in range(5)]}  # fmt: skip
    yield Vector("attestation", "digests", "attestation_digests", "what a quote binds", base)
    for name, key, value, reason in (
        ("sealing-key", "sealing_key", "0x" + "22" * 31, "32 bytes"),
        ("mr-enclave", "mr_enclave", "0x" + "23" * 48, "32 bytes"),
        ("register", "tdx_registers", ["0x" + "00" * 32] * 5, "48 bytes"),
        ("config", "config", tohex(encode([b"\x01", unhex(MARKET), unhex(BUYER)])), "4 fields"),
    ):
        yield Vector("attestation", f"refuse-{name}", "attestation_digests", f"{name} of another form",
                     base | {key: value}, "invalid", reason)  # fmt: skip


def main(arguments: list[str]) -> None:
    files = deterministic_files()
    if "--sealing" in arguments:
        files |= {vector.path: vector.text() for vector in sealed_vectors()}
    for path in VECTORS.glob("*/*.json"):
        if not json.loads(path.read_text())["randomised"]:
            path.unlink()
    for name, text in files.items():
        target = VECTORS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    print(f"{len(files)} vectors written")


if __name__ == "__main__":
    main(sys.argv[1:])
