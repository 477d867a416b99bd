"""Collecting statements from several witnesses until enough agree on one block.

Witnesses see finality at slightly different moments: the newest block that enough of them call final is found
first, then all are asked about exactly that height. Every signature is checked here; a witness that is down,
late or lying costs nothing but its own vote.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from goldengrain.chain.bounded_http import HttpSource, ask_all
from goldengrain.chain.client import ChainClient
from goldengrain.chain.witness import Statement
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.proofs.witness_quorum import FinalizedBlock, QuorumEvidence, WitnessQuorum
from goldengrain_protocol.types import Address, bytes_from_hex, hash32_from_hex, to_checksum

MAX_STATEMENT_BYTES: Final = 4096
_PATIENCE_S: Final = 0.5
"""How long slower witnesses are waited for once enough have answered: they may know a newer block."""


@dataclass(frozen=True, slots=True)
class Equivocated:
    """Two statements of one witness about one height: proof against it."""

    first: Statement
    second: Statement


class WitnessCollector:
    """The witnesses of one quorum, by their addresses."""

    def __init__(self, mode: WitnessQuorum, urls: Sequence[str], *, timeout_s: float = 10.0) -> None:
        if len(urls) < mode.threshold:
            raise InvalidInput(
                f"expected at least {mode.threshold} witness addresses, got {len(urls)}",
                next_step="add the witnesses' addresses to the address book (chain_trust.endpoints)",
            )
        self._mode: Final = mode
        self._sources: Final = [HttpSource(url, "witness", timeout_s=timeout_s) for url in urls]

    def collect(self, number: int | None = None) -> QuorumEvidence:
        """Return a block that enough witnesses signed, with just as many signatures as are needed.

        Args:
            number: the height; by default the highest that enough witnesses call final.

        Raises:
            UnavailableError: too few witnesses agree; says why for each.
        """
        heights: list[str] = []
        if number is None:
            number, heights = self._common_height()
        path = f"/v1/blocks/{number}"

        def enough(statements: Sequence[Statement]) -> bool:
            votes = Counter((each.block, each.witness) for each in statements if each.block.number == number)
            return max(Counter(block for block, _ in votes).values(), default=0) >= self._mode.threshold

        answers, problems = ask_all(self._sources, lambda source: self._fetch(source, path), enough=enough)
        votes: dict[FinalizedBlock, dict[Address, bytes]] = {}
        for _, statement in answers:
            if statement.block.number == number:
                votes.setdefault(statement.block, {})[statement.witness] = statement.signature
        for block, signatures in votes.items():
            if len(signatures) >= self._mode.threshold:
                chosen = sorted(signatures)[: self._mode.threshold]
                return QuorumEvidence(block, tuple(signatures[who] for who in chosen))
        raise self._too_few(number, votes, [*heights, *problems])

    def prove(self, _client: ChainClient, anchor: int | None) -> tuple[bytes, int]:
        """As `TrustSource.prove`: witnesses sign older blocks themselves, no history step is needed."""
        evidence = self.collect(anchor)
        return evidence.encode(), evidence.block.number

    def _common_height(self) -> tuple[int, list[str]]:
        answers, problems = ask_all(
            self._sources,
            lambda source: self._fetch(source, "/v1/finalized"),
            enough=lambda statements: len({each.witness for each in statements}) >= self._mode.threshold,
            patience_s=_PATIENCE_S,
        )
        newest: dict[Address, int] = {}
        for _, statement in answers:
            newest[statement.witness] = max(newest.get(statement.witness, 0), statement.block.number)
        if len(newest) < self._mode.threshold:
            raise self._too_few(None, {}, problems)
        return sorted(newest.values(), reverse=True)[self._mode.threshold - 1], problems

    def _fetch(self, source: HttpSource, path: str) -> Statement:
        return decode_statement(self._mode, source.get_json(path, max_bytes=MAX_STATEMENT_BYTES))

    def _too_few(
        self,
        number: int | None,
        votes: Mapping[FinalizedBlock, Mapping[Address, bytes]],
        problems: Sequence[str],
    ) -> UnavailableError:
        counted = ", ".join(
            f"{len(signers)} for 0x{block.hash.hex()[:16]}…" for block, signers in votes.items()
        )
        at = "" if number is None else f" on block {number}"
        why = "; ".join([*([counted] if counted else []), *problems[:8]])
        return UnavailableError(
            f"fewer than {self._mode.threshold} witnesses agree{at}" + (f" ({why})" if why else ""),
            next_step="try again, or ask the witnesses' operators",
        )


def decode_statement(mode: WitnessQuorum, value: object) -> Statement:
    """Return the statement in a witness's JSON, signed by the pinned witness that it names.

    Raises:
        VerificationError: signed by another key.
        UnavailableError: it is no statement.
    """
    names = ("number", "hash", "timestamp", "witness", "signature")
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in names):
        raise UnavailableError("a witness answered with no statement")
    try:
        number, timestamp = _decimal(value["number"]), _decimal(value["timestamp"])
        block = FinalizedBlock(number, hash32_from_hex(value["hash"]), timestamp)
        signature = bytes_from_hex(value["signature"], "signature")
        who = mode.signer(block, signature)
    except InvalidInput as exc:
        raise UnavailableError(f"a witness answered with a malformed statement: {exc.message}") from exc
    if value["witness"].lower() != to_checksum(who).lower():
        raise VerificationError(f"a statement of {value['witness'][:42]} is signed by {to_checksum(who)}")
    return Statement(block, who, signature)


def verify_equivocation(mode: WitnessQuorum, first: Statement, second: Statement) -> Address:
    """Return the pinned witness that signed two different blocks of one height.

    Raises:
        VerificationError: the two statements do not contradict each other, or are of two witnesses.
    """
    who = mode.signer(first.block, first.signature)
    if mode.signer(second.block, second.signature) != who:
        raise VerificationError("the statements are of two witnesses")
    if first.block.number != second.block.number or first.block == second.block:
        raise VerificationError("the statements do not contradict each other")
    return who


def find_equivocation(statements: Sequence[Statement]) -> Equivocated | None:
    """Return two statements of one witness about one height, if there are any."""
    seen: dict[tuple[Address, int], Statement] = {}
    for statement in statements:
        earlier = seen.setdefault((statement.witness, statement.block.number), statement)
        if earlier.block != statement.block:
            return Equivocated(earlier, statement)
    return None


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise InvalidInput("number must be decimal digits")
    return int(text)
