"""One market for all end-to-end tests of a process that need one; see `tests/market_stage.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.market_stage import MarketStage, market_stage


@pytest.fixture(scope="session")
def stage() -> Iterator[MarketStage]:
    with market_stage() as found:
        yield found
