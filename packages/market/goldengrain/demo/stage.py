"""The demo's stage: a home of its own, a development chain, accounts, contracts and a running worker."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from goldengrain.accounts import Account, AccountStore
from goldengrain.chain.address_book import AddressBook
from goldengrain.chain.client import ChainClient
from goldengrain.chain.contracts import Token
from goldengrain.chain.devnet import Devnet, fund
from goldengrain.home import Home, atomic_write
from goldengrain.host.setup import DeploymentPlan, deploy_market, give_dev_tokens
from goldengrain.sdk.session import Session
from goldengrain_protocol.constants import EnclaveState
from goldengrain_protocol.errors import UnavailableError
from goldengrain_protocol.types import Address

NETWORK: Final = "devnet"
TOKEN: Final = "USDG"
START_ETH_WEI: Final = 100 * 10**18
START_TOKEN_UNITS: Final = 10_000 * 10**6
WORKER_TIMEOUT_S: Final = 60.0
PASSWORD: Final = "only for play money"


class Stage:
    """Everything the actors share. Made by `set_stage`, which also takes it down."""

    def __init__(self, home: Home, book: AddressBook, worker_url: str, accounts: dict[str, Account]) -> None:
        self.home = home
        self.book = book
        self.worker_url = worker_url
        self.accounts = accounts
        self.client = ChainClient.for_book(book)
        self.token_address: Address = book.token(TOKEN).address

    def session(self, name: str) -> Session:
        """Return a session of one of the actors."""
        return Session(self.home, self.book, account=self.accounts[name], worker_urls=[self.worker_url])

    def eth(self, name: str) -> int:
        """Return an actor's balance in wei."""
        return self.client.balance(self.accounts[name].address)

    def tokens(self, name: str) -> int:
        """Return an actor's balance of the demo's token, in its smallest unit."""
        return Token(self.client, self.token_address).balance_of(self.accounts[name].address)


@contextmanager
def set_stage(
    actors: Sequence[str],
    *,
    keep: Path | None = None,
    on_progress: Callable[[str], None] = lambda _what: None,
) -> Iterator[Stage]:
    """Start chain, contracts and worker for `actors`; stop what was started, whatever happens.

    Args:
        keep: a directory to leave everything in; a temporary one is removed by default.
    """
    directory = keep or Path(tempfile.mkdtemp(prefix="goldengrain-demo-"))
    home = Home(directory)
    chain = Devnet(home)
    worker: subprocess.Popen[bytes] | None = None
    try:
        on_progress("starting a development chain")
        rpc_url = chain.up().rpc_url
        accounts = _make_accounts(home, rpc_url, ["deployer", "worker", *actors])
        book = deploy_market(home, _plan(rpc_url), accounts["deployer"], on_progress=on_progress)
        for name in actors:
            token = book.token(TOKEN).address
            give_dev_tokens(
                home, ChainClient.for_book(book), token, accounts[name].address, START_TOKEN_UNITS
            )
        port = _free_port()
        on_progress("starting a worker with its enclave")
        worker = _start_worker(home, port)
        stage = Stage(home, book, f"http://127.0.0.1:{port}", accounts)
        _await_worker(stage, worker)
        yield stage
    finally:
        if worker is not None:
            _stop(worker)
        chain.down()
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)


def _make_accounts(home: Home, rpc_url: str, names: Sequence[str]) -> dict[str, Account]:
    store = AccountStore(home)
    atomic_write(home.root / "password", PASSWORD.encode())
    client = ChainClient(rpc_url)
    accounts: dict[str, Account] = {}
    for name in names:
        accounts[name] = store.create(name, PASSWORD, dangerous_light_kdf=True)
        fund(client, accounts[name].address, START_ETH_WEI)
    return accounts


def _plan(rpc_url: str) -> DeploymentPlan:
    return DeploymentPlan(
        network=NETWORK,
        rpc_url=rpc_url,
        auditors=(),
        threshold=0,
        tokens=(TOKEN,),
        blob_url=None,
        confirmations=2,
        development=True,
    )


def _start_worker(home: Home, port: int) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "goldengrain.cli.main", "worker", "run"),
        *("--home", str(home.root), "--network", NETWORK, "--account", "worker"),
        *("--password-file", str(home.root / "password"), "--listen", f"127.0.0.1:{port}"),
    ]
    with (home.root / "worker.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(os.environ),
            start_new_session=True,
        )


def _await_worker(stage: Stage, worker: subprocess.Popen[bytes]) -> None:
    from goldengrain.chain.events import RegisteredEvent

    session = stage.session("worker")
    end = time.monotonic() + WORKER_TIMEOUT_S
    while time.monotonic() < end and worker.poll() is None:
        for event in session.registry.events(RegisteredEvent, from_block=stage.book.deployed_at_block):
            if session.registry.enclave_status(event.enclave_id).state == EnclaveState.REGISTERED:
                return
        time.sleep(0.2)
    tail = (stage.home.root / "worker.log").read_text(errors="replace").strip().splitlines()[-3:]
    raise UnavailableError(f"the worker did not start: {' / '.join(tail)}", next_step="see `gg doctor`")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
