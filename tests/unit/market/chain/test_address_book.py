"""The address book: strict JSON in, the same JSON out."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from goldengrain.chain.address_book import (
    AddressBook,
    ChainTrustEntry,
    TokenEntry,
    VerifierEntry,
    decode_address_book,
    list_networks,
    load_address_book,
    save_address_book,
)
from goldengrain.home import Home
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.proofs import DevPinned
from goldengrain_protocol.types import Address, Hash32


def _address(byte: int) -> Address:
    return Address(bytes([byte]) * 20)


BOOK = AddressBook(
    name="dev",
    chain_id=31337,
    genesis_hash=Hash32(b"\x01" * 32),
    development=True,
    rpc_url="http://127.0.0.1:8545",
    market=_address(2),
    registry=_address(3),
    verifiers=(
        VerifierEntry("sim", _address(4), "auditor-quorum", 1, "simulated", (_address(5), _address(6)), 2),
    ),
    tokens=(TokenEntry("USDX", _address(7), 6),),
    deployed_at_block=3,
    chain_trust=ChainTrustEntry("dev-pinned", 2),
    blob_url="file:///blobs",
    trusted_measurements=(Hash32(b"\x08" * 32),),
)


def test_book_survives_the_round_trip(home: Home) -> None:
    assert decode_address_book(BOOK.encode()) == BOOK
    save_address_book(home, BOOK)
    assert load_address_book(home, "dev") == BOOK
    assert list_networks(home) == ["dev"]


def test_unknown_network_lists_the_known_ones(home: Home) -> None:
    save_address_book(home, BOOK)
    with pytest.raises(InvalidInput, match=r"no network named 'main' \(known: dev\)"):
        load_address_book(home, "main")


def test_book_under_another_name_is_refused(home: Home) -> None:
    save_address_book(home, BOOK)
    (home.networks_dir / "dev.json").rename(home.networks_dir / "other.json")
    with pytest.raises(InvalidInput, match="says it is network 'dev'"):
        load_address_book(home, "other")


def test_enclave_configuration_is_that_of_the_deployment() -> None:
    config = BOOK.enclave_config()
    assert (config.chain_id, config.market, config.registry) == (31337, BOOK.market, BOOK.registry)
    assert DevPinned.from_checkpoint(config.chain_trust.checkpoint) == DevPinned(BOOK.genesis_hash, 2)


def test_pinned_chain_trust_is_refused_outside_development() -> None:
    with pytest.raises(InvalidInput, match="no security against the host"):
        replace(BOOK, development=False).enclave_config()
    with pytest.raises(InvalidInput, match="chain trust mode must be"):
        replace(BOOK, chain_trust=ChainTrustEntry("hearsay", 2)).enclave_config()


def test_names_are_looked_up_with_the_known_ones_in_the_error() -> None:
    assert BOOK.verifier() == BOOK.verifier("sim")
    assert BOOK.token("USDX").decimals == 6
    with pytest.raises(InvalidInput, match=r"known: USDX"):
        BOOK.token("ABC")
    with pytest.raises(InvalidInput, match=r"known: sim"):
        BOOK.verifier("abc")


def test_trusting_a_measurement_twice_changes_nothing() -> None:
    measurement = Hash32(b"\x09" * 32)
    once = BOOK.with_trusted_measurement(measurement)
    assert once.trusted_measurements[-1] == measurement
    assert once.with_trusted_measurement(measurement) == once


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda book: book.pop("market"), "contracts.market is missing"),
        (lambda book: book.update(market="0x12"), "contracts.market: address must have 20 bytes"),
        (lambda book: book.update(market=7), "contracts.market must be str, got int"),
        (lambda book: book.update(extra=1), "unknown fields: extra"),
        (lambda book: book.update(verifiers=[]), "verifiers must be dict, got list"),
        (lambda book: book["verifiers"]["sim"].update(root="mine"), "root must be one of simulated, intel"),
        (lambda book: book["verifiers"]["sim"].update(kind="dao"), "kind must be 'dcap' or 'auditor-quorum'"),
        (lambda book: book["verifiers"]["sim"].update(threshold=3), "larger than the number of auditors"),
        (lambda book: book["verifiers"]["sim"].update(assurance=True), "assurance must be int, got bool"),
        (lambda book: book["verifiers"]["sim"].update(auditors=[1]), "must be a hexadecimal string"),
    ],
)
def test_a_broken_field_is_named(break_it: Callable[[dict[str, Any]], object], message: str) -> None:
    value = json.loads(BOOK.encode())
    break_it(value["contracts"])
    with pytest.raises(InvalidInput, match=message):
        decode_address_book(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", 0),
        ("chain_id", "31337"),
        ("genesis_hash", "0x12"),
        ("development", 1),
        ("deployed_at_block", -1),
        ("chain_trust", {"mode": "dev-pinned"}),
        ("trusted_measurements", ["0x"]),
        ("tokens", {"A": {"address": "0x" + "11" * 20, "decimals": 256}}),
        ("name", "../x"),
    ],
)
def test_a_field_out_of_range_is_refused(field: str, value: object) -> None:
    whole = json.loads(BOOK.encode())
    whole[field] = value
    with pytest.raises(InvalidInput):
        decode_address_book(json.dumps(whole).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_book_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_address_book(data)
