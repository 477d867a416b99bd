"""Capture header, account and storage proofs from a real anvil run, for the proof vectors.

    python tests/conformance/capture_chain.py PATH_TO_ANVIL

Writes captured/osaka_market.json. Run it again only when the storage layout of `Market` changes; the
vectors are then made from the new file by generate.py. Needs web3 and the committed contract artifacts.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from web3 import HTTPProvider, Web3

from goldengrain_protocol import canonical, messages
from goldengrain_protocol.constants import (
    MARKET_SLOT_BENCHMARKS,
    MARKET_SLOT_RECORDS,
    MARKET_SLOT_SUBMISSIONS,
)
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Benchmark, CurvePoint, Sale, Submission
from goldengrain_protocol.proofs import mapping_slot
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32, address_from_hex, hash32

HERE = Path(__file__).parent
ARTIFACTS = HERE.parent.parent / "contracts" / "artifacts"

HEADER_FIELDS = [
    ("parentHash", bytes), ("sha3Uncles", bytes), ("miner", bytes), ("stateRoot", bytes),
    ("transactionsRoot", bytes), ("receiptsRoot", bytes), ("logsBloom", bytes), ("difficulty", int),
    ("number", int), ("gasLimit", int), ("gasUsed", int), ("timestamp", int), ("extraData", bytes),
    ("mixHash", bytes), ("nonce", bytes), ("baseFeePerGas", int), ("withdrawalsRoot", bytes),
    ("blobGasUsed", int), ("excessBlobGas", int), ("parentBeaconBlockRoot", bytes), ("requestsHash", bytes),
]  # fmt: skip


def header_rlp(block: dict[str, Any]) -> bytes:
    """Return the RLP of a block header given as JSON-RPC gives it; checked against the block's hash."""
    items: list[bytes] = []
    for name, kind in HEADER_FIELDS:
        value = block[name]
        items.append(canonical.encode_int(int(value, 16)) if kind is int else bytes.fromhex(value[2:]))
    data = canonical.encode(items)
    if keccak256(data).hex() != block["hash"][2:]:
        raise SystemExit("the header does not hash to the block's hash: the chain knows further fields")
    return data


def main(anvil: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [anvil, "--port", str(port), "--hardfork", "osaka", "--timestamp", "1700000000", "--silent"]
    )
    try:
        w3 = Web3(HTTPProvider(f"http://127.0.0.1:{port}"))
        for _ in range(100):
            if w3.is_connected():
                break
            time.sleep(0.1)
        (HERE / "captured").mkdir(exist_ok=True)
        target = HERE / "captured" / "osaka_market.json"
        target.write_text(json.dumps(capture(w3), indent=1) + "\n")
    finally:
        process.terminate()
        process.wait()


def capture(w3: Web3) -> dict[str, Any]:
    """Deploy, open a benchmark, submit one model; return what a host would prove of it."""

    def rpc(method: str, *params: object) -> Any:
        answer = w3.provider.make_request(method, list(params))  # type: ignore[arg-type]
        return answer["result"]

    account = w3.eth.accounts[0]
    sent: Any = {"from": account}

    def deploy(name: str, *arguments: object) -> Any:
        artifact = json.loads((ARTIFACTS / f"{name}.json").read_text())
        contract = w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
        receipt = w3.eth.wait_for_transaction_receipt(contract.constructor(*arguments).transact(sent))
        return w3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])

    registry = deploy("EnclaveRegistry")
    market = deploy("Market", registry.address)
    market_address, owner = address_from_hex(market.address), address_from_hex(account)
    benchmark = Benchmark(
        owner=owner,
        sale=Sale(ZERO_ADDRESS, Address(bytes([2]) * 20), 250),
        spec_digest=_fill(1),
        testset_digest=_fill(2),
        verifier=Address(bytes([3]) * 20),
        measurement=_fill(4),
        config_digest=_fill(5),
        assurance=1,
        tcb_allowed=1,
        quorum=1,
        fee_wei=10**15,
        submission_cap=10,
        step_ppm=1000,
        submissions_close=1_800_000_000,
        result_window_s=3600,
        curve=(CurvePoint(500_000, 10**16), CurvePoint(900_000, 10**17)),
    )
    chain_id = w3.eth.chain_id
    w3.eth.wait_for_transaction_receipt(
        market.functions.open_benchmark(benchmark.abi_tuple(), b"sealed", "{}").transact(sent)
    )
    benchmark_id = messages.benchmark_id(chain_id, market_address, benchmark)
    sealed = b"sealed keys"
    submission = Submission(benchmark_id, owner, owner, _fill(6), _fill(7), keccak256(sealed), 5)
    call = market.functions.submit(
        benchmark_id, benchmark.sale.abi_tuple(), account, _fill(6), _fill(7), 5, sealed
    )
    receipt = w3.eth.wait_for_transaction_receipt(
        call.transact({"from": account, "value": benchmark.fee_wei})
    )
    submission_id = messages.submission_id(
        benchmark.sale, messages.body_hash(chain_id, market_address, submission)
    )
    keys = [
        (MARKET_SLOT_BENCHMARKS, benchmark_id),
        (MARKET_SLOT_SUBMISSIONS, submission_id),
        (MARKET_SLOT_RECORDS, messages.record_id(benchmark_id, owner)),
        (MARKET_SLOT_SUBMISSIONS, _fill(9)),
    ]
    slots = [mapping_slot(index, key) for index, key in keys]
    number = receipt["blockNumber"]
    rpc("anvil_mine", "0x3")
    proof = rpc("eth_getProof", market.address, [hex(slot) for slot in slots], hex(number))
    absent = rpc("eth_getProof", "0x" + "77" * 20, [], hex(number))
    blocks = [rpc("eth_getBlockByNumber", hex(n), False) for n in range(number, number + 3)]
    return {
        "source": rpc("web3_clientVersion"),
        "chain_id": chain_id,
        "genesis_hash": rpc("eth_getBlockByNumber", "0x0", False)["hash"],
        "market": market.address.lower(),
        "registry": registry.address.lower(),
        "benchmark": _plain(benchmark.abi_tuple()),
        "submission": _plain(submission.abi_tuple()),
        "benchmark_id": "0x" + benchmark_id.hex(),
        "submission_id": "0x" + submission_id.hex(),
        "headers": ["0x" + header_rlp(block).hex() for block in blocks],
        "slots": [hex(slot) for slot in slots],
        "values": [entry["value"] for entry in proof["storageProof"]],
        "account_proof": proof["accountProof"],
        "storage_proofs": [entry["proof"] for entry in proof["storageProof"]],
        "absent_account": "0x" + "77" * 20,
        "absent_account_proof": absent["accountProof"],
    }


def _fill(value: int) -> Hash32:
    return hash32(bytes([value]) * 32)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


if __name__ == "__main__":
    main(sys.argv[1])
