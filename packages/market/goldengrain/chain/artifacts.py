"""The compiled contracts that ship with this package, and calls and logs encoded with their ABI."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.abi import collapse_if_tuple

from goldengrain.chain.rpc import MalformedReply
from goldengrain.chain.rpc_types import Log
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import Address, Hash32, to_checksum

_WORD: Final = 32


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a function or event; `kind` is the ABI type, tuples written out."""

    name: str
    kind: str
    indexed: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a contract."""

    selector: bytes
    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class EventAbi:
    """An event of a contract; `topic` is its first topic."""

    name: str
    topic: Hash32
    indexed: tuple[Parameter, ...]
    data: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract."""

    name: str
    functions: Mapping[str, Function]
    events: Mapping[str, EventAbi]
    constructor: tuple[Parameter, ...]
    creation_code: bytes

    def encode_call(self, function: str, arguments: Sequence[object]) -> bytes:
        """Return the calldata of a call.

        Raises:
            InvalidInput: an argument does not fit its type (a number too large, bytes too long).
        """
        found = self.functions[function]
        return found.selector + _encode(f"{self.name}.{function}", found.inputs, arguments)

    def decode_result(self, function: str, data: bytes) -> tuple[object, ...]:
        """Return the values that a call answered with."""
        return _decode(f"{self.name}.{function}", self.functions[function].outputs, data)

    def decode_call(self, function: str, calldata: bytes) -> dict[str, object]:
        """Return the arguments of a call of this function, by name.

        Raises:
            InvalidInput: the calldata is of another function.
        """
        found = self.functions[function]
        if calldata[:4] != found.selector:
            raise InvalidInput(f"the calldata is no call of {self.name}.{function}")
        values = _decode(f"{self.name}.{function}", found.inputs, calldata[4:])
        return {parameter.name: value for parameter, value in zip(found.inputs, values, strict=True)}

    def encode_creation(self, arguments: Sequence[object]) -> bytes:
        """Return the creation code with its constructor's arguments."""
        return self.creation_code + _encode(f"{self.name}.__init__", self.constructor, arguments)

    def decode_log(self, event: str, log: Log) -> dict[str, object]:
        """Return the fields of a log of this event, by name."""
        found = self.events[event]
        if len(log.topics) != 1 + len(found.indexed) or log.topics[0] != found.topic:
            raise MalformedReply(f"the rpc node's log is no {event}")
        values: dict[str, object] = {}
        for parameter, topic in zip(found.indexed, log.topics[1:], strict=True):
            (values[parameter.name],) = _decode(event, (parameter,), topic)
        for parameter, value in zip(found.data, _decode(event, found.data, log.data), strict=True):
            values[parameter.name] = value
        return values


@cache
def load_artifact(name: str) -> Artifact:
    """Return a contract of this package by name.

    Raises:
        InvalidInput: the installation lacks it, or the file is damaged.
    """
    try:
        text = resources.files("goldengrain").joinpath("artifacts", f"{name}.json").read_text()
        value = json.loads(text)
        return decode_artifact(name, value["abi"], value["bytecode"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise InvalidInput(
            f"contract artifact {name} is missing or damaged", next_step="install the package again"
        ) from exc


def decode_artifact(name: str, abi: Sequence[Mapping[str, object]], bytecode: str = "") -> Artifact:
    """Return the contract of an ABI in its usual JSON form. Functions are found by name: no overloads."""
    functions: dict[str, Function] = {}
    events: dict[str, EventAbi] = {}
    constructor: tuple[Parameter, ...] = ()
    for item in abi:
        inputs = _parameters(item.get("inputs", []))
        match item["type"]:
            case "function":
                own_name = str(item["name"])
                selector = keccak256(_signature(own_name, inputs))[:4]
                functions[own_name] = Function(selector, inputs, _parameters(item.get("outputs", [])))
            case "event":
                own_name = str(item["name"])
                events[own_name] = EventAbi(
                    own_name,
                    keccak256(_signature(own_name, inputs)),
                    tuple(parameter for parameter in inputs if parameter.indexed),
                    tuple(parameter for parameter in inputs if not parameter.indexed),
                )
            case "constructor":
                constructor = inputs
    return Artifact(name, functions, events, constructor, bytes.fromhex(bytecode.removeprefix("0x")))


def encode_topic(parameter: Parameter, value: object) -> Hash32:
    """Return the topic of an indexed value (bytes32, address or integer).

    Raises:
        InvalidInput: the value does not fit.
    """
    word = _encode(parameter.name, (parameter,), [value])
    if len(word) != _WORD:
        raise InvalidInput(f"{parameter.name} cannot be a topic")
    return Hash32(word)


def _parameters(items: object) -> tuple[Parameter, ...]:
    if not isinstance(items, list):
        raise TypeError("parameters must be a list")
    return tuple(
        Parameter(str(item.get("name", "")), collapse_if_tuple(item), bool(item.get("indexed", False)))
        for item in items
    )


def _signature(name: str, inputs: tuple[Parameter, ...]) -> bytes:
    return f"{name}({','.join(parameter.kind for parameter in inputs)})".encode()


def _encode(where: str, parameters: tuple[Parameter, ...], arguments: Sequence[object]) -> bytes:
    if len(parameters) != len(arguments):
        raise InvalidInput(f"{where} takes {len(parameters)} arguments, got {len(arguments)}")
    prepared = [
        _checked(where, parameter, value) for parameter, value in zip(parameters, arguments, strict=True)
    ]
    try:
        return abi_encode([parameter.kind for parameter in parameters], prepared)
    except (EncodingError, TypeError, ValueError, OverflowError) as exc:
        raise InvalidInput(f"an argument of {where} does not fit: {exc}") from exc


def _checked(where: str, parameter: Parameter, value: object) -> object:
    """Return an argument as the encoder takes it; the encoder itself would pad bytes that are too short."""
    if parameter.kind == "address" and isinstance(value, bytes):
        return to_checksum(Address(value))
    size = parameter.kind.removeprefix("bytes")
    if size != parameter.kind and size.isdecimal() and isinstance(value, bytes) and len(value) != int(size):
        raise InvalidInput(f"{where}: {parameter.name} must have {size} bytes, got {len(value)}")
    return value


def _decode(where: str, parameters: tuple[Parameter, ...], data: bytes) -> tuple[object, ...]:
    # Contracts may emit strings that are no UTF-8: they are read as bytes and shown with replacements.
    kinds = ["bytes" if parameter.kind == "string" else parameter.kind for parameter in parameters]
    try:
        values = abi_decode(kinds, data)
    except (DecodingError, OverflowError, ValueError) as exc:
        raise MalformedReply(f"the rpc node's data for {where} does not decode: {exc}") from exc
    return tuple(_plain(parameter.kind, value) for parameter, value in zip(parameters, values, strict=True))


def _plain(kind: str, value: object) -> object:
    if kind == "string" and isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if kind == "address" and isinstance(value, str):
        return Address(bytes.fromhex(value[2:]))
    if kind == "address[]" and isinstance(value, (tuple, list)):
        return tuple(Address(bytes.fromhex(item[2:])) for item in value)
    return value
