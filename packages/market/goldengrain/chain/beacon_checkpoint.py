"""Choosing the checkpoint of a new deployment: where its enclaves' trust in a beacon chain begins.

This is the one moment at which nodes are believed. So several must agree on the chain, its forks and the newest
finalised block; and whoever deploys should compare the root with a source of another kind before publishing it.

Source: Ethereum beacon-APIs, /eth/v1/beacon/genesis, /eth/v1/config/spec, /eth/v1/beacon/headers/finalized.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from goldengrain.chain.bounded_http import HttpSource, ask_all
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.proofs.ethereum_pos import EthereumPos, Fork, Network, PresetId
from goldengrain_protocol.proofs.ethereum_pos.network import FORMATS, PRESETS
from goldengrain_protocol.types import Hash32, bytes_from_hex, hash32_from_hex

MIN_AGREEING: Final = 2
MAX_REPLY_BYTES: Final = 2**18
FAR_FUTURE_EPOCH: Final = 2**64 - 1


def fetch_checkpoint(
    urls: Sequence[str], *, agreeing: int = MIN_AGREEING, timeout_s: float = 15.0
) -> EthereumPos:
    """Return the mode that begins at the newest finalised block on which enough nodes agree.

    Args:
        urls: beacon nodes of different operators.
        agreeing: how many must say the same in everything; 1 only where the node is one's own.

    Raises:
        UnavailableError: too few answer, or they differ.
        InvalidInput: fewer addresses than must agree.
    """
    if agreeing < 1 or len(set(urls)) < agreeing:
        raise InvalidInput(f"expected at least {max(agreeing, 1)} beacon nodes, got {len(set(urls))}")
    sources = [HttpSource(url, "beacon node", timeout_s=timeout_s) for url in dict.fromkeys(urls)]
    answers, problems = ask_all(sources, _ask)
    votes = Counter(mode for _, mode in answers)
    if votes:
        mode, count = votes.most_common(1)[0]
        if count >= agreeing:
            return mode
    raise UnavailableError(
        f"fewer than {agreeing} beacon nodes agree on a finalised block"
        f" ({len(answers)} answered, {len(votes)} different answers"
        + "".join(f"; {problem}" for problem in problems[:4])
        + ")",
        next_step="try again in a minute: nodes reach a new finalised block at different moments",
    )


def _ask(source: HttpSource) -> EthereumPos:
    genesis = _data(source, "/eth/v1/beacon/genesis")
    settings = _data(source, "/eth/v1/config/spec")
    head = _data(source, "/eth/v1/beacon/headers/finalized")
    header = head.get("header")
    message = header.get("message") if isinstance(header, dict) else None
    if not isinstance(message, dict):
        raise UnavailableError(f"{source.name} answered with no header")
    base = _text(settings, "PRESET_BASE")
    presets = {preset.name.lower(): preset for preset in PresetId}
    if base not in presets:
        raise InvalidInput(f"preset must be mainnet or minimal, got {base[:20]!r}")
    preset = presets[base]
    epoch = _number(message, "slot") // PRESETS[preset].slots_per_epoch
    network = Network(preset, _hash(genesis, "genesis_validators_root"), _forks(settings, epoch))
    return EthereumPos(network, _hash(head, "root"))


def _forks(settings: Mapping[str, object], epoch: int) -> tuple[Fork, ...]:
    """Return the forks from the one active at `epoch` on."""
    found: list[Fork] = []
    for name in FORMATS:
        begin = _number(settings, f"{name.upper()}_FORK_EPOCH")
        if begin == FAR_FUTURE_EPOCH:
            continue
        version = bytes_from_hex(_text(settings, f"{name.upper()}_FORK_VERSION"), "fork version")
        if begin <= epoch:
            found.clear()
        found.append(Fork(name, begin, version))
    if not found or found[0].epoch > epoch:
        raise InvalidInput("the newest finalised block is of a fork that this version does not know")
    return tuple(found)


def _data(source: HttpSource, path: str) -> Mapping[str, object]:
    value = source.get_json(path, max_bytes=MAX_REPLY_BYTES)
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, dict):
        raise UnavailableError(f"{source.name} answered {path} with no data")
    return data


def _text(data: Mapping[str, object], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise UnavailableError(f"a beacon node's answer has no {name}")
    return value


def _number(data: Mapping[str, object], name: str) -> int:
    text = _text(data, name)
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise UnavailableError(f"a beacon node's {name} is no number")
    return int(text)


def _hash(data: Mapping[str, object], name: str) -> Hash32:
    return hash32_from_hex(_text(data, name))
