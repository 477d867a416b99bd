"""Whom a client trusts: benchmarks whose terms name known code, and enclaves that are registered for it.

A benchmark's owner chooses verifier, measurement and configuration. Sealing a model to whatever a stranger chose
would hand it over, so a client accepts only what its own address book vouches for.
"""

from __future__ import annotations

from dataclasses import dataclass

from goldengrain.chain.events import RegisteredEvent
from goldengrain.sdk.session import Session
from goldengrain_protocol.constants import EnclaveState
from goldengrain_protocol.errors import UnavailableError, VerificationError
from goldengrain_protocol.messages import Benchmark, enclave_id
from goldengrain_protocol.types import Address, Hash32, to_checksum


@dataclass(frozen=True, slots=True)
class UsableEnclave:
    """An enclave whose registration satisfies one benchmark's terms now."""

    enclave_id: Hash32
    signer: Address
    sealing_key: bytes
    expires_at_unix_s: int


def verify_terms(session: Session, benchmark: Benchmark) -> None:
    """Raise VerificationError unless the terms name code and verifier that the address book trusts."""
    book = session.book
    known = {entry.address: entry for entry in book.verifiers}
    entry = known.get(benchmark.verifier)
    if entry is None:
        raise VerificationError(
            f"the benchmark trusts verifier {to_checksum(benchmark.verifier)}, which the address book "
            f"{book.name!r} does not list",
            next_step="do not deal with this benchmark unless you know and add its verifier",
        )
    if entry.assurance < benchmark.assurance:
        raise VerificationError(
            f"the benchmark asks for assurance {benchmark.assurance}, its verifier gives {entry.assurance}",
            next_step="ask the benchmark's owner for a benchmark that enclaves can serve",
        )
    if benchmark.measurement not in book.trusted_measurements:
        raise VerificationError(
            f"the benchmark trusts enclave code 0x{benchmark.measurement.hex()}, which the address book does not",
            next_step="compare it with `gg enclave measure`; add it to trusted_measurements only if it matches",
        )
    if benchmark.config_digest != session.config_digest:
        raise VerificationError(
            f"the benchmark fixes enclave configuration 0x{benchmark.config_digest.hex()}, expected "
            f"0x{session.config_digest.hex()} for this chain, market and trust mode",
            next_step="check that the address book belongs to the market of this benchmark",
        )


def usable_enclaves(session: Session, benchmark: Benchmark) -> list[UsableEnclave]:
    """Return the enclaves that may serve `benchmark` at the finalised head, longest registration first."""
    now = session.client.block("latest").timestamp
    found: dict[Hash32, UsableEnclave] = {}
    for event in session.registry.events(RegisteredEvent, from_block=session.book.deployed_at_block):
        if event.verifier != benchmark.verifier or event.measurement != benchmark.measurement:
            continue
        if event.config_digest != benchmark.config_digest:
            continue
        identity = enclave_id(event.verifier, event.signer, event.measurement, event.config_digest)
        if _is_usable(session, benchmark, identity, now):
            expiry = session.registry.enclave_status(identity).expiry
            found[identity] = UsableEnclave(identity, event.signer, event.sealing_key, expiry)
    return sorted(found.values(), key=lambda enclave: -enclave.expires_at_unix_s)


def require_usable_enclaves(session: Session, benchmark: Benchmark) -> list[UsableEnclave]:
    """As `usable_enclaves`, but raise UnavailableError where there are fewer than the quorum."""
    enclaves = usable_enclaves(session, benchmark)
    if len(enclaves) < benchmark.quorum:
        raise UnavailableError(
            f"{len(enclaves)} registered enclave(s) can serve this benchmark, its quorum is {benchmark.quorum}",
            next_step="start one with `gg worker run`, then try again",
        )
    return enclaves


def verify_enclave(session: Session, benchmark: Benchmark, signer: Address) -> Hash32:
    """Return the enclave id of `signer`; raise VerificationError unless it may serve `benchmark` now."""
    identity = enclave_id(benchmark.verifier, signer, benchmark.measurement, benchmark.config_digest)
    now = session.client.block("latest").timestamp
    if not _is_usable(session, benchmark, identity, now):
        raise VerificationError(
            f"{to_checksum(signer)} is not a registered, unexpired enclave of this benchmark's code",
            next_step="ask another worker; `gg enclave list` shows the registered ones",
        )
    return identity


def _is_usable(session: Session, benchmark: Benchmark, identity: Hash32, now: int) -> bool:
    status = session.registry.enclave_status(identity)
    return (
        status.state == EnclaveState.REGISTERED
        and status.expiry > now
        and bool(benchmark.tcb_allowed >> status.tcb_status & 1)
        and status.assurance >= benchmark.assurance
    )
