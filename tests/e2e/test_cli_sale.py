"""The first guide, docs/guides/sell-and-buy.md, run command by command as a newcomer would type it.

Changed is only what three terminals and a reader's eye do: daemons go to the background, ids that a list shows are
put where the guide says so, ports are free ones, and time passes faster where the guide waits for a deadline.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest

from goldengrain.chain.client import ChainClient
from goldengrain.chain.devnet import Devnet
from goldengrain.home import Home

pytestmark = [pytest.mark.anvil, pytest.mark.sandbox, pytest.mark.slow]

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "sell-and-buy.md"
ID = re.compile(r"0x[0-9a-f]{64}")
DAEMONS = ("worker run", "developer watch")
PARALLEL = ("account create", "devnet fund")
"""Steps that a reader may as well do in any order."""


def guide_commands() -> list[str]:
    """Return every line of the guide's sh blocks, in order."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


@dataclass
class Reader:
    """Somebody with a terminal, in an empty directory."""

    directory: Path
    port: int
    ids: dict[str, str] = field(default_factory=dict)
    daemons: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("GG_")},
            "GG_HOME": str(self.directory / "my-market"),
            "GG_PASSWORD_FILE": str(self.directory / "my-password"),
            "GG_WORKER": f"http://127.0.0.1:{self.port}",
            "OMP_NUM_THREADS": "2",
            "COLUMNS": "80",
        }

    @property
    def home(self) -> Home:
        return Home(self.directory / "my-market")

    def words(self, command: str) -> list[str]:
        """Return the command line to run for a line of the guide."""
        words = [self.ids.get(word, word) for word in shlex.split(command)[1:]]
        extra = {"devnet up": ["--port", "0"], "worker run": ["--listen", f"127.0.0.1:{self.port}"]}
        return [sys.executable, "-m", "goldengrain.cli.main", *words, *extra.get(" ".join(words[:2]), [])]

    def run(self, command: str, *, expect: int = 0) -> str:
        """Run one command to its end and return what it printed."""
        done = subprocess.run(
            self.words(command),
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expect, f"{command}\n{done.stdout}{done.stderr}"
        self.outputs[" ".join(shlex.split(command)[1:3])] = done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, command: str) -> subprocess.Popen[str]:
        """Leave a command running, its output in a file."""
        name = " ".join(shlex.split(command)[1:3])
        with (self.directory / f"{name.replace(' ', '-')}.log").open("w") as log:
            process = subprocess.Popen(
                self.words(command),
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )
        self.daemons[name] = process
        return process

    def await_line(self, daemon: str, text: str) -> None:
        """Return once a daemon has said `text`."""
        log = self.directory / f"{daemon.replace(' ', '-')}.log"
        end = time.monotonic() + 120
        while text not in log.read_text().lower():
            assert self.daemons[daemon].poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)

    def press_ctrl_c(self, daemon: str) -> None:
        """End a daemon as the guide says; it must end well."""
        process = self.daemons.pop(daemon)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, (self.directory / f"{daemon.replace(' ', '-')}.log").read_text()

    def let_time_pass(self, seconds: int) -> None:
        status = Devnet(self.home).status()
        assert status is not None
        ChainClient(status.rpc_url).raw_request("evm_increaseTime", [seconds])


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    found = Reader(tmp_path, port)
    yield found
    for process in found.daemons.values():
        process.kill()
        process.wait()
    Devnet(found.home).down()


def test_first_guide_can_be_followed_to_the_end(reader: Reader) -> None:
    seen: set[str] = set()
    for kind, group in groupby(guide_commands(), key=_kind):
        lines = list(group)
        if kind in PARALLEL:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(reader.run, lines))
        else:
            for line in lines:
                _follow(reader, line)
        seen.add(kind)
    wanted = {"deploy --development", "worker run", "benchmark open", "model submit", "developer watch"}
    assert wanted | {"offer get", "order buy", "order refund", "devnet down"} <= seen
    example, bought = reader.directory / "example" / "model.onnx", reader.directory / "bought.onnx"
    assert bought.read_bytes() == example.read_bytes()


def _kind(line: str) -> str:
    words = shlex.split(line)
    return " ".join(words[1:3]) if words[0] == "gg" else words[0]


def _follow(reader: Reader, line: str) -> None:
    kind = _kind(line)
    if kind in (".", "export"):
        return  # the test's own environment
    if kind == "echo":
        subprocess.run(["sh", "-c", line], cwd=reader.directory, check=True)
    elif kind == "worker run":
        reader.start(line)
        reader.await_line(kind, "offers at")
    elif kind == "developer watch":
        reader.start(line)
        reader.await_line(kind, "watching for orders")
    elif kind == "benchmark list":
        reader.ids["BENCHMARK"] = _only_id(reader.run(line))
    elif kind == "model list":
        reader.ids["SUBMISSION"] = _only_id(reader.run(line))
        assert "for sale" in " ".join(reader.outputs[kind].split())
    elif kind == "order buy" and "--window" in line:
        _order_from_nobody(reader, line)
    elif kind == "order refund":
        assert "refunded" in reader.run(line)
    elif kind == "model reclaim":
        # The worker did its work: there is no fee to take back, and the command says so.
        assert "cannot be taken back" in reader.run(line, expect=3)
    elif kind == "devnet down":
        reader.press_ctrl_c("worker run")
        reader.run(line)
    else:
        reader.run(line)


def _order_from_nobody(reader: Reader, line: str) -> None:
    """Order while the developer is offline: the deadline passes, and the command says how to get the money back."""
    reader.press_ctrl_c("developer watch")
    buy = reader.start(line)
    end = time.monotonic() + 60
    while "paid, waiting" not in (shown := _order_state(reader, line)):
        assert time.monotonic() < end, shown
        time.sleep(0.3)
    reader.let_time_pass(40)
    assert buy.wait(60) == 4
    said = " ".join((reader.directory / "order-buy.log").read_text().split())
    assert "the developer did not deliver before the deadline" in said
    assert "next: take the money back: gg order refund" in said
    del reader.daemons["order buy"]


def _order_state(reader: Reader, line: str) -> str:
    account = shlex.split(line)[shlex.split(line).index("--account") + 1]
    words = reader.words(f"gg order show SUBMISSION --account {account}")
    done = subprocess.run(
        words, cwd=reader.directory, env=reader.environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def _only_id(shown: str) -> str:
    found: set[str] = set(ID.findall(shown))
    assert len(found) == 1, f"no id can be read and copied from:\n{shown}"
    return found.pop()
