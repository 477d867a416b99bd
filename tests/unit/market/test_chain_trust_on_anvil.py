"""Evidence of every chain-trust mode, fetched from a real chain and accepted as an enclave would."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from goldengrain.accounts import Account, AccountStore
from goldengrain.chain.address_book import AddressBook, ChainTrustEntry, decode_address_book
from goldengrain.chain.client import ChainClient
from goldengrain.chain.devnet import DevnetStatus
from goldengrain.chain.proofs import fetch_chain_proof
from goldengrain.chain.transactions import TransactionSender
from goldengrain.chain.trust_sources import trust_source
from goldengrain.chain.witness import Witness
from goldengrain.chain.witness_client import WitnessCollector
from goldengrain.chain.witness_record import WitnessRecord
from goldengrain.chain.witness_server import WitnessServer
from goldengrain.home import Home
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import verify_market_state
from goldengrain_protocol.proofs.account import mapping_slot
from goldengrain_protocol.proofs.ethereum_pos.network import PresetId
from goldengrain_protocol.proofs.witness_quorum import WitnessQuorum
from goldengrain_protocol.types import hash32
from tests.unit.market.fake_beacon import BeaconWorld, FakeBeacon
from tests.unit.protocol.proofs_pos.beacon_chain import Chain, network

pytestmark = pytest.mark.anvil

Deployment = tuple[AddressBook, TransactionSender]
SLOTS = [mapping_slot(0, hash32(bytes([n]) * 32)) for n in (1, 2)]


@pytest.fixture
def client(deployment: Deployment) -> ChainClient:
    return ChainClient.for_book(deployment[0])


@pytest.fixture
def witnesses(client: ChainClient, tmp_path: Path) -> Iterator[list[tuple[Witness, str]]]:
    """Three witnesses of the chain, running."""
    stop = threading.Event()
    running: list[tuple[Witness, WitnessServer, str, threading.Thread]] = []
    for index in range(3):
        account = Account.from_private_key(keccak256(f"anvil witness {index}".encode()))
        record = WitnessRecord.create(
            tmp_path / f"{index}.sqlite", client.chain_id, client.genesis_hash, account.address
        )
        witness = Witness(client, account, record)
        server = WitnessServer(witness, "127.0.0.1", 0)
        thread = threading.Thread(target=witness.run, args=(stop.is_set,), kwargs={"poll_s": 0.1})
        running.append((witness, server, server.start(), thread))
        thread.start()
    while any(witness.latest is None for witness, *_ in running):
        time.sleep(0.05)
    yield [(witness, url) for witness, _, url, _ in running]
    stop.set()
    for _, server, _, thread in running:
        thread.join()
        server.stop()


def witness_book(book: AddressBook, client: ChainClient, witnesses: list[tuple[Witness, str]]) -> AddressBook:
    quorum = WitnessQuorum.of(
        client.chain_id, client.genesis_hash, 2, [witness.address for witness, _ in witnesses]
    )
    entry = ChainTrustEntry(
        "witness-quorum", checkpoint=quorum.checkpoint(), endpoints=tuple(url for _, url in witnesses)
    )
    return replace(book, chain_trust=entry, development=False)


def test_witness_quorum(
    deployment: Deployment, client: ChainClient, witnesses: list[tuple[Witness, str]], home: Home
) -> None:
    book = witness_book(deployment[0], client, witnesses)
    assert decode_address_book(book.encode()) == book
    source = trust_source(book, home)
    proof = fetch_chain_proof(client, book.enclave_config(), SLOTS, source=source)
    view = verify_market_state(book.enclave_config(), proof, SLOTS)
    assert view.anchor_number <= client.finalized_number()
    assert view.values == (0, 0)
    anchor = view.anchor_number - 1
    older = fetch_chain_proof(client, book.enclave_config(), SLOTS, anchor=anchor, source=source)
    assert verify_market_state(book.enclave_config(), older, SLOTS).anchor_number == anchor


def test_witnesses_of_another_chain_do_not_fit_the_book(
    deployment: Deployment, client: ChainClient, witnesses: list[tuple[Witness, str]]
) -> None:
    book = witness_book(deployment[0], client, witnesses)
    with pytest.raises(InvalidInput, match="another chain"):
        replace(book, genesis_hash=hash32(bytes(32))).enclave_config()
    with pytest.raises(InvalidInput, match="another chain"):
        replace(book, chain_id=1).enclave_config()


def test_ethereum_pos(
    deployment: Deployment, shared_chain: DevnetStatus, client: ChainClient, home: Home
) -> None:
    """A beacon chain around the real execution chain; older anchors through its EIP-2935 contract."""
    assert shared_chain.chain_id == client.chain_id
    while client.finalized_number() < 12:
        time.sleep(0.1)
    world = BeaconWorld(Chain(network(PresetId.MINIMAL, electra=0, fulu=20), 9), 2)
    head = client.block("finalized")
    world.advance(3, block=(head.number, head.hash))
    node = FakeBeacon(world)
    try:
        entry = ChainTrustEntry(
            "ethereum-pos",
            checkpoint=world.mode.checkpoint(),
            endpoints=(node.url, "http://127.0.0.1:9"),
        )
        book = replace(deployment[0], chain_trust=entry, development=False)
        assert decode_address_book(book.encode()) == book
        config = book.enclave_config()
        source = trust_source(book, home)
        proof = fetch_chain_proof(client, config, SLOTS, source=source)
        assert verify_market_state(config, proof, SLOTS).anchor_hash == head.hash
        anchor = head.number - 7
        older = fetch_chain_proof(client, config, SLOTS, anchor=anchor, source=source)
        view = verify_market_state(config, older, SLOTS)
        assert (view.anchor_number, view.anchor_hash) == (anchor, client.block(anchor).hash)
        with pytest.raises(UnavailableError, match="not final yet"):
            fetch_chain_proof(client, config, SLOTS, anchor=head.number + 1, source=source)
    finally:
        node.close()


def test_a_mode_without_a_source_is_refused(
    deployment: Deployment, client: ChainClient, witnesses: list[tuple[Witness, str]]
) -> None:
    book = witness_book(deployment[0], client, witnesses)
    with pytest.raises(InvalidInput, match="needs a source"):
        fetch_chain_proof(client, book.enclave_config(), SLOTS)


def test_the_daemon_from_its_command(
    shared_chain: DevnetStatus, client: ChainClient, home: Home, tmp_path: Path
) -> None:
    """init once, run, stop on SIGTERM, run again; without its record it does not start."""
    password = tmp_path / "password"
    password.write_text("secret")
    account = AccountStore(home).create("wit", "secret", dangerous_light_kdf=True)
    options = ["--rpc", shared_chain.rpc_url, "--account", "wit", "--password-file", str(password)]
    options += ["--home", str(home.root), "--json"]

    def gg(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "goldengrain.cli.main", "witness", *words, *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    refused = gg("run", "--listen", "127.0.0.1:0")
    assert "gg witness init" in "".join(refused.communicate(timeout=60))
    assert refused.returncode != 0
    begun = gg("init")
    out, _ = begun.communicate(timeout=60)
    assert json.loads(out)["witness"] == account.checksum
    quorum = WitnessQuorum.of(client.chain_id, client.genesis_hash, 1, [account.address])
    for _ in range(2):
        daemon = gg("run", "--listen", "127.0.0.1:0")
        assert daemon.stderr is not None
        url = ""
        while not url:
            line = daemon.stderr.readline()
            assert line, "the daemon ended"
            found = re.search(r"http://[0-9.]+:[0-9]+", line)
            url = found[0] if found else ""
        deadline = time.monotonic() + 30
        while True:
            try:
                evidence = WitnessCollector(quorum, [url]).collect()
                break
            except UnavailableError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert quorum.finalized(evidence.encode()).number <= client.finalized_number()
        daemon.send_signal(signal.SIGTERM)
        out, _ = daemon.communicate(timeout=60)
        assert daemon.returncode == 0
        assert json.loads(out)["statements"] >= 1
