"""Our own RLP, ABI, trie walk and EIP-712 against the libraries that everybody uses."""

from __future__ import annotations

from typing import Any

import eth_abi
import pytest
import rlp
from coincurve import PrivateKey
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st
from trie import HexaryTrie

from goldengrain_protocol import canonical, eip712, messages
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Benchmark, CurvePoint, OrderTerms, Sale, Submission
from goldengrain_protocol.proofs import verify_storage, verify_trie_proof
from goldengrain_protocol.types import Address, Hash32, hash32, to_checksum
from tests.conformance.wire_samples import BENCHMARK, OFFER, RESULT, addr, digest

ADDRESSES = st.binary(min_size=20, max_size=20).map(Address)
HASHES = st.binary(min_size=32, max_size=32).map(Hash32)
UINTS = st.integers(0, 2**256 - 1)
SALES = st.builds(Sale, ADDRESSES, ADDRESSES, UINTS)
POINTS = st.builds(CurvePoint, UINTS, UINTS)
BENCHMARKS = st.builds(
    Benchmark, ADDRESSES, SALES, HASHES, HASHES, ADDRESSES, HASHES, HASHES, UINTS, UINTS, UINTS, UINTS, UINTS, UINTS,
    UINTS, UINTS, st.lists(POINTS, max_size=8).map(tuple),
)  # fmt: skip
SUBMISSIONS = st.builds(Submission, HASHES, ADDRESSES, ADDRESSES, HASHES, HASHES, HASHES, UINTS)
TREES = st.recursive(st.binary(max_size=70), lambda c: st.lists(c, max_size=5), max_leaves=25)

SALE_ABI = "(address,address,uint256)"
BENCHMARK_ABI = (
    f"(address,{SALE_ABI},bytes32,bytes32,address,bytes32,bytes32,"
    "uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,(uint256,uint256)[])"
)
SUBMISSION_ABI = "(bytes32,address,address,bytes32,bytes32,bytes32,uint256)"


@given(tree=TREES)
def test_rlp_encodes_and_decodes_as_the_library(tree: Any) -> None:
    try:
        data = canonical.encode(tree)
        assert data == rlp.encode(tree)
        assert canonical.decode(data) == tree
    except InvalidInput as error:
        if "nested" not in str(error):
            raise


@given(data=st.binary(max_size=60))
def test_rlp_refuses_exactly_what_the_library_refuses(data: bytes) -> None:
    def library() -> Any:
        try:
            return rlp.decode(data)
        except Exception:
            return None

    expected = library()
    if expected is not None and rlp.encode(expected) != data:
        expected = None  # the library lets a length prefix of zeros pass
    try:
        got = canonical.decode(data)
    except InvalidInput as error:
        got = expected if "nested" in str(error) else None
    assert got == expected


def keccak_abi(types: list[str], values: list[Any]) -> bytes:
    return keccak256(eth_abi.encode(types, values))


@given(chain_id=UINTS, market=ADDRESSES, benchmark=BENCHMARKS)
def test_benchmark_id(chain_id: int, market: Address, benchmark: Benchmark) -> None:
    values = [chain_id, to_checksum(market), benchmark.abi_tuple()]
    expected = keccak_abi(["uint256", "address", BENCHMARK_ABI], values)
    assert messages.benchmark_id(chain_id, market, benchmark) == expected
    assert Benchmark.from_abi(benchmark.abi_tuple()) == benchmark


@given(chain_id=UINTS, market=ADDRESSES, sale=SALES, submission=SUBMISSIONS, deadline=UINTS, lock=HASHES)
def test_other_identifiers(
    chain_id: int, market: Address, sale: Sale, submission: Submission, deadline: int, lock: Hash32
) -> None:
    body = messages.body_hash(chain_id, market, submission)
    assert body == keccak_abi(
        ["uint256", "address", SUBMISSION_ABI], [chain_id, to_checksum(market), submission.abi_tuple()]
    )
    assert messages.submission_id(sale, body) == keccak_abi([SALE_ABI, "bytes32"], [sale.abi_tuple(), body])
    buyer = to_checksum(market)
    order = OrderTerms(sale, market, deadline, lock)
    assert messages.order_id(order) == keccak_abi(
        ["bytes32", "address", "uint256", SALE_ABI], [lock, buyer, deadline, sale.abi_tuple()]
    )
    assert messages.record_id(lock, market) == keccak_abi(["bytes32", "address"], [lock, buyer])
    assert messages.enclave_id(market, market, lock, body) == keccak_abi(
        ["address", "address", "bytes32", "bytes32"], [buyer, buyer, lock, body]
    )


def test_a_changed_field_changes_the_identifier() -> None:
    base = BENCHMARK.abi_tuple()
    seen = {messages.benchmark_id(1, addr(1), BENCHMARK)}
    others: list[Any] = [
        to_checksum(addr(99)),
        [to_checksum(addr(99)), base[1][1], 1],
        digest(99),
        digest(99),
    ]  # type: ignore[index]
    others += [to_checksum(addr(99)), digest(99), digest(99), *range(90, 98), [(1, 1)]]
    for at, value in enumerate(others):
        changed = Benchmark.from_abi((*base[:at], value, *base[at + 1 :]))
        seen.add(messages.benchmark_id(1, addr(1), changed))
    seen |= {messages.benchmark_id(2, addr(1), BENCHMARK), messages.benchmark_id(1, addr(2), BENCHMARK)}
    assert len(seen) == 19


def typed_digest(name: str, contract: Address, types: dict[str, Any], primary: str, message: Any) -> bytes:
    domain = {"name": name, "version": "1", "chainId": 31337, "verifyingContract": to_checksum(contract)}
    return _hash_eip191_message(encode_typed_data(domain, {primary: types}, message))


def test_result_digest_is_eip712() -> None:
    fields = [("submissionId", "bytes32"), ("outcome", "uint8"), ("scorePpm", "uint32"), ("boundPpm", "uint32"),
              ("worker", "address"), ("anchorNumber", "uint64"), ("anchorHash", "bytes32"),
              ("evidenceDigest", "bytes32")]  # fmt: skip
    values = (RESULT.submission_id, int(RESULT.outcome), RESULT.score_ppm, RESULT.bound_ppm,
              to_checksum(RESULT.worker), RESULT.anchor_number, RESULT.anchor_hash, RESULT.evidence_digest)  # fmt: skip
    expected = typed(fields, values, "Result", "GoldenGrain Market")
    assert eip712.result_digest(31337, addr(1), RESULT) == expected


def test_offer_digest_is_eip712() -> None:
    fields = [("submissionId", "bytes32"), ("buyer", "address"), ("buyerKey", "bytes32"), ("hashlock", "bytes32"),
              ("sealedPadDigest", "bytes32")]  # fmt: skip
    values = (OFFER.submission_id, to_checksum(OFFER.buyer), OFFER.buyer_key, OFFER.hashlock,
              keccak256(OFFER.sealed_pad))  # fmt: skip
    assert eip712.offer_digest(31337, addr(1), OFFER) == typed(fields, values, "Offer", "GoldenGrain Market")


def test_auditor_digests_are_eip712() -> None:
    name = "GoldenGrain AuditorQuorumVerifier"
    fields = [("quoteDigest", "bytes32"), ("measurement", "bytes32"), ("reportDataHigh", "bytes32"),
              ("reportDataLow", "bytes32"), ("tcbStatus", "uint8"), ("expiry", "uint64"),
              ("platform", "bytes32")]  # fmt: skip
    statement = eip712.QuoteVerified(digest(1), digest(2), digest(3), digest(4), 3, 2**40, digest(5))
    values = (digest(1), digest(2), digest(3), digest(4), 3, 2**40, digest(5))
    expected = typed(fields, values, "QuoteVerified", name)
    assert eip712.quote_verified_digest(31337, addr(1), statement) == expected
    revoked = typed([("platform", "bytes32")], (digest(5),), "PlatformRevoked", name)
    assert eip712.platform_revoked_digest(31337, addr(1), digest(5)) == revoked


def typed(fields: list[tuple[str, str]], values: tuple[Any, ...], primary: str, name: str) -> bytes:
    types = [{"name": key, "type": kind} for key, kind in fields]
    message = {key: value for (key, _), value in zip(fields, values, strict=True)}
    return typed_digest(name, addr(1), types, primary, message)  # type: ignore[arg-type]


@given(key=st.binary(min_size=32, max_size=32).filter(any), message=HASHES)
def test_recovers_the_signer(key: bytes, message: Hash32) -> None:
    private = PrivateKey(key)
    raw = private.sign_recoverable(message, hasher=None)
    expected = eip712.address_of_public_key(private.public_key.format(compressed=False))
    assert eip712.recover_signer(message, raw[:64] + bytes([27 + raw[64]])) == expected


STORAGE = st.dictionaries(
    st.integers(0, 2**256 - 1) | st.integers(0, 50), st.integers(1, 2**256 - 1), max_size=40
)


@given(storage=STORAGE, asked=st.integers(0, 60))
def test_storage_proofs_of_the_trie_library_verify(storage: dict[int, int], asked: int) -> None:
    tree = HexaryTrie({})
    for slot, value in storage.items():
        tree[keccak256(slot.to_bytes(32, "big"))] = rlp.encode(value)
    for slot in [*list(storage)[:5], asked]:
        key = keccak256(slot.to_bytes(32, "big"))
        nodes = [rlp.encode(node) for node in tree.get_proof(key)]
        # The library repeats embedded nodes as if they were nodes of their own.
        nodes = [node for at, node in enumerate(nodes) if at == 0 or len(node) >= 32]
        if not storage:
            nodes = []
        assert verify_storage(hash32(tree.root_hash), slot, nodes) == storage.get(slot, 0)


@given(
    values=st.dictionaries(st.binary(min_size=1, max_size=1), st.binary(min_size=1, max_size=3), min_size=2)
)
def test_embedded_nodes_verify(values: dict[bytes, bytes]) -> None:
    """Keys that differ in their last byte only: leaves of less than 32 bytes, embedded in their branches."""
    tree = HexaryTrie({})
    for last, value in values.items():
        tree[bytes(31) + last] = value
    root = hash32(tree.root_hash)
    for last in [*values, b"\x00", b"\xff"]:
        key = hash32(bytes(31) + last)
        proof = [rlp.encode(node) for node in tree.get_proof(key)]
        nodes = [node for at, node in enumerate(proof) if at == 0 or len(node) >= 32]
        assert verify_trie_proof(root, key, nodes) == values.get(last)


@given(storage=STORAGE.filter(lambda s: len(s) > 3), draw=st.data())
def test_one_fault_in_a_proof_is_refused(storage: dict[int, int], draw: st.DataObject) -> None:
    tree = HexaryTrie({})
    for slot, value in storage.items():
        tree[keccak256(slot.to_bytes(32, "big"))] = rlp.encode(value)
    slot = draw.draw(st.sampled_from(sorted(storage)))
    key = keccak256(slot.to_bytes(32, "big"))
    nodes = [rlp.encode(node) for node in tree.get_proof(key)]
    nodes = [node for at, node in enumerate(nodes) if at == 0 or len(node) >= 32]
    root = hash32(tree.root_hash)
    assert verify_storage(root, slot, nodes) == storage[slot]
    at = draw.draw(st.integers(0, len(nodes) - 1))
    bit = draw.draw(st.integers(0, len(nodes[at]) * 8 - 1))
    flipped = bytearray(nodes[at])
    flipped[bit // 8] ^= 1 << bit % 8
    for bad in (
        [*nodes[:at], bytes(flipped), *nodes[at + 1 :]],
        [*nodes[:at], *nodes[at + 1 :]],
        [*nodes[: at + 1], nodes[at], *nodes[at + 1 :]],
        [*nodes, nodes[at]],
    ):
        with pytest.raises(VerificationError):
            verify_storage(root, slot, bad)
