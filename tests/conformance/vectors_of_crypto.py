"""Vectors of the encrypted container, the key schedule and sealing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from goldengrain_protocol import sealing
from goldengrain_protocol.canonical import encode
from goldengrain_protocol.constants import CHUNK_BYTES
from tests.conformance.operations import OPERATIONS, tohex, unhex
from tests.conformance.vector import BUYER, MARKET, OTHER_SECRET, SALT, SECRET, Vector


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
