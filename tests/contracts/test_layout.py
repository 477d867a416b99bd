"""Where things lie in storage: enclaves prove these slots, so they can never move."""

import json

import boa
import build_artifacts
import pytest
import vyper

from goldengrain_protocol import constants, messages
from goldengrain_protocol.types import to_checksum
from tests.contracts import chain
from tests.contracts.bazaar import ETH, Bazaar, raw

MARKET_SLOTS = {
    "benchmarks": constants.MARKET_SLOT_BENCHMARKS,
    "submissions": constants.MARKET_SLOT_SUBMISSIONS,
    "records": constants.MARKET_SLOT_RECORDS,
    "orders": constants.MARKET_SLOT_ORDERS,
    "credits": constants.MARKET_SLOT_CREDITS,
}


def test_the_compiler_puts_the_mappings_where_the_protocol_looks() -> None:
    assert list(MARKET_SLOTS.values()) == [0, 1, 2, 3, 4]
    for generator in build_artifacts.GENERATORS:
        for name, slots in (("Market", MARKET_SLOTS), ("EnclaveRegistry", {"enclaves": 0})):
            layout = chain.compiled(build_artifacts.CONTRACTS / f"{name}.vy", generator)["layout"]
            assert {key: item["slot"] for key, item in layout["storage_layout"].items()} == slots


def test_every_word_is_found_at_its_computed_slot(bazaar: Bazaar) -> None:
    terms = bazaar.open(bazaar.terms())
    entry = bazaar.priced(terms)
    (order,) = bazaar.order([entry])
    benchmark_id = bazaar.benchmark_id(terms)
    record_id = messages.record_id(benchmark_id, entry.body.developer)
    keys = {
        "benchmarks": (benchmark_id,),
        "submissions": (entry.submission_id,),
        "records": (record_id,),
        "orders": (order.order_id,),
        "credits": (ETH, bazaar.worker),
    }
    for name, position in MARKET_SLOTS.items():
        words = [key if isinstance(key, bytes) else raw(key) for key in keys[name]]
        stored = boa.env.get_storage(bazaar.market.address, chain.mapping_slot(position, *words))
        assert stored == bazaar.market.call(name, *keys[name]) != 0

    enclave = messages.enclave_id(
        terms.verifier, bazaar.enclave.address, terms.measurement, terms.config_digest
    )
    stored = boa.env.get_storage(bazaar.registry.address, chain.mapping_slot(0, enclave))
    assert stored == bazaar.registry.call("enclaves", enclave) != 0
    assert to_checksum(terms.verifier) == bazaar.verifier.address


@pytest.mark.parametrize("name", build_artifacts.SHIPPED)
def test_the_committed_artifacts_are_what_this_suite_ran(name: str) -> None:
    path = build_artifacts.CONTRACTS / name
    artifact = json.loads((build_artifacts.ARTIFACTS / f"{path.stem}.json").read_text())
    output = chain.compiled(path)
    assert artifact["bytecode"] == output["bytecode"]
    assert artifact["abi"] == output["abi"]
    assert artifact["compiler"]["version"] == vyper.__version__.partition("+")[0]
    assert len(artifact["runtime_bytecode"]) // 2 < 24_576


def test_the_market_package_reads_the_same_artifacts() -> None:
    link = build_artifacts.REPOSITORY / "packages/market/goldengrain/artifacts"
    assert link.resolve() == build_artifacts.ARTIFACTS
