"""How daemons wait: for a while, but never longer than until they are asked to stop."""

from __future__ import annotations

import time
from collections.abc import Callable


def pause(seconds: float, should_stop: Callable[[], bool]) -> None:
    """Return after `seconds`, or soon after `should_stop` says so."""
    end = time.monotonic() + seconds
    while not should_stop() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))
