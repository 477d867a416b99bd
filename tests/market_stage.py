"""A whole market for tests: development chain, contracts, a real enclave process, people on machines of their own.

Nothing is faked but speed: blocks come ten times a second, models are linear and their test set is scikit-learn's
small digits. One stage serves many tests; each brings people, submissions and orders of its own.
"""

from __future__ import annotations

import dataclasses
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx

import goldengrain.host.worker as worker_module
import goldengrain.sdk.claims as claims_module
import goldengrain.sdk.orders as orders_module
import goldengrain.sdk.submissions as submissions_module
from goldengrain.accounts import Account, AccountStore
from goldengrain.chain.address_book import AddressBook, save_address_book
from goldengrain.chain.client import ChainClient
from goldengrain.chain.devnet import Devnet, fund
from goldengrain.chain.journal import TransactionJournal
from goldengrain.chain.rpc_types import Receipt
from goldengrain.chain.transactions import TransactionRequest
from goldengrain.home import Home, atomic_write
from goldengrain.host import enclave_process
from goldengrain.host.enclave_process import EnclaveProcess
from goldengrain.host.offer_server import OfferServer
from goldengrain.host.setup import (
    DeploymentPlan,
    boot_enclave,
    deploy_market,
    ensure_registered,
    give_dev_tokens,
)
from goldengrain.host.worker import Worker, WorkerReport
from goldengrain.sdk.benchmarks import BenchmarkOffer, open_benchmark, parse_curve
from goldengrain.sdk.session import Session
from goldengrain.sdk.submissions import SubmissionView, get_submission, submit_model, wait_for_score
from goldengrain_protocol.frames import encode_frame
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.keyschedule import key_commitment, secret_commitment, xor32
from goldengrain_protocol.types import Address, Hash32
from goldengrain_protocol.wire import BootReply, Reply, Request, decode_reply, encode_request

Array = npt.NDArray[Any]

NETWORK: Final = "devnet"
TOKEN: Final = "USDG"
ETHER: Final = 10**18
START_WEI: Final = 10 * ETHER
"""What everybody begins with; a stage has many people, and the chain's bank 10,000 ETH."""
FEE_WEI: Final = ETHER // 1000
BLOCK_TIME_S: Final = 0.1
PASSWORD: Final = "only for play money"
CURVE: Final = ((300_000, ETHER // 100), (700_000, ETHER // 10), (950_000, ETHER))

SPEC: Final = b"""\
format = 1
title = "Small digits"
task = "classification"
classes = 10

[[inputs]]
name = "image"
dtype = "float32"
shape = ["n", 64]

[output]
name = "probabilities"
dtype = "float32"
shape = ["n", 10]

[score]
metric = "accuracy"
confidence_ppm = 950000

[limits]
model_bytes = 1000000
memory_bytes = 268435456
cpu_s = 20
wall_s = 30
batch = 256
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account and a machine (home directory) of their own."""

    name: str
    account: Account
    session: Session
    client: ChainClient
    unjournalled: list[Hash32] = field(default_factory=list)
    """Hashes of transactions that were sent past the SDK's journal."""

    @property
    def address(self) -> Address:
        return self.account.address

    @property
    def home(self) -> Home:
        return self.session.home

    def wei(self) -> int:
        """Return the balance."""
        return self.client.balance(self.address)

    def gas_wei(self) -> int:
        """Return what all transactions of this account cost so far."""
        journal = TransactionJournal.open(self.home)
        attempts = [each for entry in journal.history(account=self.address) for each in entry.attempts]
        hashes = {*(each.tx_hash for each in attempts), *self.unjournalled}
        receipts = [self.client.receipt(each) for each in hashes]
        mined = [each for each in receipts if each is not None]
        assert len(mined) == self.client.transaction_count(self.address), "a transaction outside the journal"
        return sum(each.gas_used * each.effective_gas_price for each in mined)

    def gained_wei(self) -> int:
        """Return what the market gave (or took, negative) in all: the balance's change without gas."""
        return self.wei() + self.gas_wei() - START_WEI

    def send(self, what: TransactionRequest) -> Receipt:
        """Send a transaction past the SDK's checks, and wait until it is final."""
        return self.session.sender.send(f"test:{secrets.token_hex(8)}", what)


class MarketStage:
    """What all tests of a process share. Made by `market_stage`."""

    def __init__(self, root: Path, rpc_url: str, verifier: str | None = None) -> None:
        self.root = root
        self.verifier = verifier
        self.rpc_url = rpc_url
        self.client = ChainClient(rpc_url)
        self.home = Home(root / "host")
        self.auditors = tuple(new_account(f"auditor-{index}") for index in range(3))
        self.reports: list[WorkerReport] = []
        self._count = 0
        self._mining = threading.Lock()
        self._bank = threading.Lock()
        self._closed = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.book: AddressBook
        self.host: Person
        self.enclave: EnclaveProcess
        self.boot: BootReply
        self.daemon: Worker
        self.worker_url: str

    def set_up(self) -> None:
        """Deploy, boot and register the enclave, open its door for offers, and start the worker."""
        self.client.raw_request("evm_setIntervalMining", [0])
        self._miner = threading.Thread(target=self._mine, daemon=True)
        self._miner.start()
        deployer = new_account("deployer")
        fund(self.client, deployer.address, START_WEI)
        plan = DeploymentPlan(
            network=NETWORK,
            rpc_url=self.rpc_url,
            auditors=tuple(each.address for each in self.auditors),
            threshold=2,
            tokens=(TOKEN,),
            blob_url=str(self.root / "blobs"),
            confirmations=2,
            development=True,
        )
        self.book = deploy_market(self.home, plan, deployer)
        self.host = self._person("host", self.home)
        session = self.host.session
        self.enclave, self.boot = boot_enclave(session, "worker")
        verifier = self.book.verifier(self.verifier)
        ensure_registered(session, "worker", self.boot, verifier, auditors=self.auditors)
        self.daemon = Worker(
            session, self.enclave, self.boot, verifier.address, on_report=self.reports.append
        )
        self._server = OfferServer(self.daemon, "127.0.0.1", 0)
        self.worker_url = self._server.start()
        self.start_worker()

    def tear_down(self) -> None:
        """End worker, door, enclave and the making of blocks."""
        self.stop_worker()
        if hasattr(self, "_server"):
            self._server.stop()
        if hasattr(self, "enclave"):
            self.enclave.stop()
        self._closed.set()
        if hasattr(self, "_miner"):
            self._miner.join(10)

    # --- people and time --------------------------------------------------------------------------

    def person(self, name: str, *, tokens: int = 0, wei: int = START_WEI) -> Person:
        """Return somebody new with money and an empty machine that knows the network."""
        self._count += 1
        person = self._person(name, Home(self.root / f"{name}-{self._count}"), wei=wei)
        if tokens:
            give_dev_tokens(self.home, self.client, self.book.token(TOKEN).address, person.address, tokens)
        return person

    def elsewhere(self, person: Person, book: AddressBook | None = None) -> Person:
        """Return the same account on a new, empty machine: what it knew locally is lost."""
        self._count += 1
        home = Home(self.root / f"{person.name}-{self._count}")
        return self._at(person.name, person.account, home, book or self.book)

    def keystore(self, person: Person) -> Path:
        """Store the person's account as keystore on its machine; return the password file."""
        AccountStore(person.home).import_key(
            person.name, person.account.dangerous_private_key(), PASSWORD, dangerous_light_kdf=True
        )
        path = person.home.root / "password"
        atomic_write(path, PASSWORD.encode())
        return path

    def pass_time(self, seconds: int) -> None:
        """Let chain time go by, and wait until a block of the new time is final."""
        wanted = self.client.block("latest").timestamp + seconds
        self.client.raw_request("evm_increaseTime", [seconds])
        self.await_(lambda: self.client.block("finalized").timestamp >= wanted, "chain time")

    @contextmanager
    def no_blocks(self) -> Iterator[None]:
        """Let transactions wait in the mempool while the block runs; the next blocks take them by their fees."""
        with self._mining:
            yield

    def mine(self) -> None:
        """Make one block now."""
        self.client.raw_request("evm_mine", [])

    def await_(self, condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
        """Return once `condition` holds; fail if it does not in time."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"timed out waiting for {what}"
            time.sleep(0.05)

    # --- the worker -------------------------------------------------------------------------------

    def start_worker(self) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self.daemon.run, args=(self._stop.is_set,), daemon=True)
        self._thread.start()

    def stop_worker(self) -> None:
        """Let the worker fall silent: no results any more; offers are still served."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(60)

    @contextmanager
    def silent_worker(self) -> Iterator[None]:
        """Let no result be made while the block runs."""
        self.stop_worker()
        try:
            yield
        finally:
            self.start_worker()

    def ask_enclave(self, request: Request | bytes, *, timeout_s: float = 60) -> Reply:
        """Return the enclave's undecorated reply to a request (or to any bytes) put on its pipe."""
        data = request if isinstance(request, bytes) else encode_request(request)
        return decode_reply(ask_raw(self.enclave, data, timeout_s))

    # --- the market -------------------------------------------------------------------------------

    def benchmark(self, owner: Person, **changes: Any) -> Hash32:
        """Open a benchmark of small digits; `changes` to the offer's terms."""
        terms: dict[str, Any] = {
            "curve": parse_curve(CURVE),
            "fee_wei": FEE_WEI,
            "title": "small digits",
            "verifier": self.verifier,
        }
        test_x, test_y = digits()[2:]
        return open_benchmark(
            owner.session, SPEC, {"image": test_x}, test_y, BenchmarkOffer(**terms | changes)
        )

    def submit(self, developer: Person, benchmark: Hash32, model: bytes, **options: Any) -> SubmissionView:
        """Submit without waiting for the score."""
        return get_submission(developer.session, submit_model(developer.session, benchmark, model, **options))

    def sell(self, developer: Person, benchmark: Hash32, model: bytes, **options: Any) -> SubmissionView:
        """Submit and wait for the score."""
        identity = submit_model(developer.session, benchmark, model, **options)
        return wait_for_score(developer.session, identity, timeout_s=60)

    def market_wei(self) -> int:
        return self.client.balance(self.book.market)

    # --- private ----------------------------------------------------------------------------------

    def _person(self, name: str, home: Home, *, wei: int = START_WEI) -> Person:
        account = new_account(name)
        with self._bank:  # its transactions have consecutive nonces
            fund(self.client, account.address, wei)
        return self._at(name, account, home, self.book)

    def _at(self, name: str, account: Account, home: Home, book: AddressBook) -> Person:
        home.ensure()
        save_address_book(home, book)
        urls = [self.worker_url] if hasattr(self, "worker_url") else []
        session = Session(home, book, account=account, worker_urls=urls)
        return Person(name, account, session, session.client)

    def _mine(self) -> None:
        """Make blocks, as anvil's own clock would; this one can be held."""
        while not self._closed.wait(BLOCK_TIME_S):
            with self._mining:
                self.mine()


def ask_raw(enclave: EnclaveProcess, data: bytes, timeout_s: float = 60) -> bytes:
    """Return the bytes that an enclave process answers to any bytes on its pipe."""
    deadline = time.monotonic() + timeout_s
    with enclave._lock:
        process = enclave._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        enclave_process._write(process.stdin, encode_frame(data), deadline)
        return enclave._read_frame(process.stdout, deadline)


@contextmanager
def market_stage(verifier: str | None = None) -> Iterator[MarketStage]:
    """Set a stage, and take it down whatever happens.

    Args:
        verifier: who vouches for the enclave, by name in the address book; the deployment's first by default.
    """
    root = Path(tempfile.mkdtemp(prefix="goldengrain-stage-"))
    chain = Devnet(Home(root / "chain"))
    modules = (worker_module, claims_module, orders_module, submissions_module)
    paces = [(module, module.POLL_S) for module in modules]
    stage: MarketStage | None = None
    try:
        stage = MarketStage(root, chain.up(block_time_s=BLOCK_TIME_S).rpc_url, verifier)
        for module, _ in paces:
            vars(module)["POLL_S"] = 0.05
        stage.set_up()
        yield stage
    finally:
        for module, pace in paces:
            vars(module)["POLL_S"] = pace
        if stage is not None:
            stage.tear_down()
        chain.down()
        shutil.rmtree(root, ignore_errors=True)


def new_account(name: str) -> Account:
    """Return an account with a fresh key."""
    return Account.from_private_key(keccak256(secrets.token_bytes(32)), name)


# --- models ---------------------------------------------------------------------------------------


@cache
def digits() -> tuple[Array, Array, Array, Array]:
    """Return (train_x, train_y, test_x, test_y) of the 8x8 digits: float32 (n, 64) in 0..1 and int64 (n,)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    x, y = (found.data / 16).astype(np.float32), found.target.astype(np.int64)
    return x[:1300], y[:1300], x[1300:], y[1300:]


@cache
def good_model(note: str = "") -> bytes:
    """Return an ONNX model that is right on about nine of ten images."""
    return linear_model(*_least_squares(64), note=note)


@cache
def fair_model(note: str = "") -> bytes:
    """Return an ONNX model that looks at a quarter of the pixels only: priced, but for less."""
    return linear_model(*_least_squares(24), note=note)


@cache
def poor_model(note: str = "") -> bytes:
    """Return an ONNX model that guesses one class: no price."""
    return linear_model(np.zeros((64, 10), np.float32), np.eye(10, dtype=np.float32)[3], note=note)


@cache
def nan_model(note: str = "") -> bytes:
    """Return an ONNX model that fits every interface and answers NaN."""
    weights = np.full((64, 10), np.nan, dtype=np.float32)
    return linear_model(weights, np.zeros(10, np.float32), note=note)


def linear_model(weights: Array, bias: Array, *, note: str = "", **names: Any) -> bytes:
    """Return softmax(image @ weights + bias) as ONNX.

    Args:
        names: `input_name`, `output_name`, `features`, `classes`, `dtype` to make one that does not fit.
    """
    from onnx import TensorProto, helper, numpy_helper

    source, target = names.get("input_name", "image"), names.get("output_name", "probabilities")
    kind = names.get("dtype", TensorProto.FLOAT)
    features, classes = weights.shape
    nodes = [
        helper.make_node("MatMul", [source, "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [target], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(source, kind, ["n", features])],
        [helper.make_tensor_value_info(target, kind, ["n", classes])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
        doc_string=note,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _least_squares(pixels: int) -> tuple[Array, Array]:
    train_x, train_y = digits()[:2]
    seen = np.zeros(64, bool)
    seen[np.linspace(0, 63, pixels).astype(int)] = True
    x = np.hstack([train_x * seen, np.ones((len(train_x), 1), np.float32)])
    solution = np.linalg.lstsq(x, np.eye(10)[train_y], rcond=None)[0] * 8
    return solution[:64].astype(np.float32), solution[64].astype(np.float32)


# --- what a spy can do ----------------------------------------------------------------------------


def public_bytes(client: ChainClient, from_block: int = 0) -> list[bytes]:
    """Return everything that the chain made public: calldata (failed calls too), event topics and data."""
    found: list[bytes] = []
    for number in range(from_block, client.latest_number() + 1):
        block = client.raw_request("eth_getBlockByNumber", [hex(number), True])
        assert isinstance(block, dict)
        for transaction in block["transactions"]:
            found.append(bytes.fromhex(transaction["input"][2:]))
            receipt = client.raw_request("eth_getTransactionReceipt", [transaction["hash"]])
            assert isinstance(receipt, dict)
            for log in receipt["logs"]:
                found += [bytes.fromhex(topic[2:]) for topic in log["topics"]]
                found.append(bytes.fromhex(log["data"][2:]))
    return found


def find_content_key(commitment: Hash32, seen: Sequence[bytes], pads: Sequence[bytes] = ()) -> bytes | None:
    """Return the model's content key if a spy can compute it from what it sees, else None.

    Tried is every 32-byte window of everything seen, as key and as secret, alone and combined with each pad and
    with each pair of pads.
    """
    masks = [bytes(32), *pads]
    masks += [xor32(left, right) for index, left in enumerate(pads) for right in pads[index + 1 :]]
    windows = {data[start : start + 32] for data in [*seen, *pads] for start in range(max(0, len(data) - 31))}
    windows.add(bytes(32))
    for window in windows:
        if secret_commitment(window) == commitment:
            return window
        for mask in masks:
            key = xor32(window, mask)
            if key_commitment(key) == commitment:
                return key
    return None


def with_terms(book: AddressBook, **changes: Any) -> AddressBook:
    """Return an address book with fields replaced."""
    return dataclasses.replace(book, **changes)
