"""Measures what the contracts cost: whole transactions on a fresh osaka chain, limits and peers beside them.

    python tools/gas.py        prints a table, writes build/gas.json, exits 1 if a limit is broken

Every figure is `gasUsed` of a receipt. docs/spec/gas.md says where each thousand goes.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from anvil_process import running_anvil
from market_on_anvil import DAY_S, ETHER, Bazaar, Chain, digest
from web3 import Web3

from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Benchmark
from goldengrain_protocol.types import ZERO_ADDRESS, Hash32, address_from_hex

REPORT: Final = Path(__file__).resolve().parent.parent / "build" / "gas.json"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the report; `ratio` is value over peer_value."""

    name: str
    value: int
    how: str
    limit: int | None = None
    peer: str | None = None
    peer_value: int | None = None

    @property
    def broken(self) -> bool:
        return self.limit is not None and self.value > self.limit

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "value": self.value,
            "unit": "gas",
            "better": "lower",
            "limit": self.limit,
            "peer": self.peer,
            "peer_value": self.peer_value,
            "ratio": round(self.value / self.peer_value, 3) if self.peer_value else None,
            "how": self.how,
        }


def measure(chain: Chain) -> Iterator[Measurement]:
    """Yield every measurement, the promised ones first."""
    bazaar = Bazaar(chain)
    register_gas = bazaar.register()
    eth_terms = bazaar.terms()
    open_gas = bazaar.open(eth_terms)

    first, submit_first = bazaar.submit(eth_terms, bazaar.developer)
    accept_first = bazaar.accept(eth_terms, first, 750_000)
    second, submit_after = bazaar.submit(eth_terms, bazaar.developer)
    accept_after = bazaar.accept(eth_terms, second, 800_000)
    third, _ = bazaar.submit(eth_terms, bazaar.developer)
    chain.mine(1_000)
    accept_old_anchor = bazaar.accept(eth_terms, third, 850_000, anchor_age=900)

    deadline, (preimage,), order_eth = bazaar.order(eth_terms, [first])
    claim_limit = bazaar.claim_call(eth_terms, deadline, preimage).estimate_gas({"from": bazaar.developer})
    claim_eth = bazaar.claim(eth_terms, deadline, preimage, bazaar.developer)
    deadline, (preimage,), _ = bazaar.order(eth_terms, [first])
    claim_eth_by_stranger = bazaar.claim(eth_terms, deadline, preimage, bazaar.stranger)
    deadline, preimages, bundle = bazaar.order(eth_terms, [first, second, third])
    bundle += sum(bazaar.claim(eth_terms, deadline, preimage, bazaar.developer) for preimage in preimages)

    peer = ("Seaport fulfilment, least published", 94_000)
    yield Measurement(
        "sale_eth", order_eth + claim_eth, "order + claim by the payee, one model", 100_000, *peer
    )
    erc20 = list(_measure_token_sales(bazaar))
    yield erc20[0]
    peer = ("iExec PoCo, one task", 1_700_000)
    whole = submit_after + accept_after + order_eth + claim_eth
    yield Measurement("submit_first", submit_first, "first of a developer, one sealed key", 85_000)
    yield Measurement("submit_after", submit_after, "later ones of the same developer", 70_000)
    yield Measurement(
        "accept_first", accept_first, "quorum 1, first fee of the worker, recent anchor", 108_000
    )
    yield Measurement("accept_after", accept_after, "quorum 1, later fees, recent anchor", 92_000)
    yield Measurement(
        "accept_after_old_anchor", accept_old_anchor, "the same, anchor 900 blocks old (EIP-2935)", 92_000
    )
    yield Measurement(
        "accept_after_quorum_3", _measure_quorum(bazaar), "three results, one worker with earlier fees"
    )
    yield Measurement("model_to_money", whole, "submit_after + accept_after + sale_eth", None, *peer)
    yield Measurement(
        "sale_eth_vs_fairswap",
        order_eth + claim_eth,
        "as sale_eth",
        None,
        "FairSwap, contract per sale",
        1_007_000,
    )
    yield Measurement(
        "sale_eth_vs_fairswap_warm",
        order_eth + claim_eth,
        "as sale_eth",
        None,
        "FairSwap, reused contract",
        163_000,
    )
    yield Measurement("sale_eth_vs_fde", order_eth + claim_eth, "as sale_eth", None, "FDE, one sale", 264_000)
    yield Measurement("order_eth", order_eth, "one model", None, "Ocean startOrder", 112_000)
    yield Measurement("claim_eth", claim_eth, "by the payee")
    yield Measurement(
        "claim_eth_by_stranger", claim_eth_by_stranger, "by somebody else, payee's account cold"
    )
    yield Measurement("claim_eth_gas_limit", claim_limit, "eth_estimateGas; not spent, see docs/spec/gas.md")
    yield Measurement("bundle_of_3_eth", bundle, "one order of three models, three claims")
    yield from erc20[1:]
    yield from _measure_exits(bazaar, eth_terms, first)
    yield Measurement("open_benchmark", open_gas, "three curve points, one sealed key, 70 bytes of metadata")
    yield Measurement("register", register_gas, "auditor quorum 2 of 3, quote of 4,800 bytes")
    for name, gas in bazaar.deploy_gas.items():
        yield Measurement(f"deploy_{name}", gas, "creation transaction")


def _measure_quorum(bazaar: Bazaar) -> int:
    for label in ("second enclave", "third enclave"):
        bazaar.register(label)
    terms = replace(bazaar.terms(), quorum=3)
    bazaar.open(terms)
    submission, _ = bazaar.submit(terms, bazaar.developer)
    return bazaar.accept(terms, submission, 800_000)


def _measure_token_sales(bazaar: Bazaar) -> Iterator[Measurement]:
    """ERC-20 sales between accounts that hold the token before and after, with a limited allowance."""
    chain, token = bazaar.chain, bazaar.token
    for account in (bazaar.buyer, bazaar.developer, bazaar.market.address):
        chain.send(token.functions.mint(account, 1000 * ETHER), bazaar.owner)
    chain.send(token.functions.approve(bazaar.market.address, 500 * ETHER), bazaar.buyer)

    plain = replace(bazaar.terms(address_from_hex(token.address)), spec_digest=digest("token spec"))
    bazaar.open(plain)
    submission = bazaar.sold(plain, bazaar.developer, 800_000)
    deadline, (preimage,), order_gas = bazaar.order(plain, [submission])
    claim_gas = bazaar.claim(plain, deadline, preimage, bazaar.developer)
    peer = ("Seaport fulfilment, most published", 161_000)
    yield Measurement(
        "sale_erc20",
        order_gas + claim_gas,
        "order + claim, balances and allowance stay above 0",
        150_000,
        *peer,
    )
    yield Measurement("order_erc20", order_gas, "one model", None, "Ocean startOrder", 112_000)
    yield Measurement("claim_erc20", claim_gas, "by the payee")

    shared = bazaar.terms(royalty_bps=250)
    bazaar.open(shared)
    submission = bazaar.sold(shared, bazaar.other_developer, 800_000)
    for name in ("claim_eth_royalty_first", "claim_eth_royalty_after"):
        deadline, (preimage,), _ = bazaar.order(shared, [submission])
        gas = bazaar.claim(shared, deadline, preimage, bazaar.other_developer)
        yield Measurement(name, gas, "2.5 % credited to the test set's owner")


def _measure_exits(bazaar: Bazaar, benchmark: Benchmark, submission: Hash32) -> Iterator[Measurement]:
    """What gets money back out: refund, fee, credit."""
    chain = bazaar.chain
    withdraw = bazaar.market.functions.withdraw(Web3.to_checksum_address(ZERO_ADDRESS), bazaar.worker)
    yield Measurement(
        "withdraw_eth", chain.send(withdraw, bazaar.worker)["gasUsed"], "all of a worker's fees"
    )

    deadline, (preimage,), _ = bazaar.order(benchmark, [submission])
    late, _ = bazaar.submit(benchmark, bazaar.developer)
    chain.advance(2 * DAY_S)
    refund = bazaar.market.functions.refund(
        benchmark.sale.abi_tuple(), bazaar.buyer, deadline, keccak256(preimage)
    )
    yield Measurement("refund_eth", chain.send(refund, bazaar.buyer)["gasUsed"], "by the buyer")
    reclaim = bazaar.market.functions.reclaim_fee(benchmark.sale.abi_tuple(), bazaar.bodies[late].abi_tuple())
    yield Measurement("reclaim_fee", chain.send(reclaim, bazaar.developer)["gasUsed"], "by the developer")


def print_table(rows: Sequence[Measurement]) -> None:
    print(f"{'name':<28}{'gas':>10}{'limit':>10}{'of peer':>9}  how / peer")
    for row in rows:
        limit = f"{row.limit:,}" if row.limit else ""
        ratio = f"{row.value / row.peer_value:.2f}" if row.peer_value else ""
        peer = f"; {row.peer}: {row.peer_value:,}" if row.peer_value else ""
        mark = "  LIMIT BROKEN" if row.broken else ""
        print(f"{row.name:<28}{row.value:>10,}{limit:>10}{ratio:>9}  {row.how}{peer}{mark}")


def main() -> int:
    import gas_attestation  # it uses this module

    with running_anvil() as url:
        rows = list(measure(Chain(url)))
    with running_anvil() as url:
        rows += gas_attestation.measure(Chain(url))
    print_table(rows)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps([row.as_dict() for row in rows], indent=1) + "\n")
    return 1 if any(row.broken for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
