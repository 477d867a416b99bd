"""Runs the real command line in processes that kill themselves at their n-th durable step.

    python -m tests.attacks.kill_driver        (started by tests/attacks/mortal.py)

A durable step is whatever outlives the process: a journal's commit, a transaction handed to the node, a file renamed
into place or removed. Each counts twice, before and after it is done. Modules are imported once; every command runs
in a fork of its own, in a session of its own, so that its whole process group can be killed.

Protocol, one JSON document a line. In: {argv, kill_at, armed, output, steps}. Out: {pid}, and once it ended {status}.
`kill_at` 0 never kills. A command that is not `armed` begins to count at SIGUSR1, and its kill point is then read
from the file `<steps>.arm`. The number of steps counted is written to the file `steps` when the command ends by itself.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

_HEAVY = (
    "goldengrain.cli.developer",
    "goldengrain.cli.main",
    "goldengrain.cli.order",
    "goldengrain.cli.worker",
    "goldengrain.host.setup",
    "goldengrain.host.worker",
    "goldengrain.host.offer_server",
    "goldengrain.sdk.claims",
    "goldengrain.sdk.orders",
    "fsspec.implementations.local",
)


class Mortal:
    """Counts durable steps, and ends the process without a word at one of them."""

    def __init__(self, kill_at: int, *, armed: bool) -> None:
        self.count = 0
        self._kill_at = kill_at
        self._armed = armed

    def arm(self, kill_at: int) -> None:
        self.count = 0
        self._kill_at = kill_at
        self._armed = True

    def point(self) -> None:
        if not self._armed:
            return
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def mortal(*args: Any, **kwargs: Any) -> Any:
            self.point()
            result = act(*args, **kwargs)
            self.point()
            return result

        return mortal


def install(mortal: Mortal) -> None:
    """Make every durable step a point of death."""
    from goldengrain.chain.client import ChainClient

    class MortalConnection(sqlite3.Connection):
        def commit(self) -> None:
            mortal.around(super().commit)()

    connect = sqlite3.connect
    sqlite3.connect = lambda *a, **k: connect(*a, **{**k, "factory": MortalConnection})
    for name in ("replace", "rename", "unlink", "link"):
        setattr(os, name, mortal.around(getattr(os, name)))
    ChainClient.send_raw = mortal.around(ChainClient.send_raw)  # type: ignore[method-assign]


def child(task: dict[str, Any]) -> NoReturn:
    """Run one command line to its end, or to its death."""
    code = 70
    try:
        os.setsid()
        _redirect(task["output"])
        mortal = Mortal(task["kill_at"], armed=task["armed"])
        install(mortal)

        def arm(_number: int, _frame: FrameType | None) -> None:
            mortal.arm(int(Path(task["steps"] + ".arm").read_text()))
            Path(task["steps"] + ".armed").touch()

        signal.signal(signal.SIGUSR1, arm)
        # Whoever starts the tests in the background has Ctrl-C ignored, and that is inherited.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from goldengrain.cli.main import run

        code = int(run(task["argv"]))
        Path(task["steps"]).write_text(str(mortal.count))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(output: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (file, 1), (file, 2)):
        os.dup2(source, target)


def main() -> None:
    for module in _HEAVY:
        __import__(module)
    gc.freeze()
    for line in sys.stdin:
        task = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(task)
        _tell({"pid": pid})
        _, status = os.waitpid(pid, 0)
        _tell({"status": os.waitstatus_to_exitcode(status)})


def _tell(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
