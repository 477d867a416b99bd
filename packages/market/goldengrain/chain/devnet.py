"""A development chain on this machine: anvil in the background, one per home directory.

The chain keeps its state and port over restarts. Anvil counts a block final two blocks later; with half a
second per block a transaction is final after one to two seconds. It listens on 127.0.0.1 only, and its
accounts are the well-known test accounts: nothing on it is worth anything.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from goldengrain.accounts import Account, key_of_mnemonic
from goldengrain.chain.client import ChainClient
from goldengrain.home import Home, atomic_write, read_json_object
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, UnavailableError
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32

CHAIN_ID: Final = 31337
HARDFORK: Final = "osaka"
DEV_MNEMONIC: Final = "test test test test test test test test test test test junk"
"""The mnemonic of every Ethereum development chain: public, worthless."""
DEV_BALANCE_WEI: Final = 10_000 * 10**18
BANK_INDEX: Final = 9
"""The development account that funds others."""
ANVIL_VARIABLE: Final = "GG_ANVIL"
"""Environment variable naming the anvil program, where it is not found by itself."""

_STATE_INTERVAL_S: Final = 10
_HOST: Final = "127.0.0.1"
_PORT_WAIT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class DevnetStatus:
    """A running development chain."""

    rpc_url: str
    pid: int
    port: int
    chain_id: int
    genesis_hash: Hash32
    block_number: int
    block_time_s: float
    log_path: Path


@dataclass(frozen=True, slots=True)
class _Record:
    """What is written down about the process, to find and recognise it again."""

    pid: int
    started_ticks: int
    """Start time of the process since boot, in clock ticks: a reused pid has another."""
    port: int
    block_time_s: float


class Devnet:
    """The development chain of one home directory."""

    def __init__(self, home: Home) -> None:
        self._home: Final = home
        self.directory: Final = home.devnet_dir
        self.log_path: Final = self.directory / "anvil.log"
        self._state_path: Final = self.directory / "state.json"
        self._record_path: Final = self.directory / "process.json"
        self._genesis_time_path: Final = self.directory / "genesis-time.json"

    def up(
        self,
        *,
        port: int = 0,
        block_time_s: float = 0.5,
        accounts: int = 10,
        extra_arguments: Sequence[str] = (),
        timeout_s: float = 20.0,
    ) -> DevnetStatus:
        """Start the chain unless it runs, wait until it answers and has a finalised block, and return it.

        Args:
            port: 0 picks the port of the last time, or a free one.
            extra_arguments: passed on to anvil, for experiments.

        Raises:
            InvalidInput: the port is taken, or no anvil is installed.
            UnavailableError: it does not start in time; the message ends with its last words.
        """
        self._home.ensure(self.directory)
        with self._home.lock("devnet", wait_s=timeout_s):
            record = self._running()
            if record is None:
                record = self._start(port, block_time_s, accounts, extra_arguments)
                self._set_clock(record, timeout_s)
            elif port not in (0, record.port):
                raise InvalidInput(
                    f"the development chain runs on port {record.port} already",
                    next_step="stop it with `gg devnet down` first",
                )
            return self._wait_ready(record, timeout_s)

    def status(self) -> DevnetStatus | None:
        """Return the running chain, None if it does not run.

        Raises:
            UnavailableError: its process runs and does not answer.
        """
        record = self._running()
        if record is None:
            return None
        return self._describe(record, ChainClient(_url(record.port), timeout_s=5.0))

    def down(self, *, timeout_s: float = 20.0) -> bool:
        """Stop the chain, its state saved; return whether it ran.

        Only a process that is the recorded anvil is ever signalled.

        Raises:
            UnavailableError: it does not stop in time.
        """
        if not self._record_path.exists():
            return False
        with self._home.lock("devnet", wait_s=timeout_s):
            record = self._running()
            if record is None:
                return False
            _signal(record, signal.SIGTERM)
            deadline = time.monotonic() + timeout_s
            while _is_ours(record):
                if time.monotonic() > deadline:
                    raise UnavailableError(
                        f"anvil (process {record.pid}) does not stop within {timeout_s:g} s",
                        next_step=f"stop process {record.pid} yourself",
                    )
                time.sleep(0.05)
            # The record stays: it remembers the port, which address books name.
            return True

    def reset(self) -> None:
        """Forget the chain's state; the next `up` begins a new chain with another genesis block.

        Raises:
            InvalidInput: it runs.
        """
        with self._home.lock("devnet", wait_s=5.0):
            if self._running() is not None:
                raise InvalidInput(
                    "the development chain runs", next_step="stop it with `gg devnet down` first"
                )
            for path in (self._state_path, self._record_path, self._genesis_time_path, self.log_path):
                path.unlink(missing_ok=True)

    def _start(
        self, port: int, block_time_s: float, accounts: int, extra_arguments: Sequence[str]
    ) -> _Record:
        program = find_anvil()
        port = _choose_port(port, self._last_port(), keep_last=self._state_path.exists())
        self._check_state()
        arguments = [
            str(program),
            *("--host", _HOST),
            *("--port", str(port)),
            *("--chain-id", str(CHAIN_ID)),
            *("--hardfork", HARDFORK),
            *("--block-time", f"{block_time_s:g}"),
            *("--slots-in-an-epoch", "1"),
            *("--accounts", str(accounts)),
            *("--mnemonic", DEV_MNEMONIC),
            *("--state", str(self._state_path)),
            *("--state-interval", str(_STATE_INTERVAL_S)),
            # Without it anvil makes another genesis block at its second restart.
            *("--timestamp", str(self._genesis_time())),
            *extra_arguments,
        ]
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.directory,
                env=_quiet_environment(),
            )
        ticks = _start_ticks(process.pid)
        record = _Record(process.pid, ticks or 0, port, block_time_s)
        atomic_write(self._record_path, json.dumps(asdict(record)).encode())
        return record

    def _genesis_time(self) -> int:
        """Return the Unix time of this chain's genesis block, chosen at its first start."""
        if self._genesis_time_path.exists():
            return _integer(read_json_object(self._genesis_time_path).get("genesis_time_s"))
        chosen = int(time.time())
        atomic_write(self._genesis_time_path, json.dumps({"genesis_time_s": chosen}).encode())
        return chosen

    def _set_clock(self, record: _Record, timeout_s: float) -> None:
        """Let the chain's time go on from now; anvil starts it at the genesis block's."""
        self._wait_ready(record, timeout_s)
        client = ChainClient(_url(record.port), timeout_s=5.0)
        now = max(int(time.time()), client.block("latest").timestamp)
        client.raw_request("evm_setTime", [now])
        # The first block of the new time, and two that make it final.
        client.wait_for_block(client.latest_number() + 1, finalized=False, timeout_s=timeout_s)

    def _wait_ready(self, record: _Record, timeout_s: float) -> DevnetStatus:
        client = ChainClient(_url(record.port), timeout_s=2.0, attempts=1)
        deadline = time.monotonic() + timeout_s
        while True:
            if not _is_ours(record):
                raise UnavailableError(
                    f"anvil ended at once: {self._last_words()}",
                    next_step=f"read {self.log_path}; if the saved state is damaged, `gg devnet down --reset`",
                )
            try:
                if client.latest_number() >= 2:
                    # After a restart the states of older blocks are gone: a final block must have its own.
                    client.balance(ZERO_ADDRESS, "finalized")
                    return self._describe(record, client)
            except GoldenGrainError as exc:
                problem = exc.message
            else:
                problem = "it makes no blocks"
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"anvil is not ready after {timeout_s:g} s: {problem}",
                    next_step=f"read {self.log_path}",
                )
            time.sleep(0.05)

    def _describe(self, record: _Record, client: ChainClient) -> DevnetStatus:
        return DevnetStatus(
            rpc_url=_url(record.port),
            pid=record.pid,
            port=record.port,
            chain_id=client.chain_id,
            genesis_hash=client.genesis_hash,
            block_number=client.latest_number(),
            block_time_s=record.block_time_s,
            log_path=self.log_path,
        )

    def _running(self) -> _Record | None:
        record = self._read_record()
        return record if record is not None and _is_ours(record) else None

    def _read_record(self) -> _Record | None:
        try:
            value = read_json_object(self._record_path)
            return _Record(
                pid=_integer(value["pid"]),
                started_ticks=_integer(value["started_ticks"]),
                port=_integer(value["port"]),
                block_time_s=float(str(value["block_time_s"])),
            )
        except (InvalidInput, KeyError, TypeError, ValueError):
            return None

    def _last_port(self) -> int:
        record = self._read_record()
        return 0 if record is None else record.port

    def _check_state(self) -> None:
        """Refuse a state file that anvil would choke on (it may have died while writing it)."""
        if not self._state_path.exists():
            return
        try:
            read_json_object(self._state_path)
        except InvalidInput as exc:
            raise UnavailableError(
                f"the saved state of the development chain is damaged: {self._state_path}",
                next_step="begin a new chain with `gg devnet down --reset` (accounts stay, deployments are lost)",
            ) from exc

    def _last_words(self) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        complaints = [line for line in lines[-20:] if "error" in line.lower()]
        lines = complaints or lines
        return " / ".join(lines[-3:]) or "it said nothing"


def find_anvil() -> Path:
    """Return the anvil program: `GG_ANVIL`, the tools beside this Python, or the search path.

    Raises:
        InvalidInput: there is none.
    """
    named = os.environ.get(ANVIL_VARIABLE)
    if named:
        path = Path(named)
        if not path.is_file() or not os.access(path, os.X_OK):
            raise InvalidInput(f"{ANVIL_VARIABLE} names no program: {named}")
        return path
    modules = Path(sys.prefix) / "tools" / "node_modules"
    # The package's platform binary itself: the script beside it needs Node at run time.
    for path in sorted(modules.glob("@foundry-rs/anvil-*/bin/anvil*")):
        if os.access(path, os.X_OK):
            return path
    beside = modules / ".bin" / "anvil"
    if os.access(beside, os.X_OK):
        return beside
    on_path = shutil.which("anvil")
    if on_path is None:
        raise InvalidInput(
            "no anvil found: the development chain needs it",
            next_step=f"run `make setup` in the repository, or install Foundry, or set {ANVIL_VARIABLE}",
        )
    return Path(on_path)


def dev_private_key(index: int) -> bytes:
    """Return the private key of a well-known development account (0 to 9, `DEV_BALANCE_WEI` each).

    Raises:
        InvalidInput: no such account.
    """
    if not 0 <= index < 100:
        raise InvalidInput(f"development accounts are numbered 0 to 99, got {index}")
    return key_of_mnemonic(DEV_MNEMONIC, index)


def fund(client: ChainClient, account: Address, balance_wei: int, *, timeout_s: float = 30.0) -> None:
    """Raise an account's balance to at least `balance_wei` on a development chain.

    By a transfer of the last development account, which anvil signs. (Setting the balance would change the
    state of a block that is mined already: proofs of that block would fail.)

    Raises:
        InvalidInput: more than the development account has.
        UnavailableError: the node is no development node, or makes no blocks.
    """
    missing_wei = balance_wei - client.balance(account)
    if missing_wei <= 0:
        return
    bank = Account.from_private_key(dev_private_key(BANK_INDEX)).address
    if client.balance(bank) <= missing_wei:
        raise InvalidInput(f"the development account has less than {missing_wei} wei left")
    transfer = {"from": "0x" + bank.hex(), "to": "0x" + account.hex(), "value": hex(missing_wei)}
    client.raw_request("eth_sendTransaction", [transfer])
    started = time.monotonic()
    while client.balance(account) < balance_wei:
        if time.monotonic() - started > timeout_s:
            raise UnavailableError(f"the development chain made no block within {timeout_s:g} s")
        time.sleep(0.05)


def _url(port: int) -> str:
    return f"http://{_HOST}:{port}"


def _choose_port(wanted: int, last: int, *, keep_last: bool) -> int:
    """Return the wanted port, else the last one, else a free one; `keep_last` insists on the last."""
    if not wanted and last:
        # A process just killed may hold it for a moment.
        deadline = time.monotonic() + _PORT_WAIT_S
        while not (port := _probe(last)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if port:
            return port
        wanted = last if keep_last else 0
    port = _probe(wanted)
    if not port:
        raise InvalidInput(f"port {wanted} is taken or not allowed", next_step="choose another with --port")
    return port


def _probe(port: int) -> int:
    """Return the port if it can be listened on (for 0 any free one), else 0."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except (OSError, OverflowError):
            return 0
        return int(probe.getsockname()[1])


def _is_ours(record: _Record) -> bool:
    """Return whether the recorded process lives and is the anvil that was started."""
    ticks = _start_ticks(record.pid)
    if ticks is None:
        return False
    if ticks != record.started_ticks:
        return False
    command = _command_line(record.pid)
    return b"anvil" in command and str(record.port).encode() in command.split(b"\0")


def _start_ticks(pid: int) -> int | None:
    """Return when a process was started; None if it is gone or a zombie. Reaps it if it is our child."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _start_ticks_without_proc(pid)
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _start_ticks_without_proc(pid: int) -> int | None:
    """Where there is no /proc: 0 for a living process, so that the command line alone decides."""
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return 0


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        shown = subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False, timeout=10
        )
        return shown.stdout.strip().replace(b" ", b"\0")


def _signal(record: _Record, number: signal.Signals) -> None:
    try:
        os.kill(record.pid, number)
    except ProcessLookupError:
        return


def _quiet_environment() -> dict[str, str]:
    """Return the environment for anvil: nothing of the caller's that may hold a secret."""
    return {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG") if key in os.environ}


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError
    return value
