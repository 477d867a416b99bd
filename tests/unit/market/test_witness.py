"""A witness signs finalised blocks only, and never two of one height, also across a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from goldengrain.accounts import Account
from goldengrain.chain.rpc import MalformedReply
from goldengrain.chain.rpc_types import Block, decode_block
from goldengrain.chain.witness import Statement, Witness
from goldengrain.chain.witness_client import (
    WitnessCollector,
    decode_statement,
    find_equivocation,
    verify_equivocation,
)
from goldengrain.chain.witness_record import Equivocation, WitnessRecord
from goldengrain.chain.witness_server import WitnessServer, statement_json
from goldengrain_protocol.canonical import encode, encode_int
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import TrustedBlock
from goldengrain_protocol.proofs.witness_quorum import FinalizedBlock, WitnessQuorum
from goldengrain_protocol.types import Hash32, hash32

CHAIN_ID = 31337
GENESIS = hash32(keccak256(b"genesis"))


def make_block(number: int, fork: str = "main") -> Block:
    """Return a block whose header hashes; blocks of another fork have another hash."""
    zero = "0x" + "00" * 32
    fields: dict[str, Any] = {
        "parentHash": zero,
        "sha3Uncles": zero,
        "miner": "0x" + "00" * 20,
        "stateRoot": "0x" + keccak256(f"{fork}/{number}".encode()).hex(),
        "transactionsRoot": zero,
        "receiptsRoot": zero,
        "logsBloom": "0x" + "00" * 256,
        "difficulty": "0x0",
        "number": hex(number),
        "gasLimit": "0x1c9c380",
        "gasUsed": "0x0",
        "timestamp": hex(1_700_000_000 + 12 * number),
        "extraData": "0x",
        "mixHash": zero,
        "nonce": "0x0000000000000000",
        "baseFeePerGas": "0x7",
    }
    items = [
        encode_int(int(value, 16))
        if name in ("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas")
        else bytes.fromhex(value[2:])
        for name, value in fields.items()
    ]
    fields["hash"] = "0x" + keccak256(encode(items)).hex()
    return decode_block(fields)


@dataclass
class Node:
    """What a witness asks of its node."""

    final: int = 100
    fork: str = "main"
    chain_id: int = CHAIN_ID
    genesis_hash: Hash32 = GENESIS
    forged: dict[int, Block] = field(default_factory=dict)

    def block(self, tag: int | str) -> Block:
        number = self.final if isinstance(tag, str) else tag
        return self.forged.get(number) or make_block(number, self.fork)


def account(index: int) -> Account:
    return Account.from_private_key(keccak256(f"witness {index}".encode()), f"w{index}")


@pytest.fixture
def record(tmp_path: Path) -> WitnessRecord:
    return WitnessRecord.create(tmp_path / "signed.sqlite", CHAIN_ID, GENESIS, account(0).address)


def reopened(record: WitnessRecord) -> WitnessRecord:
    return WitnessRecord.open(record._path, CHAIN_ID, GENESIS, record.witness)


def witness(node: Node, record: WitnessRecord, index: int = 0) -> Witness:
    return Witness(node, account(index), record)  # type: ignore[arg-type]


QUORUM = WitnessQuorum.of(CHAIN_ID, GENESIS, 2, [account(i).address for i in range(3)])


def test_signs_the_finalised_block(record: WitnessRecord) -> None:
    node = Node()
    statement = witness(node, record).sign_latest()
    assert statement.block.number == 100
    assert statement.block.hash == make_block(100).hash
    assert QUORUM.signer(statement.block, statement.signature) == account(0).address
    assert decode_statement(QUORUM, statement_json(statement)) == statement


def test_refuses_a_block_that_is_not_final(record: WitnessRecord) -> None:
    daemon = witness(Node(final=100), record)
    assert daemon.sign_at(99).block.number == 99
    with pytest.raises(VerificationError, match="must be final"):
        daemon.sign_at(101)
    with pytest.raises(VerificationError, match="must be final"):
        witness(Node(final=10_000), record).sign_at(10_000 - 8192)


def test_signs_one_height_twice_only_with_the_same_hash(record: WitnessRecord) -> None:
    first = witness(Node(), record).sign_latest()
    assert witness(Node(), reopened(record)).sign_latest() == first
    with pytest.raises(Equivocation, match="at height 100"):
        witness(Node(fork="other"), reopened(record)).sign_latest()


def test_a_conflict_stops_everything_until_a_person_looks(record: WitnessRecord) -> None:
    daemon = witness(Node(), record)
    daemon.sign_at(99)
    with pytest.raises(Equivocation):
        witness(Node(fork="other"), record).sign_at(99)
    # Also what the node is right about, what was signed before, and after a restart.
    for action in (lambda: daemon.sign_at(98), lambda: daemon.sign_at(99), daemon.sign_latest):
        with pytest.raises(Equivocation, match="signs nothing more"):
            action()
    with pytest.raises(Equivocation):
        witness(Node(), reopened(record)).sign_latest()


def test_refuses_a_fork_at_a_height_not_signed_yet(record: WitnessRecord) -> None:
    witness(Node(final=100), record).sign_latest()
    with pytest.raises(Equivocation, match="at height 100"):
        witness(Node(final=132, fork="other"), record).sign_latest()


def test_refuses_older_blocks_of_a_fork(record: WitnessRecord) -> None:
    """Height 90 was never signed, but the node's chain lacks what was signed at 100, or at 80."""
    witness(Node(final=80), record).sign_latest()
    witness(Node(final=100), record).sign_latest()
    for final in (100, 95):
        own = WitnessRecord.create(
            record._path.with_name(f"{final}.sqlite"), CHAIN_ID, GENESIS, record.witness
        )
        for number in (80, 100):
            witness(Node(final=number), own).sign_latest()
        with pytest.raises(Equivocation, match=f"at height {100 if final == 100 else 80}"):
            witness(Node(final=final, fork="other"), own).sign_at(90)
        assert own.at(90) is None


def test_a_node_that_lags_is_no_conflict(record: WitnessRecord) -> None:
    witness(Node(final=100), record).sign_latest()
    assert witness(Node(final=90), record).sign_latest().block.number == 90


def test_refuses_a_header_that_does_not_hash(record: WitnessRecord) -> None:
    block = make_block(100)
    forged = decode_block({**block.fields, "stateRoot": "0x" + "11" * 32})
    with pytest.raises(MalformedReply):
        witness(Node(forged={100: forged}), record).sign_latest()
    assert record.newest() is None


def test_what_was_recorded_before_a_crash_binds_after_it(record: WitnessRecord, monkeypatch: Any) -> None:
    """Killed between the record and the signature: the height is taken, for that hash alone."""

    def die(_self: Account, _digest: Hash32) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Account, "sign_digest", die)
        with pytest.raises(KeyboardInterrupt):
            witness(Node(), record).sign_latest()
    with pytest.raises(Equivocation):
        witness(Node(fork="other"), reopened(record)).sign_latest()


def test_no_signature_without_a_durable_record(record: WitnessRecord, monkeypatch: Any) -> None:
    signed = []
    monkeypatch.setattr(Account, "sign_digest", lambda _self, digest: signed.append(digest))
    record._path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(UnavailableError, match="cannot be used"):
        witness(Node(), record).sign_latest()
    assert signed == []


def test_killed_processes_leave_a_record_that_covers_every_signature(tmp_path: Path) -> None:
    """A process signs and prints as fast as it can; whatever it printed before SIGKILL is recorded."""
    path = tmp_path / "signed.sqlite"
    WitnessRecord.create(path, CHAIN_ID, GENESIS, account(0).address)
    program = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from goldengrain.chain.witness_record import WitnessRecord
        from tests.unit.market.test_witness import *
        record = WitnessRecord.open(Path({str(path)!r}), CHAIN_ID, GENESIS, account(0).address)
        at = record.newest()
        number = at.number + 1 if at else 1
        while True:
            print(number, witness(Node(final=number), record).sign_latest().block.hash.hex(), flush=True)
            number += 1
        """
    )
    printed: dict[int, str] = {}
    root = Path(__file__).resolve().parents[3]
    for wanted in (3, 5):
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            cwd=root,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert process.stdout is not None
        for _ in range(wanted):
            number, block_hash = process.stdout.readline().split()
            assert printed.setdefault(int(number), block_hash) == block_hash
        process.send_signal(signal.SIGKILL)
        for line in process.stdout.read().splitlines():
            if len(words := line.split()) == 2 and len(words[1]) == 64:
                assert printed.setdefault(int(words[0]), words[1]) == words[1]
        process.wait()
    record = WitnessRecord.open(path, CHAIN_ID, GENESIS, account(0).address)
    assert len(printed) >= 8
    for number_, hash_ in printed.items():
        at = record.at(number_)
        assert at is not None
        assert at.hash.hex() == hash_


def test_a_record_belongs_to_one_key_on_one_chain(record: WitnessRecord) -> None:
    with pytest.raises(InvalidInput, match="already"):
        WitnessRecord.create(record._path, CHAIN_ID, GENESIS, record.witness)
    for chain, genesis, who in (
        (1, GENESIS, record.witness),
        (CHAIN_ID, hash32(bytes(32)), record.witness),
        (CHAIN_ID, GENESIS, account(1).address),
    ):
        with pytest.raises(InvalidInput, match="another key or chain"):
            WitnessRecord.open(record._path, chain, genesis, who)
    with pytest.raises(InvalidInput, match="no record"):
        WitnessRecord.open(record._path.with_name("none"), CHAIN_ID, GENESIS, record.witness)
    with pytest.raises(InvalidInput):
        witness(Node(chain_id=1), record)
    with pytest.raises(InvalidInput):
        witness(Node(), record, index=1)


# --- over HTTP --------------------------------------------------------------------------------------------------


@dataclass
class Running:
    """A witness with its server."""

    node: Node
    witness: Witness
    server: WitnessServer
    url: str


@pytest.fixture
def running(tmp_path: Path) -> Any:
    started: list[Running] = []

    def start(index: int, node: Node) -> Running:
        path = tmp_path / f"signed-{index}-{len(started)}.sqlite"
        own = WitnessRecord.create(path, CHAIN_ID, GENESIS, account(index).address)
        daemon = witness(node, own, index)
        server = WitnessServer(daemon, "127.0.0.1", 0)
        started.append(Running(node, daemon, server, server.start()))
        daemon.sign_latest()
        return started[-1]

    yield start
    for each in started:
        each.server.stop()


def test_collects_the_newest_block_that_enough_call_final(running: Any) -> None:
    urls = [running(i, Node(final=final)).url for i, final in enumerate((132, 100, 132))]
    evidence = WitnessCollector(QUORUM, urls).collect()
    assert evidence.block.number == 132
    assert QUORUM.finalized(evidence.encode()) == TrustedBlock(132, make_block(132).hash)
    older = WitnessCollector(QUORUM, urls).collect(90)
    assert QUORUM.finalized(older.encode()).number == 90


def test_one_witness_down_and_one_talking_nonsense(running: Any) -> None:
    first, second = (running(i, Node()).url for i in range(2))
    nobody = "http://127.0.0.1:9"
    evidence = WitnessCollector(QUORUM, [nobody, first, second], timeout_s=3).collect()
    assert QUORUM.finalized(evidence.encode()).number == 100
    with pytest.raises(UnavailableError, match="fewer than 2 witnesses"):
        WitnessCollector(QUORUM, [nobody, first], timeout_s=3).collect()
    # The same witness twice is one vote.
    with pytest.raises(UnavailableError, match="fewer than 2 witnesses"):
        WitnessCollector(QUORUM, [first, first], timeout_s=3).collect()


def test_a_witness_on_a_fork_cannot_outvote(running: Any) -> None:
    urls = [running(0, Node()).url, running(1, Node(fork="other")).url, running(2, Node()).url]
    block = WitnessCollector(QUORUM, urls).collect().block
    assert block.hash == make_block(100).hash
    with pytest.raises(UnavailableError, match=r"1 for 0x.*1 for 0x"):
        WitnessCollector(QUORUM, urls[:2]).collect()


def test_a_stranger_is_not_counted(running: Any) -> None:
    urls = [running(7, Node()).url, running(1, Node()).url]
    with pytest.raises(UnavailableError, match="not a pinned witness"):
        WitnessCollector(QUORUM, urls).collect()


def test_the_door_says_what_is_wrong(running: Any) -> None:
    url = running(0, Node()).url
    assert requests.get(url + "/v1/blocks/101", timeout=5).status_code == 409
    assert requests.get(url + f"/v1/blocks/{2**64}", timeout=5).status_code == 400
    assert requests.get(url + "/v1/blocks/-1", timeout=5).status_code == 404
    assert requests.get(url + "/v1/witness", timeout=5).json()["chain_id"] == CHAIN_ID


def test_two_statements_about_one_height_convict(tmp_path: Path) -> None:
    def stated(fork: str, index: int = 0, final: int = 100) -> Statement:
        path = tmp_path / f"{fork}{index}{final}.sqlite"
        own = WitnessRecord.create(path, CHAIN_ID, GENESIS, account(index).address)
        return witness(Node(final=final, fork=fork), own, index).sign_latest()

    first, second = stated("main"), stated("other")
    assert verify_equivocation(QUORUM, first, second) == account(0).address
    found = find_equivocation([stated("main", 1), first, stated("main", final=101), second])
    assert found is not None
    assert (found.first, found.second) == (first, second)
    assert find_equivocation([first, first, stated("other", 2)]) is None
    for other in (first, stated("other", 1), stated("other", final=90)):
        with pytest.raises(VerificationError):
            verify_equivocation(QUORUM, first, other)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 100},
        {"number": "-1"},
        {"number": "1e3"},
        {"number": "9" * 30},
        {"hash": "0x12"},
        {"signature": "0x" + "00" * 65},
        {"signature": None},
        {"timestamp": "0"},
    ],
)
def test_malformed_statements_are_refused(record: WitnessRecord, change: dict[str, Any]) -> None:
    value = statement_json(witness(Node(), record).sign_latest())
    with pytest.raises((UnavailableError, VerificationError)):
        decode_statement(QUORUM, {**value, **change})


def test_a_statement_of_another_chain_is_refused(record: WitnessRecord) -> None:
    value = statement_json(witness(Node(), record).sign_latest())
    for chain_id, genesis in ((1, GENESIS), (CHAIN_ID, hash32(bytes(32)))):
        other = WitnessQuorum.of(chain_id, genesis, 1, list(QUORUM.witnesses))
        with pytest.raises(VerificationError):
            decode_statement(other, value)


def test_statements_are_about_the_block_named() -> None:
    assert FinalizedBlock(1, GENESIS, 2) != FinalizedBlock(1, GENESIS, 3)
