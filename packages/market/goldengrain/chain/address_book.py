"""The address book: what a deployment consists of, as one JSON file per network.

Everything a client trusts about a network begins here: the chain (id and genesis block), the contracts, the
mode in which enclaves trust the chain, and the enclave code that the user accepts.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from goldengrain.bounded_json import decode_json
from goldengrain.home import Home, atomic_write, check_name, read_json_object
from goldengrain_protocol.config import (
    CHAIN_TRUST_MODES,
    DEV_PINNED,
    WITNESS_QUORUM,
    ChainTrustConfig,
    EnclaveConfig,
)
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.proofs import chain_trust
from goldengrain_protocol.proofs.dev_pinned import MAX_CONFIRMATIONS, DevPinned
from goldengrain_protocol.proofs.witness_quorum import WitnessQuorum
from goldengrain_protocol.types import (
    ZERO_ADDRESS,
    Address,
    Hash32,
    address_from_hex,
    bytes_from_hex,
    hash32_from_hex,
    to_checksum,
)

QUORUM_KIND: Final = "auditor-quorum"
"""Named auditors verify quotes off chain and sign that they did."""
DCAP_KIND: Final = "dcap"
"""The contract verifies quotes itself, from the root certificate down."""
ROOTS: Final = ("simulated", "intel")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class VerifierEntry:
    """A deployed quote verifier. `root` says whose certificates it, or its auditors, accept."""

    name: str
    address: Address
    kind: str
    assurance: int
    root: str
    auditors: tuple[Address, ...] = ()
    threshold: int = 0
    certificates: Address = ZERO_ADDRESS
    """For `dcap`: where certificates and revocation lists are posted."""
    tcb: Address = ZERO_ADDRESS
    """For `dcap`: where TCB levels and quoting-enclave identities are posted."""


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """An ERC-20 that the network's users know by symbol."""

    symbol: str
    address: Address
    decimals: int


@dataclass(frozen=True, slots=True)
class ChainTrustEntry:
    """How enclaves of this deployment tell a final block."""

    mode: str
    confirmations: int = 0
    """For `dev-pinned`."""
    checkpoint: bytes = b""
    """For the other modes: the canonical bytes that go into the enclave's configuration."""
    endpoints: tuple[str, ...] = ()
    """For the other modes: where evidence is fetched (witnesses or beacon nodes). Untrusted, not part of the terms."""


@dataclass(frozen=True, slots=True)
class AddressBook:
    """One deployment."""

    name: str
    chain_id: int
    genesis_hash: Hash32
    development: bool
    rpc_url: str
    market: Address
    registry: Address
    verifiers: tuple[VerifierEntry, ...]
    tokens: tuple[TokenEntry, ...]
    deployed_at_block: int
    chain_trust: ChainTrustEntry
    blob_url: str
    trusted_measurements: tuple[Hash32, ...]

    def enclave_config(self) -> EnclaveConfig:
        """Return the configuration that enclaves of this deployment are booted with.

        Raises:
            InvalidInput: `dev-pinned` outside a development deployment, an unknown mode, a malformed checkpoint,
                or one of another chain.
        """
        check_chain_trust(self.chain_trust, development=self.development)
        return EnclaveConfig(
            chain_id=self.chain_id,
            market=self.market,
            registry=self.registry,
            chain_trust=self._chain_trust_config(),
        )

    def _chain_trust_config(self) -> ChainTrustConfig:
        entry = self.chain_trust
        if entry.mode == DEV_PINNED:
            return DevPinned(self.genesis_hash, entry.confirmations).config()
        if entry.mode == WITNESS_QUORUM:
            quorum = WitnessQuorum.from_checkpoint(entry.checkpoint)
            if (quorum.chain_id, quorum.genesis_hash) != (self.chain_id, self.genesis_hash):
                raise InvalidInput("the witnesses' checkpoint is of another chain than the address book")
        return ChainTrustConfig(entry.mode, entry.checkpoint)

    def verifier(self, name: str | None = None) -> VerifierEntry:
        """Return a verifier by name; without a name the first one.

        Raises:
            InvalidInput: unknown; lists the names.
        """
        known = ", ".join(entry.name for entry in self.verifiers) or "none"
        if name is None and self.verifiers:
            return self.verifiers[0]
        for entry in self.verifiers:
            if entry.name == name:
                return entry
        raise InvalidInput(f"network {self.name} has no verifier {name!r} (known: {known})")

    def token(self, symbol: str) -> TokenEntry:
        """Return a token by symbol.

        Raises:
            InvalidInput: unknown; lists the symbols.
        """
        for entry in self.tokens:
            if entry.symbol == symbol:
                return entry
        known = ", ".join(entry.symbol for entry in self.tokens) or "none"
        raise InvalidInput(f"network {self.name} has no token {symbol!r} (known: {known})")

    def with_trusted_measurement(self, measurement: Hash32) -> "AddressBook":
        """Return this book with one more enclave measurement trusted."""
        if measurement in self.trusted_measurements:
            return self
        return replace(self, trusted_measurements=(*self.trusted_measurements, measurement))

    def encode(self) -> bytes:
        """Return the JSON text of this book."""
        value = {
            "name": self.name,
            "chain_id": self.chain_id,
            "genesis_hash": _hex(self.genesis_hash),
            "development": self.development,
            "rpc_url": self.rpc_url,
            "contracts": {
                "market": to_checksum(self.market),
                "registry": to_checksum(self.registry),
                "verifiers": {entry.name: _encode_verifier(entry) for entry in self.verifiers},
            },
            "tokens": {
                entry.symbol: {"address": to_checksum(entry.address), "decimals": entry.decimals}
                for entry in self.tokens
            },
            "deployed_at_block": self.deployed_at_block,
            "chain_trust": _encode_chain_trust(self.chain_trust),
            "blob_url": self.blob_url,
            "trusted_measurements": [_hex(measurement) for measurement in self.trusted_measurements],
        }
        return json.dumps(value, indent=2).encode() + b"\n"


def check_chain_trust(entry: ChainTrustEntry, *, development: bool) -> None:
    """Accept a chain-trust mode that this version knows and that fits the kind of deployment.

    Raises:
        InvalidInput: unknown mode, `dev-pinned` outside development, confirmations out of range, or a malformed
            checkpoint.
    """
    if entry.mode not in CHAIN_TRUST_MODES:
        raise InvalidInput(
            f"chain trust mode must be one of {', '.join(CHAIN_TRUST_MODES)}, got {entry.mode!r}"
        )
    if entry.mode != DEV_PINNED:
        chain_trust(ChainTrustConfig(entry.mode, entry.checkpoint))
        return
    if not development:
        raise InvalidInput(
            f"chain trust mode {DEV_PINNED!r} gives no security against the host and is refused"
            " where the deployment is not marked as development",
            next_step="deploy to a development chain (`gg devnet up`)",
        )
    if not 1 <= entry.confirmations <= MAX_CONFIRMATIONS:
        raise InvalidInput(f"confirmations must be 1 to {MAX_CONFIRMATIONS}, got {entry.confirmations}")


def decode_address_book(data: bytes) -> AddressBook:
    """Return the book in a JSON text.

    Raises:
        InvalidInput: names the field that is missing, unknown or malformed.
    """
    try:
        value = decode_json(data)
    except ValueError as exc:
        raise InvalidInput(f"the address book is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InvalidInput("the address book must be a JSON object")
    return _decode(value)


def load_address_book(home: Home, name: str) -> AddressBook:
    """Return the book of network `name`.

    Raises:
        InvalidInput: no such network, or a damaged file.
    """
    path = home.networks_dir / f"{check_name(name, 'network')}.json"
    if not path.is_file():
        known = ", ".join(list_networks(home)) or "none"
        raise InvalidInput(
            f"no network named {name!r} (known: {known})",
            next_step="deploy one with `gg deploy`, or copy its address book there",
        )
    book = _decode(read_json_object(path))
    if book.name != name:
        raise InvalidInput(f"address book {path} says it is network {book.name!r}")
    return book


def save_address_book(home: Home, book: AddressBook) -> None:
    """Write the book to the home directory, replacing an older one whole."""
    directory = home.ensure(home.networks_dir)
    atomic_write(directory / f"{check_name(book.name, 'network')}.json", book.encode())


def list_networks(home: Home) -> list[str]:
    """Return the names of the stored books."""
    return sorted(path.stem for path in home.networks_dir.glob("*.json"))


def _decode(value: Mapping[str, object]) -> AddressBook:
    top = _Fields(value, "address book")
    contracts = top.fields("contracts")
    trust = top.fields("chain_trust")
    verifiers = tuple(
        _decode_verifier(name, entry) for name, entry in contracts.fields("verifiers").each_fields()
    )
    tokens = tuple(_decode_token(symbol, entry) for symbol, entry in top.fields("tokens").each_fields())
    book = AddressBook(
        name=check_name(top.get("name", str), "network"),
        chain_id=top.integer("chain_id", 1, 2**64 - 1),
        genesis_hash=top.hash("genesis_hash"),
        development=top.get("development", bool),
        rpc_url=top.get("rpc_url", str),
        market=contracts.address("market"),
        registry=contracts.address("registry"),
        verifiers=verifiers,
        tokens=tokens,
        deployed_at_block=top.integer("deployed_at_block", 0, 2**64 - 1),
        chain_trust=_decode_chain_trust(trust),
        blob_url=top.get("blob_url", str),
        trusted_measurements=tuple(top.hashes("trusted_measurements")),
    )
    trust.done()
    contracts.done()
    top.done()
    return book


def _encode_chain_trust(entry: ChainTrustEntry) -> dict[str, object]:
    if entry.mode == DEV_PINNED:
        return {"mode": entry.mode, "confirmations": entry.confirmations}
    return {"mode": entry.mode, "checkpoint": _hex(entry.checkpoint), "endpoints": list(entry.endpoints)}


def _decode_chain_trust(trust: "_Fields") -> ChainTrustEntry:
    mode = trust.get("mode", str)
    if mode == DEV_PINNED:
        return ChainTrustEntry(mode, trust.integer("confirmations", 0, 2**32))
    checkpoint = bytes_from_hex(trust.get("checkpoint", str), f"{trust.where}.checkpoint")
    return ChainTrustEntry(mode, checkpoint=checkpoint, endpoints=tuple(trust.texts("endpoints")))


def _encode_verifier(entry: VerifierEntry) -> dict[str, object]:
    value: dict[str, object] = {
        "address": to_checksum(entry.address),
        "kind": entry.kind,
        "assurance": entry.assurance,
        "root": entry.root,
    }
    if entry.kind == DCAP_KIND:
        collateral = {"certificates": to_checksum(entry.certificates), "tcb": to_checksum(entry.tcb)}
        return {**value, "collateral": collateral}
    auditors = [to_checksum(auditor) for auditor in entry.auditors]
    return {**value, "auditors": auditors, "threshold": entry.threshold}


def _decode_verifier(name: str, entry: "_Fields") -> VerifierEntry:
    verifier = VerifierEntry(
        name=check_name(name, "verifier"),
        address=entry.address("address"),
        kind=entry.get("kind", str),
        assurance=entry.integer("assurance", 1, 2),
        root=entry.get("root", str),
    )
    if verifier.kind == DCAP_KIND:
        collateral = entry.fields("collateral")
        verifier = replace(
            verifier, certificates=collateral.address("certificates"), tcb=collateral.address("tcb")
        )
        collateral.done()
    elif verifier.kind == QUORUM_KIND:
        auditors = tuple(entry.addresses("auditors"))
        verifier = replace(verifier, auditors=auditors, threshold=entry.integer("threshold", 1, 16))
        if verifier.threshold > len(auditors):
            raise InvalidInput(f"{entry.where}.threshold is larger than the number of auditors")
    else:
        raise InvalidInput(
            f"{entry.where}.kind must be {DCAP_KIND!r} or {QUORUM_KIND!r}, got {verifier.kind!r}"
        )
    entry.done()
    if verifier.root not in ROOTS:
        raise InvalidInput(f"{entry.where}.root must be one of {', '.join(ROOTS)}, got {verifier.root!r}")
    return verifier


def _decode_token(symbol: str, entry: "_Fields") -> TokenEntry:
    token = TokenEntry(symbol, entry.address("address"), entry.integer("decimals", 0, 255))
    entry.done()
    return token


class _Fields:
    """Strict reading of one JSON object: every field once, none left over."""

    def __init__(self, value: Mapping[str, object], where: str) -> None:
        self.where = where
        self._left = dict(value)

    def get(self, key: str, kind: type[_T]) -> _T:
        if key not in self._left:
            raise InvalidInput(f"{self.where}.{key} is missing")
        value = self._left.pop(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InvalidInput(f"{self.where}.{key} must be {kind.__name__}, got {type(value).__name__}")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.get(key, int)
        if not low <= value <= high:
            raise InvalidInput(f"{self.where}.{key} must be {low} to {high}, got {value}")
        return value

    def fields(self, key: str) -> "_Fields":
        value: dict[str, object] = self.get(key, dict)
        return _Fields(value, f"{self.where}.{key}")

    def each_fields(self) -> list[tuple[str, "_Fields"]]:
        return [(key, self.fields(key)) for key in list(self._left)]

    def address(self, key: str) -> Address:
        return self._named(key, lambda: address_from_hex(self.get(key, str)))

    def hash(self, key: str) -> Hash32:
        return self._named(key, lambda: hash32_from_hex(self.get(key, str)))

    def addresses(self, key: str) -> list[Address]:
        return self._named(key, lambda: [address_from_hex(_text(item)) for item in self._items(key)])

    def hashes(self, key: str) -> list[Hash32]:
        return self._named(key, lambda: [hash32_from_hex(_text(item)) for item in self._items(key)])

    def texts(self, key: str) -> list[str]:
        values = self._items(key)
        if not all(isinstance(value, str) for value in values):
            raise InvalidInput(f"{self.where}.{key} must hold strings")
        return [str(value) for value in values]

    def done(self) -> None:
        if self._left:
            raise InvalidInput(f"{self.where} has unknown fields: {', '.join(sorted(self._left))}")

    def _items(self, key: str) -> list[object]:
        value: list[object] = self.get(key, list)
        return value

    def _named(self, key: str, read: Callable[[], _T]) -> _T:
        try:
            return read()
        except InvalidInput as exc:
            prefix = f"{self.where}.{key}"
            if exc.message.startswith(prefix):
                raise
            raise InvalidInput(f"{prefix}: {exc.message}") from exc


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"must be a hexadecimal string, got {type(value).__name__}")
    return value


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
