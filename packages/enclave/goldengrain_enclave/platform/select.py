"""Chooses the platform that the start configuration names; an unknown or missing one stops the start."""

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


_PLATFORMS: Final[dict[str, Callable[[Path | None], Platform]]] = {"simulated": _simulated}

PLATFORM_NAMES: Final = tuple(sorted(_PLATFORMS))


def open_platform(name: str, directory: Path | None) -> Platform:
    """Return the platform called `name`.

    Raises:
        InvalidInput: no such platform, or it lacks its configuration.
        UnavailableError: this machine does not give what the platform needs.
    """
    if name not in _PLATFORMS:
        raise InvalidInput(f"platform must be one of {', '.join(PLATFORM_NAMES)}, got {name!r}")
    return _PLATFORMS[name](directory)
