"""What the tests of the market package share: a development chain, funded accounts, and nodes that misbehave."""

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from goldengrain.accounts import Account
from goldengrain.chain.address_book import AddressBook, ChainTrustEntry
from goldengrain.chain.client import ChainClient
from goldengrain.chain.deploy import TokenPlan, VerifierPlan, deploy
from goldengrain.chain.devnet import Devnet, DevnetStatus, dev_private_key, fund
from goldengrain.chain.journal import TransactionJournal
from goldengrain.chain.transactions import TransactionSender
from goldengrain.home import Home
from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.hashing import keccak256

BLOCK_TIME_S = 0.2
ETHER = 10**18


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A fresh home directory."""
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def shared_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetStatus]:
    """A development chain for tests that disturb nobody."""
    devnet = Devnet(Home(tmp_path_factory.mktemp("shared-chain")))
    yield devnet.up(block_time_s=BLOCK_TIME_S)
    devnet.down()


@pytest.fixture
def own_chain(home: Home) -> Iterator[DevnetStatus]:
    """A development chain for one test to reorganise, stop or starve."""
    devnet = Devnet(home)
    yield devnet.up(block_time_s=BLOCK_TIME_S)
    devnet.down()


@dataclass(frozen=True)
class Party:
    """A funded account with everything it needs to send."""

    account: Account
    client: ChainClient
    sender: TransactionSender
    home: Home


@pytest.fixture
def party(home: Home) -> Callable[..., Party]:
    """Make funded accounts: `party(chain, seed=1, balance_wei=...)`."""

    def make(chain: DevnetStatus, seed: int = 1, balance_wei: int = 10 * ETHER, **options: object) -> Party:
        client = ChainClient(chain.rpc_url, timeout_s=5.0)
        key = keccak256(f"{home.root} {seed}".encode())
        account = Account.from_private_key(key, f"party-{seed}")
        if balance_wei:
            fund(client, account.address, balance_wei)
        sender = TransactionSender(client, account, TransactionJournal.open(home), **options)  # type: ignore[arg-type]
        return Party(account, client, sender, home)

    return make


Answer = Callable[[dict[str, object]], "bytes | None"]
"""From the JSON-RPC request to the raw HTTP response; None drops the connection."""


@pytest.fixture
def http_node() -> Iterator[Callable[[Answer], str]]:
    """Start a node that answers with whatever a function says; returns its address."""
    servers: list[socketserver.ThreadingTCPServer] = []

    def start(answer: Answer) -> str:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                length = 0
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                request = json.loads(self.rfile.read(length) or b"{}")
                response = answer(request)
                if response is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                try:
                    self.wfile.write(response)
                except OSError:
                    return

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Wait for a condition: `wait_until(lambda: ..., timeout_s=10)`."""

    def wait(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.05)

    return wait


@pytest.fixture(scope="session")
def deployment(
    shared_chain: DevnetStatus, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AddressBook, TransactionSender]:
    """The contracts on the shared chain, and the account that deployed them and is the only auditor."""
    home = Home(tmp_path_factory.mktemp("deployment"))
    client = ChainClient(shared_chain.rpc_url)
    deployer = Account.from_private_key(dev_private_key(0), "deployer")
    sender = TransactionSender(client, deployer, TransactionJournal.open(home))
    book = deploy(
        home,
        sender,
        name="shared",
        development=True,
        chain_trust=ChainTrustEntry("dev-pinned", 2),
        verifiers=[VerifierPlan("simulated", (deployer.address,), 1, Assurance.SIMULATED, "simulated")],
        tokens=[TokenPlan("USDX", "Test Dollar", 6)],
    )
    return book, sender
