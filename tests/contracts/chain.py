"""A contract on the in-process chain: calls by ABI, revert reasons, events, storage words.

The compiler's three code generators are reached through `tools/build_artifacts.py`, so the suite runs exactly
what is shipped, and its two siblings.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import boa
import build_artifacts
import vyper
from eth_abi.abi import decode, encode

from goldengrain_protocol.hashing import keccak256

SOURCES: Final = Path(__file__).resolve().parent / "sources"
CACHE: Final = build_artifacts.REPOSITORY / "build" / "compiled"
ENOUGH_GAS: Final = 10_000_000

HISTORY_ADDRESS: Final = "0x0000F90827F1C53a10cb7A02335B175320002935"
HISTORY_CODE: Final = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311"
    "604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
)
"""Source: EIP-2935, "Bytecode"."""
HISTORY_WINDOW: Final = 8191


class Reverted(Exception):
    """The call failed; `reason` is its revert string, or empty."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason or "reverted without a reason")
        self.reason = reason


def compiled(path: Path, generator: str = build_artifacts.RELEASE_GENERATOR) -> dict[str, Any]:
    """Return the compiler's outputs, from `build/compiled` if these very sources were compiled before."""
    closure = [*build_artifacts.source_closure(path), Path(build_artifacts.__file__)]
    parts = [vyper.__version__, generator, *(hashlib.sha256(p.read_bytes()).hexdigest() for p in closure)]
    name = hashlib.sha256(" ".join([str(path.name), *parts]).encode()).hexdigest()
    cached = CACHE / f"{path.stem}-{name[:32]}.json"
    if cached.exists():
        return dict(json.loads(cached.read_text()))
    output = build_artifacts.compile_contract(path, generator)
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished = cached.with_suffix(f".{id(output)}")
    unfinished.write_text(json.dumps(output))
    unfinished.replace(cached)
    return output


def _abi_type(parameter: dict[str, Any]) -> str:
    if not parameter["type"].startswith("tuple"):
        return str(parameter["type"])
    inner = ",".join(_abi_type(component) for component in parameter["components"])
    return f"({inner}){parameter['type'][5:]}"


@dataclass(frozen=True, slots=True)
class Event:
    """One decoded log entry."""

    name: str
    arguments: dict[str, Any]


@dataclass(slots=True)
class Contract:
    """A deployed contract. `address` has a checksum."""

    address: str
    abi: list[dict[str, Any]]
    layout: dict[str, Any]
    """The compiler's storage layout."""
    events: list[Event] = field(default_factory=list)
    """Of the last transaction that went through, this contract's only; reading leaves them."""
    gas_used: int = 0

    def encode_call(self, name: str, *arguments: object) -> bytes:
        """Return the calldata of a call."""
        function = self._function(name)
        types = [_abi_type(parameter) for parameter in function["inputs"]]
        selector = keccak256(f"{name}({','.join(types)})".encode())[:4]
        return bytes(selector) + encode(types, arguments)

    def call(
        self, name: str, *arguments: object, sender: str | None = None, value: int = 0, gas: int = ENOUGH_GAS
    ) -> Any:
        """Call a function; return its value (a tuple if there are several).

        Raises:
            Reverted: it failed.
        """
        function = self._function(name)
        events = self.events
        output = self.call_raw(self.encode_call(name, *arguments), sender=sender, value=value, gas=gas)
        if function["stateMutability"] in ("view", "pure"):
            self.events = events
        types = [_abi_type(parameter) for parameter in function["outputs"]]
        values = decode(types, output)
        return values[0] if len(values) == 1 else values

    def call_raw(
        self, data: bytes, sender: str | None = None, value: int = 0, gas: int = ENOUGH_GAS
    ) -> bytes:
        """Call with these bytes; return the bytes that came back. Raises: Reverted."""
        computation = boa.env.execute_code(
            to_address=self.address, sender=sender, value=value, data=data, gas=gas
        )
        if computation.is_error:
            raise Reverted(_reason(computation.output))
        self.gas_used = computation.get_gas_used()
        self.events = [
            self._decode_event(topics, data)
            for emitter, topics, data in computation.get_log_entries()
            if emitter == bytes.fromhex(self.address[2:])
        ]
        return bytes(computation.output)

    def stored(self, name: str, *keys: bytes) -> int:
        """Return a storage variable's word, of a mapping the one under `keys`; faster than its getter."""
        slot = self.layout[name]["slot"]
        return int(boa.env.get_storage(self.address, mapping_slot(slot, *keys)))

    def events_named(self, name: str) -> list[dict[str, Any]]:
        """Return the arguments of the last call's events of one name."""
        return [event.arguments for event in self.events if event.name == name]

    def _function(self, name: str) -> dict[str, Any]:
        return next(item for item in self.abi if item.get("name") == name and item["type"] == "function")

    def _decode_event(self, topics: tuple[int, ...], data: bytes) -> Event:
        for item in self.abi:
            if item["type"] != "event":
                continue
            types = [_abi_type(parameter) for parameter in item["inputs"]]
            if int.from_bytes(keccak256(f"{item['name']}({','.join(types)})".encode()), "big") != topics[0]:
                continue
            indexed = [parameter for parameter in item["inputs"] if parameter["indexed"]]
            plain = [parameter for parameter in item["inputs"] if not parameter["indexed"]]
            arguments: dict[str, Any] = {}
            for parameter, topic in zip(indexed, topics[1:], strict=True):
                (arguments[parameter["name"]],) = decode([parameter["type"]], topic.to_bytes(32, "big"))
            values = decode([_abi_type(parameter) for parameter in plain], data)
            arguments |= {parameter["name"]: value for parameter, value in zip(plain, values, strict=True)}
            return Event(item["name"], arguments)
        raise LookupError(f"no event has topic {topics[0]:#x}")


def _reason(output: bytes) -> str:
    if output[:4] == bytes.fromhex("08c379a0"):
        return str(decode(["string"], output[4:])[0])
    return ""


def deploy(
    path: Path,
    *arguments: object,
    generator: str = build_artifacts.RELEASE_GENERATOR,
    sender: str | None = None,
) -> Contract:
    """Deploy a contract from source. Raises: Reverted."""
    output = compiled(path, generator)
    constructor = next((item for item in output["abi"] if item["type"] == "constructor"), {"inputs": []})
    types = [_abi_type(parameter) for parameter in constructor["inputs"]]
    creation = bytes.fromhex(output["bytecode"][2:]) + encode(types, arguments)
    address, computation = boa.env.deploy(bytecode=creation, sender=sender, gas=ENOUGH_GAS)
    if computation.is_error:
        raise Reverted(_reason(computation.output))
    return Contract(str(address), output["abi"], output["layout"].get("storage_layout", {}))


def account(name: str, balance: int = 10**24) -> str:
    """Return the address of an account with that name and some ETH."""
    address = str(boa.env.generate_address(name))
    boa.env.set_balance(address, balance)
    return address


def balance_of(address: str) -> int:
    return int(boa.env.get_balance(address))


def now() -> int:
    return int(boa.env.evm.patch.timestamp)


def set_time(timestamp_s: int) -> None:
    boa.env.evm.patch.timestamp = timestamp_s


def block_hash(number: int) -> bytes:
    """Return the hash that block `number` has on this emulated chain."""
    return hashlib.sha256(f"block {number}".encode()).digest()


def set_block(number: int) -> None:
    """Make `number` the current block, its 256 ancestors known to BLOCKHASH, 8,191 to EIP-2935.

    Blocks between two calls of this function are filled in, as a chain would have done.
    """
    boa.env.evm.patch.block_number = number
    boa.env.evm.patch.prev_hashes = [block_hash(number - depth) for depth in range(1, 257)]


def deploy_history(number: int) -> None:
    """Put the system contract of EIP-2935 at its address, with the hashes of the blocks before `number`."""
    boa.env.set_code(HISTORY_ADDRESS, HISTORY_CODE)
    for ancestor in range(max(0, number - HISTORY_WINDOW), number):
        boa.env.set_storage(
            HISTORY_ADDRESS, ancestor % HISTORY_WINDOW, int.from_bytes(block_hash(ancestor), "big")
        )


def mapping_slot(position: int, *keys: bytes) -> int:
    """Return the storage slot of a Vyper mapping's entry: keccak(slot . key), once for every key."""
    slot = position.to_bytes(32, "big")
    for key in keys:
        slot = keccak256(slot + key.rjust(32, b"\x00"))
    return int.from_bytes(slot, "big")
