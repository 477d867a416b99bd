"""Every test here runs on a state of its own, and once per code generator where it asks for `bazaar`."""

from collections.abc import Iterator, Mapping

import boa
import build_artifacts
import pytest

from tests.contracts.bazaar import Bazaar


@pytest.fixture(scope="session")
def bazaars() -> Mapping[str, Bazaar]:
    """One deployment per code generator; use them inside `boa.env.anchor()`."""
    return {generator: Bazaar(generator) for generator in build_artifacts.GENERATORS}


@pytest.fixture(params=list(build_artifacts.GENERATORS))
def generator(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bazaar(generator: str, bazaars: Mapping[str, Bazaar]) -> Iterator[Bazaar]:
    deployed = bazaars[generator]
    count = deployed.count
    with boa.env.anchor():
        yield deployed
    deployed.count = count
