"""Getting an enclave registered: its request, the auditors' endorsements, the transaction.

A request is public. Auditors verify the quote themselves (`endorse`), so the host's word counts for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from goldengrain.accounts import Account
from goldengrain.chain.address_book import DCAP_KIND, VerifierEntry
from goldengrain.chain.contracts import AuditorQuorum
from goldengrain.home import atomic_write, read_json_object
from goldengrain.host.collateral import registration_call
from goldengrain.sdk.session import Session
from goldengrain_protocol.attestation import report_data, verify_quote
from goldengrain_protocol.constants import EnclaveState
from goldengrain_protocol.eip712 import QuoteVerified, quote_verified_digest, recover_signer
from goldengrain_protocol.errors import InvalidInput, VerificationError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import enclave_id
from goldengrain_protocol.types import (
    Address,
    Hash32,
    address_from_hex,
    hash32,
    hash32_from_hex,
    to_checksum,
)
from goldengrain_protocol.wire import BootReply

DEFAULT_VALIDITY_S: Final = 30 * 24 * 3600
"""Registrations are short: a stolen attestation key is useful for no longer."""


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """What an enclave asks to be registered as. `expires_at_unix_s` is the latest end that the host asks for."""

    verifier: Address
    signer: Address
    sealing_key: bytes
    measurement: Hash32
    config_digest: Hash32
    quote: bytes
    collateral: bytes
    expires_at_unix_s: int

    @property
    def enclave_id(self) -> Hash32:
        return enclave_id(self.verifier, self.signer, self.measurement, self.config_digest)

    def save(self, path: Path) -> None:
        document = {
            "verifier": to_checksum(self.verifier),
            "signer": to_checksum(self.signer),
            "sealing_key": self.sealing_key.hex(),
            "measurement": self.measurement.hex(),
            "config_digest": self.config_digest.hex(),
            "quote": self.quote.hex(),
            "collateral": self.collateral.decode(),
            "expires_at_unix_s": self.expires_at_unix_s,
        }
        atomic_write(path, json.dumps(document, indent=1).encode(), mode=0o644)

    @classmethod
    def load(cls, path: Path) -> RegistrationRequest:
        document = read_json_object(path)
        try:
            return cls(
                verifier=address_from_hex(str(document["verifier"])),
                signer=address_from_hex(str(document["signer"])),
                sealing_key=hash32_from_hex(str(document["sealing_key"])),
                measurement=hash32_from_hex(str(document["measurement"])),
                config_digest=hash32_from_hex(str(document["config_digest"])),
                quote=bytes.fromhex(str(document["quote"])),
                collateral=str(document["collateral"]).encode(),
                expires_at_unix_s=int(str(document["expires_at_unix_s"])),
            )
        except (KeyError, ValueError) as exc:
            raise InvalidInput(
                f"{path} is not a registration request ({exc})",
                next_step="`gg worker run` writes one as registration.json in its directory",
            ) from exc


@dataclass(frozen=True, slots=True)
class Endorsement:
    """An auditor's signed statement that it verified a quote."""

    auditor: Address
    statement: QuoteVerified
    signature: bytes

    def save(self, path: Path) -> None:
        said = self.statement
        document = {
            "auditor": to_checksum(self.auditor),
            "quote_digest": said.quote_digest.hex(),
            "measurement": said.measurement.hex(),
            "report_data": (said.report_data_high + said.report_data_low).hex(),
            "tcb_status": said.tcb_status,
            "expiry": said.expiry,
            "platform": said.platform.hex(),
            "signature": self.signature.hex(),
        }
        atomic_write(path, json.dumps(document, indent=1).encode(), mode=0o644)

    @classmethod
    def load(cls, path: Path) -> Endorsement:
        document = read_json_object(path)
        try:
            said = bytes.fromhex(str(document["report_data"]))
            return cls(
                auditor=address_from_hex(str(document["auditor"])),
                statement=QuoteVerified(
                    quote_digest=hash32_from_hex(str(document["quote_digest"])),
                    measurement=hash32_from_hex(str(document["measurement"])),
                    report_data_high=hash32(said[:32]),
                    report_data_low=hash32(said[32:]),
                    tcb_status=int(str(document["tcb_status"])),
                    expiry=int(str(document["expiry"])),
                    platform=hash32_from_hex(str(document["platform"])),
                ),
                signature=bytes.fromhex(str(document["signature"])),
            )
        except (KeyError, ValueError) as exc:
            raise InvalidInput(
                f"{path} is not an endorsement ({exc})", next_step="`gg auditor endorse` writes one"
            ) from exc


def make_request(
    session: Session, boot: BootReply, verifier: VerifierEntry, collateral: bytes
) -> RegistrationRequest:
    """Return the registration request of a freshly booted enclave."""
    now = session.client.block("latest").timestamp
    return RegistrationRequest(
        verifier=verifier.address,
        signer=boot.signer,
        sealing_key=boot.sealing_key,
        measurement=boot.measurement,
        config_digest=boot.config_digest,
        quote=boot.quote,
        collateral=collateral,
        expires_at_unix_s=now + DEFAULT_VALIDITY_S,
    )


def endorse(
    session: Session,
    request: RegistrationRequest,
    auditor: Account,
    *,
    root_der: bytes | None,
    now_unix_s: int,
) -> Endorsement:
    """Verify the quote of a request and sign that it verified.

    Args:
        root_der: root certificate the auditor trusts; None for Intel's.
        now_unix_s: the time to verify at.

    Raises:
        VerificationError: quote, measurement, bound keys or configuration do not check out. Nothing is signed.
    """
    # 1. The silicon root vouches for the quote.
    verified = verify_quote(request.quote, request.collateral, root_der=root_der, at_unix_s=now_unix_s)
    # 2. It is about the keys and the configuration in the request, and about this market.
    if verified.measurement != request.measurement:
        raise VerificationError(
            f"the quote measures 0x{verified.measurement.hex()}, the request says 0x{request.measurement.hex()}"
        )
    if verified.report_data != report_data(request.signer, request.sealing_key, request.config_digest):
        raise VerificationError("the quote binds other keys or another configuration than the request")
    if request.config_digest != session.config_digest:
        raise VerificationError("the request's configuration is not this market's")
    if request.measurement not in session.book.trusted_measurements:
        raise VerificationError(
            f"measurement 0x{request.measurement.hex()} is not one that this address book trusts",
            next_step="rebuild the enclave from source and compare before trusting it",
        )
    expiry = min(request.expires_at_unix_s, verified.expiry)
    if expiry <= now_unix_s:
        raise VerificationError("the registration would be expired already")
    statement = QuoteVerified(
        quote_digest=keccak256(request.quote),
        measurement=verified.measurement,
        report_data_high=hash32(verified.report_data[:32]),
        report_data_low=hash32(verified.report_data[32:]),
        tcb_status=int(verified.tcb_status),
        expiry=expiry,
        platform=verified.platform,
    )
    digest = quote_verified_digest(session.chain_id, request.verifier, statement)
    return Endorsement(auditor.address, statement, auditor.sign_digest(digest))


def register(
    session: Session, request: RegistrationRequest, endorsements: Sequence[Endorsement] = ()
) -> Hash32:
    """Register the enclave; return its enclave id. Anyone may send this.

    Args:
        endorsements: needed where the verifier is an auditor quorum; a verifier of kind dcap checks the quote itself.

    Raises:
        InvalidInput: too few endorsements, or they state different things.
        VerificationError: the verifier refuses the quote, or an endorsement is not by one of its auditors.
    """
    verifier = verifier_of(session, request)
    if verifier.kind == DCAP_KIND:
        quote, evidence = registration_call(request.quote)
    else:
        quote, evidence = request.quote, _quorum_evidence(session, request, endorsements)
    call = session.registry.register(
        request.verifier, quote, evidence, request.signer, request.sealing_key, request.config_digest
    )
    # The journal keeps one transaction per purpose: what is registered now makes another attempt another purpose.
    # What the endorsements say does not: a worker that died after sending comes back with newer ones.
    known = session.registry.enclave_status(request.enclave_id, block="latest")
    purpose = f"register:0x{request.enclave_id.hex()}:{int(known.state)}:{known.expiry}"
    session.sender.send(purpose, call)
    return request.enclave_id


def verifier_of(session: Session, request: RegistrationRequest) -> VerifierEntry:
    """Return the address book's entry of the verifier that a request names, or raise InvalidInput."""
    for entry in session.book.verifiers:
        if entry.address == request.verifier:
            return entry
    raise InvalidInput("the request is for a verifier that the address book does not list")


def _quorum_evidence(
    session: Session, request: RegistrationRequest, endorsements: Sequence[Endorsement]
) -> bytes:
    quorum = AuditorQuorum(session.client, request.verifier)
    auditors, threshold = set(quorum.auditors()), quorum.threshold()
    if not endorsements:
        raise InvalidInput(
            f"no endorsement, {threshold} needed", next_step="get them with `gg auditor endorse`"
        )
    statement = endorsements[0].statement
    signatures: dict[Address, bytes] = {}
    for each in endorsements:
        if each.statement != statement:
            raise InvalidInput("the endorsements state different things", next_step="collect them again")
        digest = quote_verified_digest(session.chain_id, request.verifier, each.statement)
        signer = recover_signer(digest, each.signature)
        if signer not in auditors:
            raise VerificationError(f"{to_checksum(signer)} is not an auditor of this verifier")
        signatures[signer] = each.signature
    if len(signatures) < threshold:
        raise InvalidInput(
            f"{len(signatures)} endorsement(s), {threshold} needed",
            next_step="get more with `gg auditor endorse`",
        )
    return quorum.encode_evidence(statement, list(signatures.values())[:threshold])


def registered_until(session: Session, identity: Hash32) -> int:
    """Return the Unix time at which a registration ends; 0 if there is none or it was invalidated."""
    status = session.registry.enclave_status(identity, block="latest")
    return status.expiry if status.state == EnclaveState.REGISTERED else 0


def platform_root(session: Session, verifier: VerifierEntry) -> bytes | None:
    """Return the root certificate that a verifier's name calls for: this machine's simulated one, or Intel's."""
    if verifier.root == "intel":
        return None
    path = session.home.simulated_platform_dir / "root.der"
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InvalidInput(
            f"the simulated platform's root certificate is missing ({path.name})",
            next_step="start `gg worker run` once on this machine, or name the root with --root",
        ) from exc
