"""One market for all attacks of a test process; see `tests/market_stage.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from goldengrain_protocol.types import Hash32
from tests.market_stage import MarketStage, Person, market_stage


@pytest.fixture(scope="session")
def stage() -> Iterator[MarketStage]:
    with market_stage() as found:
        yield found


@pytest.fixture(scope="session")
def provider(stage: MarketStage) -> Person:
    return stage.person("provider")


@pytest.fixture(scope="session")
def benchmark(stage: MarketStage, provider: Person) -> Hash32:
    """A benchmark that anybody may use; its results come as long as the worker runs."""
    return stage.benchmark(provider)
