"""On a real chain: the system contract of EIP-2935, the 63/64 rule and gas limits are not emulated here."""

import json
import re
from collections.abc import Iterator
from typing import Any

import build_artifacts
import gas
import pytest
from anvil_process import call_rpc, find_anvil, running_anvil
from market_on_anvil import ARTIFACTS, Bazaar, Chain
from web3.exceptions import ContractLogicError

from goldengrain_protocol.messages import Benchmark
from tests.contracts.chain import HISTORY_ADDRESS, HISTORY_CODE

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def bazaar() -> Iterator[Bazaar]:
    with running_anvil() as url:
        bazaar = Bazaar(Chain(url))
        bazaar.register()
        yield bazaar


@pytest.fixture(scope="module")
def terms(bazaar: Bazaar) -> Benchmark:
    terms = bazaar.terms()
    bazaar.open(terms)
    bazaar.chain.mine(300)
    return terms


def test_anvil_is_found_where_the_environment_keeps_it() -> None:
    assert find_anvil() is not None


def test_the_emulated_history_contract_is_the_real_one(bazaar: Bazaar) -> None:
    assert bytes(bazaar.chain.web3.eth.get_code(HISTORY_ADDRESS)) == HISTORY_CODE


@pytest.mark.parametrize("age", [1, 256, 257, 290])
def test_anchors_of_the_opcode_and_of_the_history_contract_settle(
    bazaar: Bazaar, terms: Benchmark, age: int
) -> None:
    submission, _ = bazaar.submit(terms, bazaar.developer)
    bazaar.accept(terms, submission, 800_000 + 6_000 * len(bazaar.bodies), anchor_age=age)
    assert bazaar.market.functions.submissions(submission).call() & 0xFF == 2


def _claim_of_a_new_order(bazaar: Bazaar, terms: Benchmark) -> Any:
    """Return the call that claims an order just made; its submission is made too."""
    submission = bazaar.sold(terms, bazaar.stranger, 800_000 + 6_000 * len(bazaar.bodies))
    deadline, (preimage,), _ = bazaar.order(terms, [submission])
    return bazaar.claim_call(terms, deadline, preimage)


def test_a_gas_estimate_of_a_claim_pays_the_payee(bazaar: Bazaar, terms: Benchmark) -> None:
    """An estimate looks for the least gas that does not revert: it must not find one that only credits."""
    claim = _claim_of_a_new_order(bazaar, terms)
    estimate = claim.estimate_gas({"from": bazaar.buyer})
    before = bazaar.chain.web3.eth.get_balance(bazaar.stranger)
    receipt_hash = claim.transact({"from": bazaar.buyer, "gas": estimate})
    assert bazaar.chain.web3.eth.wait_for_transaction_receipt(receipt_hash)["status"] == 1
    assert bazaar.chain.web3.eth.get_balance(bazaar.stranger) > before
    assert bazaar.market.functions.credits("0x" + "00" * 20, bazaar.stranger).call() == 0


def test_a_claim_with_less_gas_than_the_push_needs_says_so(bazaar: Bazaar, terms: Benchmark) -> None:
    claim = _claim_of_a_new_order(bazaar, terms)
    with pytest.raises(ContractLogicError, match="market: too little gas"):
        claim.call({"from": bazaar.buyer, "gas": 100_000})


def test_the_runtime_code_is_the_committed_one_but_for_its_immutables(bazaar: Bazaar) -> None:
    artifact = json.loads((ARTIFACTS / "EnclaveRegistry.json").read_text())
    deployed = call_rpc(bazaar.chain.url, "eth_getCode", bazaar.registry.address, "latest")
    assert deployed == artifact["runtime_bytecode"]


def test_the_documented_gas_is_the_measured_and_within_its_limits() -> None:
    with running_anvil() as url:
        measured = {row.name: row for row in gas.measure(Chain(url))}
    assert not [row for row in measured.values() if row.broken]
    page = (build_artifacts.REPOSITORY / "docs" / "spec" / "gas.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \| ([0-9,]+) \| ([0-9,]*) ?\|", page, re.MULTILINE)
    assert len(documented) > 15
    for name, value, limit in documented:
        # digests and times of a run have a few zero bytes more or less
        assert abs(measured[name].value - int(value.replace(",", ""))) <= 150, name
        assert measured[name].limit == (int(limit.replace(",", "")) if limit else None), name
