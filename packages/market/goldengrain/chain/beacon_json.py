"""Light-client data as beacon nodes write it in JSON, turned into its SSZ bytes.

Only shape and sizes are checked here; the bytes are then decoded and verified like any others.

Source: Ethereum beacon-APIs, types/altair/light_client.yaml; consensus specs, ssz/simple-serialize.md.
"""

from collections.abc import Mapping
from typing import Final

from goldengrain_protocol.errors import InvalidInput

_BEACON: Final = (
    ("slot", 8),
    ("proposer_index", 8),
    ("parent_root", -32),
    ("state_root", -32),
    ("body_root", -32),
)
_EXECUTION: Final = (
    ("parent_hash", -32),
    ("fee_recipient", -20),
    ("state_root", -32),
    ("receipts_root", -32),
    ("logs_bloom", -256),
    ("prev_randao", -32),
    ("block_number", 8),
    ("gas_limit", 8),
    ("gas_used", 8),
    ("timestamp", 8),
    ("extra_data", 0),
    ("base_fee_per_gas", 32),
    ("block_hash", -32),
    ("transactions_root", -32),
    ("withdrawals_root", -32),
    ("blob_gas_used", 8),
    ("excess_blob_gas", 8),
)
"""Name and size: positive for little-endian numbers, negative for bytes, 0 for the one of variable size."""
MAX_NODES: Final = 32
MAX_KEYS: Final = 512

Json = Mapping[str, object]


def bootstrap_ssz(data: object) -> bytes:
    """Return the SSZ of a `LightClientBootstrap`. Raises: InvalidInput."""
    item = _object(data, "bootstrap")
    committee = _committee(item.get("current_sync_committee"))
    branch = _branch(item.get("current_sync_committee_branch"))
    header = _header(item.get("header"))
    return _joined(committee + branch, [(0, header)])


def update_ssz(data: object) -> bytes:
    """Return the SSZ of a `LightClientUpdate`. Raises: InvalidInput."""
    item = _object(data, "update")
    middle = _committee(item.get("next_sync_committee")) + _branch(item.get("next_sync_committee_branch"))
    rest = _branch(item.get("finality_branch")) + _aggregate(item)
    headers = [
        (0, _header(item.get("attested_header"))),
        (len(middle), _header(item.get("finalized_header"))),
    ]
    return _joined(middle + rest, headers)


def finality_update_ssz(data: object) -> bytes:
    """Return the SSZ of a `LightClientFinalityUpdate`. Raises: InvalidInput."""
    item = _object(data, "finality update")
    rest = _branch(item.get("finality_branch")) + _aggregate(item)
    return _joined(
        rest, [(0, _header(item.get("attested_header"))), (0, _header(item.get("finalized_header")))]
    )


def _joined(fixed: bytes, variable: list[tuple[int, bytes]]) -> bytes:
    """Return fixed fields with the offsets of variable parts put in at the given places, then these parts."""
    offset = len(fixed) + 4 * len(variable)
    out, at = b"", 0
    for place, part in variable:
        out += fixed[at:place] + offset.to_bytes(4, "little")
        at = place
        offset += len(part)
    return out + fixed[at:] + b"".join(part for _, part in variable)


def _header(value: object) -> bytes:
    item = _object(value, "light-client header")
    beacon = _fields(item.get("beacon"), _BEACON, "beacon header")
    return _joined(
        beacon + _branch(item.get("execution_branch")), [(len(beacon), _execution(item.get("execution")))]
    )


def _execution(value: object) -> bytes:
    item = _object(value, "execution header")
    extra = _bytes(item.get("extra_data"), "extra data")
    before = _fields(item, _EXECUTION[:10], "execution header")
    after = _fields(item, _EXECUTION[11:], "execution header")
    return _joined(before + after, [(len(before), extra)])


def _fields(value: object, fields: tuple[tuple[str, int], ...], what: str) -> bytes:
    item = _object(value, what)
    out = b""
    for name, size in fields:
        if size > 0:
            out += _number(item.get(name), size, name)
        else:
            out += _bytes(item.get(name), name, -size)
    return out


def _committee(value: object) -> bytes:
    item = _object(value, "sync committee")
    keys = item.get("pubkeys")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise InvalidInput(f"sync committee must list at most {MAX_KEYS} keys")
    return b"".join(_bytes(key, "public key", 48) for key in keys) + _bytes(
        item.get("aggregate_pubkey"), "aggregate key", 48
    )


def _aggregate(item: Json) -> bytes:
    aggregate = _object(item.get("sync_aggregate"), "sync aggregate")
    bits = _bytes(aggregate.get("sync_committee_bits"), "sync committee bits")
    signature = _bytes(aggregate.get("sync_committee_signature"), "signature", 96)
    return bits + signature + _number(item.get("signature_slot"), 8, "signature slot")


def _branch(value: object) -> bytes:
    if not isinstance(value, list) or len(value) > MAX_NODES:
        raise InvalidInput(f"a branch must be a list of at most {MAX_NODES} nodes")
    return b"".join(_bytes(node, "branch node", 32) for node in value)


def _object(value: object, what: str) -> Json:
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} must be an object")
    return value


def _bytes(value: object, what: str, size: int | None = None) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise InvalidInput(f"{what} must be hexadecimal")
    try:
        data = bytes.fromhex(value[2:])
    except ValueError:
        raise InvalidInput(f"{what} must be hexadecimal") from None
    if len(value) != 2 + 2 * len(data) or (size is not None and len(data) != size):
        raise InvalidInput(f"{what} has {len(data)} bytes")
    return data


def _number(value: object, size: int, what: str) -> bytes:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 80:
        raise InvalidInput(f"{what} must be decimal digits")
    number = int(value)
    if number >> (8 * size):
        raise InvalidInput(f"{what} is larger than {8 * size} bits")
    return number.to_bytes(size, "little")
