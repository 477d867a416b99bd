"""What commands share: opening a session, and showing the SDK's progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from goldengrain.cli.output import Meter, Output

if TYPE_CHECKING:
    from goldengrain.accounts import PasswordSource
    from goldengrain.home import Home
    from goldengrain.sdk.benchmarks import Progress
    from goldengrain.sdk.session import Session


def open_session(
    home: Home,
    network: str,
    *,
    account: str | None = None,
    password: PasswordSource | None = None,
    worker_urls: Sequence[str] = (),
) -> Session:
    """Return a session; see `goldengrain.sdk.connect` for what can go wrong."""
    from goldengrain.sdk.session import connect

    return connect(network, account=account, password=password, home=home, worker_urls=worker_urls)


@contextmanager
def shown_progress(out: Output) -> Iterator[Progress]:
    """Give a callback that shows each new step of the SDK as a progress display of its own."""
    with ExitStack() as stack:
        current: dict[str, Meter] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in current:
                stack.close()
                current.clear()
                unit = "bytes" if total > 4096 else ""
                current[what] = stack.enter_context(out.progress(what, total or None, unit=unit))
            current[what].update(done)

        yield show
