"""The identifiers that the contracts give to terms: keccak-256 of their ABI encoding.

Source: docs/spec/messages.md, "Identifiers".
"""

from goldengrain_protocol import abi
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.terms import Benchmark, OrderTerms, Sale, Submission
from goldengrain_protocol.types import Address, Hash32


def benchmark_id(chain_id: int, market: Address, benchmark: Benchmark) -> Hash32:
    """Return keccak(abi_encode(chain_id, market, benchmark))."""
    return keccak256(abi.words(chain_id, market) + abi.offset_word(3) + benchmark.abi_encode())


def body_hash(chain_id: int, market: Address, submission: Submission) -> Hash32:
    """Return keccak(abi_encode(chain_id, market, submission))."""
    return keccak256(abi.words(chain_id, market) + submission.abi_encode())


def submission_id(sale: Sale, body: Hash32) -> Hash32:
    """Return keccak(abi_encode(sale, body_hash)); so an order proves the sale terms by hashing them."""
    return keccak256(sale.abi_encode() + abi.word(body))


def record_id(benchmark: Hash32, developer: Address) -> Hash32:
    """Return keccak(abi_encode(benchmark_id, developer))."""
    return keccak256(abi.words(benchmark, developer))


def order_id(order: OrderTerms) -> Hash32:
    """Return keccak(abi_encode(hashlock, buyer, deadline, sale))."""
    return keccak256(abi.words(order.hashlock, order.buyer, order.deadline) + order.sale.abi_encode())


def enclave_id(verifier: Address, signer: Address, measurement: Hash32, config_digest: Hash32) -> Hash32:
    """Return keccak(abi_encode(verifier, signer, measurement, config_digest))."""
    return keccak256(abi.words(verifier, signer, measurement, config_digest))
