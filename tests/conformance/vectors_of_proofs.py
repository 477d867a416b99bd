"""Vectors of chain proofs (from a captured run of a real chain) and of the trie walk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from goldengrain_protocol.canonical import encode
from goldengrain_protocol.config import ChainTrustConfig, EnclaveConfig
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import ChainProof, DevPinned, dev_pinned
from goldengrain_protocol.types import address_from_hex, hash32_from_hex
from tests.conformance.operations import tohex, unhex
from tests.conformance.vector import CAPTURED, Vector


def proof_vectors() -> Iterator[Vector]:

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
