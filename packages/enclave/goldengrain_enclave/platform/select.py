"""Chooses the platform that the start configuration names; an unknown or missing one stops the start.

Only the simulated platform takes a directory. The others ask a device at a path that is fixed here, because whoever
could name another path could also name the sealing key.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from goldengrain_protocol.errors import InvalidInput

from .base import Platform


def _simulated(directory: Path | None) -> Platform:
    from .simulated import SimulatedPlatform

    if directory is None:
        raise InvalidInput("the simulated platform needs --platform-dir")
    return SimulatedPlatform(directory)


def _tdx(directory: Path | None) -> Platform:
    from .tdx import TdxPlatform

    _require_no_directory("tdx", directory)
    return TdxPlatform()


def _dstack(directory: Path | None) -> Platform:
    from .dstack import DstackPlatform

    _require_no_directory("dstack", directory)
    return DstackPlatform()


def _gramine(directory: Path | None) -> Platform:
    from .gramine import GraminePlatform

    _require_no_directory("gramine", directory)
    return GraminePlatform()


def _require_no_directory(name: str, directory: Path | None) -> None:
    if directory is not None:
        raise InvalidInput(f"platform {name} takes no --platform-dir: its device has one fixed place")


_PLATFORMS: Final[dict[str, Callable[[Path | None], Platform]]] = {
    "dstack": _dstack,
    "gramine": _gramine,
    "simulated": _simulated,
    "tdx": _tdx,
}

PLATFORM_NAMES: Final = tuple(sorted(_PLATFORMS))


def open_platform(name: str, directory: Path | None) -> Platform:
    """Return the platform called `name`.

    Raises:
        InvalidInput: no such platform, it lacks its configuration, or has too much of it.
        UnavailableError: this machine does not give what the platform needs.
    """
    if name not in _PLATFORMS:
        raise InvalidInput(f"platform must be one of {', '.join(PLATFORM_NAMES)}, got {name!r}")
    return _PLATFORMS[name](directory)
