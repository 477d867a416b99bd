"""The contracts and dcap-qvl under its strict policy say the same of every world, or ours is the stricter."""

import pytest

from tests.contracts.dcap.cases import FAMILIES, Case
from tests.contracts.dcap.judges import OnChain, Refusal, Verdict, off_chain
from tests.contracts.dcap.pki import World

# The states that the cases start from are shared; each case runs in an anchor of its own.
pytestmark = pytest.mark.ignore_isolation


@pytest.fixture(scope="session")
def contracts() -> OnChain:
    return OnChain()


def _disagreement(case: Case, contracts: OnChain) -> str:
    theirs = off_chain(case.world)
    ours = contracts.judge(case.world)
    if isinstance(ours, Refusal) and not ours.reason:
        return f"{case.name}: refused without a reason"
    if case.stricter:
        if isinstance(theirs, Verdict) and isinstance(ours, Refusal):
            return ""
        return f"{case.name}: expected ours to be stricter ({case.stricter}), got {theirs} and {ours}"
    if isinstance(theirs, Refusal) and isinstance(ours, Refusal):
        return ""
    return "" if theirs == ours else f"{case.name}: {theirs} and {ours}"


@pytest.mark.parametrize("version", [3, 4, 5])
def test_both_accept_a_world_in_which_all_holds(version: int, contracts: OnChain) -> None:
    verdict = off_chain(World(version))
    assert isinstance(verdict, Verdict)
    assert contracts.judge(World(version)) == verdict


@pytest.mark.parametrize("family", list(FAMILIES))
def test_both_agree_on_every_case_of(family: str, contracts: OnChain) -> None:
    found = [text for case in FAMILIES[family]() if (text := _disagreement(case, contracts))]
    assert not found, "\n".join(found[:20])


def test_there_are_at_least_a_thousand_cases() -> None:
    names = [case.name for family in FAMILIES.values() for case in family()]
    assert len(names) >= 1_000
    assert len(set(names)) == len(names)
