"""The market on a development chain: accounts, contracts, enclaves, and everybody's next step.

For measurements (`gas.py`) and for tests that need a real chain. Keys and digests come from labels: nothing
here is secret, and two runs send the same bytes.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from anvil_process import call_rpc
from coincurve import PrivateKey
from eth_abi.abi import encode
from web3 import Web3
from web3.contract import Contract

from goldengrain_protocol import messages
from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.constants import Assurance, Outcome
from goldengrain_protocol.eip712 import QuoteVerified, quote_verified_digest, result_digest
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Benchmark, CurvePoint, Result, Sale, Submission
from goldengrain_protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, Hash32, address_from_hex, hash32

ARTIFACTS: Final = Path(__file__).resolve().parent.parent / "contracts" / "artifacts"

ETHER: Final = 10**18
GAS_LIMIT: Final = 8_000_000
DAY_S: Final = 86_400
SEALED_KEYS_BYTES: Final = 107
"""One sealed key as submitted: an RLP list of one pair (address, 80 bytes)."""


def digest(label: str) -> Hash32:
    return hash32(hashlib.sha256(label.encode()).digest())


def noise(label: str, size: int) -> bytes:
    return b"".join(digest(f"{label} {i}") for i in range(size // 32 + 1))[:size]


def key(label: str) -> PrivateKey:
    return PrivateKey(digest(f"key {label}"))


def address_of(key: PrivateKey) -> Address:
    return Address(bytes(keccak256(key.public_key.format(compressed=False)[1:]))[12:])


def sign(key: PrivateKey, digest: bytes) -> bytes:
    signature = key.sign_recoverable(digest, hasher=None)
    return bytes(signature[:64]) + bytes([27 + signature[64]])


class Chain:
    """Unlocked accounts of a development chain, and one transaction at a time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.web3 = Web3(Web3.HTTPProvider(url))
        self.chain_id = self.web3.eth.chain_id
        self.accounts = list(self.web3.eth.accounts)

    def send(self, call: Any, sender: str, value: int = 0) -> Any:
        """Return the receipt of a contract call that must succeed."""
        transaction_hash = call.transact({"from": sender, "value": value, "gas": GAS_LIMIT})
        receipt = self.web3.eth.wait_for_transaction_receipt(transaction_hash)
        if receipt["status"] != 1:
            raise RuntimeError(f"transaction reverted: {call.fn_name}")
        return receipt

    def deploy(self, name: str, *arguments: object) -> tuple[Contract, int]:
        artifact = json.loads((ARTIFACTS / f"{name}.json").read_text())
        factory = self.web3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
        receipt = self.send(factory.constructor(*arguments), self.accounts[0])
        return self.web3.eth.contract(receipt["contractAddress"], abi=artifact["abi"]), receipt["gasUsed"]

    def now(self) -> int:
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def advance(self, seconds: int) -> None:
        call_rpc(self.url, "evm_increaseTime", seconds)
        call_rpc(self.url, "evm_mine")

    def mine(self, blocks: int) -> None:
        call_rpc(self.url, "anvil_mine", hex(blocks))


class Bazaar:
    """Deployed contracts, registered enclaves, and everybody's next step."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.owner, self.developer, self.other_developer, self.buyer, self.stranger = chain.accounts[:5]
        self.worker, self.royalty_recipient = chain.accounts[5:7]
        self.deploy_gas: dict[str, int] = {}
        self.auditors = sorted((key(f"auditor {i}") for i in range(3)), key=address_of)
        self.enclaves: list[PrivateKey] = []
        self.registry = self._deploy("EnclaveRegistry")
        self.market = self._deploy("Market", self.registry.address)
        self.verifier = self._deploy(
            "AuditorQuorumVerifier",
            [Web3.to_checksum_address(address_of(a)) for a in self.auditors],
            2,
            int(Assurance.SIMULATED),
        )
        self.token = self._deploy("DevToken", "Development dollar", "DUSD", 6)
        self.market_address = address_from_hex(self.market.address)
        self.bodies: dict[Hash32, Submission] = {}
        self.count = 0

    def _deploy(self, name: str, *arguments: object) -> Contract:
        contract, self.deploy_gas[name] = self.chain.deploy(name, *arguments)
        return contract

    def register(self, label: str = "enclave") -> int:
        """Register an enclave by two of three auditors and a quote of about the real size; return the gas."""
        enclave = key(label)
        signer, sealing_key, config = address_of(enclave), digest("sealing"), digest("config")
        quote = noise("quote", 4_800)
        statement = QuoteVerified(
            quote_digest=keccak256(quote),
            measurement=digest("measurement"),
            report_data_high=hash32(report_data(signer, sealing_key, config)[:32]),
            report_data_low=ZERO_HASH,
            tcb_status=0,
            expiry=self.chain.now() + 90 * DAY_S,
            platform=digest(f"platform of {label}"),
        )
        signed = quote_verified_digest(
            self.chain.chain_id, address_from_hex(self.verifier.address), statement
        )
        evidence = encode(
            ["bytes32", "bytes32", "bytes32", "uint8", "uint64", "bytes32", "bytes[]"],
            [
                statement.measurement,
                statement.report_data_high,
                statement.report_data_low,
                statement.tcb_status,
                statement.expiry,
                statement.platform,
                [sign(auditor, signed) for auditor in self.auditors[:2]],
            ],
        )
        call = self.registry.functions.register(
            self.verifier.address, quote, evidence, Web3.to_checksum_address(signer), sealing_key, config
        )
        gas = int(self.chain.send(call, self.stranger)["gasUsed"])
        self.enclaves = sorted([*self.enclaves, enclave], key=address_of)
        return gas

    def terms(self, token: Address = ZERO_ADDRESS, royalty_bps: int = 0) -> Benchmark:
        recipient = address_from_hex(self.royalty_recipient) if royalty_bps else ZERO_ADDRESS
        return Benchmark(
            owner=address_from_hex(self.owner),
            sale=Sale(token, recipient, royalty_bps),
            spec_digest=digest("spec"),
            testset_digest=digest("testset"),
            verifier=address_from_hex(self.verifier.address),
            measurement=digest("measurement"),
            config_digest=digest("config"),
            assurance=int(Assurance.SIMULATED),
            tcb_allowed=1,
            quorum=1,
            fee_wei=ETHER // 1000,
            submission_cap=20,
            step_ppm=5_000,
            submissions_close=self.chain.now() + 365 * DAY_S,
            result_window_s=DAY_S,
            curve=(
                CurvePoint(700_000, ETHER // 100),
                CurvePoint(900_000, ETHER // 10),
                CurvePoint(990_000, ETHER),
            ),
        )

    def open(self, benchmark: Benchmark) -> int:
        sealed_keys = noise("test set", SEALED_KEYS_BYTES)
        metadata = json.dumps({"title": "Handwritten digits", "spec": "https://example.org/blobs/spec"})
        call = self.market.functions.open_benchmark(benchmark.abi_tuple(), sealed_keys, metadata)
        return int(self.chain.send(call, self.owner)["gasUsed"])

    def submit(self, benchmark: Benchmark, developer: str) -> tuple[Hash32, int]:
        """Submit with one sealed key (RLP list of one address and 80 bytes); return the id and the gas."""
        self.count += 1
        sealed_keys = noise(f"submission {self.count}", SEALED_KEYS_BYTES)
        benchmark_id = messages.benchmark_id(self.chain.chain_id, self.market_address, benchmark)
        body = Submission(
            benchmark_id=benchmark_id,
            developer=address_from_hex(developer),
            payee=address_from_hex(developer),
            content_digest=digest(f"content {self.count}"),
            secret_commitment=digest(f"commitment {self.count}"),
            sealed_digest=keccak256(sealed_keys),
            reserve=ETHER // 50,
        )
        call = self.market.functions.submit(
            benchmark_id,
            benchmark.sale.abi_tuple(),
            developer,
            body.content_digest,
            body.secret_commitment,
            body.reserve,
            sealed_keys,
        )
        gas = self.chain.send(call, developer, benchmark.fee_wei)["gasUsed"]
        body_hash = messages.body_hash(self.chain.chain_id, self.market_address, body)
        submission_id = messages.submission_id(benchmark.sale, body_hash)
        self.bodies[submission_id] = body
        return submission_id, gas

    def accept(self, benchmark: Benchmark, submission_id: Hash32, bound_ppm: int, anchor_age: int = 1) -> int:
        """Post the results of as many enclaves as the benchmark asks for; return the gas."""
        head = self.chain.web3.eth.block_number
        anchor = self.chain.web3.eth.get_block(head + 1 - anchor_age)
        result = Result(
            submission_id=submission_id,
            outcome=Outcome.SCORED,
            score_ppm=bound_ppm + 10_000,
            bound_ppm=bound_ppm,
            worker=address_from_hex(self.worker),
            anchor_number=anchor["number"],
            anchor_hash=hash32(bytes(anchor["hash"])),
            evidence_digest=digest(f"evidence {submission_id.hex()}"),
        )
        signed = result_digest(self.chain.chain_id, self.market_address, result)
        call = self.market.functions.accept(
            benchmark.abi_tuple(),
            self.bodies[submission_id].abi_tuple(),
            [result.abi_tuple(sign(enclave, signed)) for enclave in self.enclaves[: benchmark.quorum]],
        )
        return int(self.chain.send(call, self.stranger)["gasUsed"])

    def sold(self, benchmark: Benchmark, developer: str, bound_ppm: int) -> Hash32:
        """Bring one more submission to a price and return its id."""
        submission_id, _ = self.submit(benchmark, developer)
        self.accept(benchmark, submission_id, bound_ppm)
        return submission_id

    def order(self, benchmark: Benchmark, submissions: Sequence[Hash32]) -> tuple[int, list[Hash32], int]:
        """Order from a fresh deadline; return it, the preimages and the gas."""
        deadline = self.chain.now() + DAY_S
        items = []
        preimages = []
        total = 0
        for submission_id in submissions:
            self.count += 1
            preimage = digest(f"preimage {self.count}")
            body = messages.body_hash(self.chain.chain_id, self.market_address, self.bodies[submission_id])
            items.append((body, digest(f"buyer key {self.count}"), keccak256(preimage)))
            preimages.append(preimage)
            total += (self.market.functions.submissions(submission_id).call() >> 8) & (2**88 - 1)
        value = total if benchmark.sale.token == ZERO_ADDRESS else 0
        call = self.market.functions.order(benchmark.sale.abi_tuple(), deadline, items)
        return deadline, preimages, int(self.chain.send(call, self.buyer, value)["gasUsed"])

    def claim_call(self, benchmark: Benchmark, deadline: int, preimage: Hash32) -> Any:
        return self.market.functions.claim(benchmark.sale.abi_tuple(), self.buyer, deadline, preimage)

    def claim(self, benchmark: Benchmark, deadline: int, preimage: Hash32, sender: str) -> int:
        return int(self.chain.send(self.claim_call(benchmark, deadline, preimage), sender)["gasUsed"])
