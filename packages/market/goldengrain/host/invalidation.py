"""Ending registrations: anybody who can show that an enclave's platform no longer passes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError

from goldengrain.chain.address_book import DCAP_KIND, VerifierEntry
from goldengrain.chain.artifacts import load_artifact
from goldengrain.chain.contracts import AuditorQuorum
from goldengrain.chain.dcap import PckForm, encode_revocation_evidence
from goldengrain.chain.events import RegisteredEvent
from goldengrain.chain.rpc_types import as_data, as_object
from goldengrain.home import atomic_write, read_json_object
from goldengrain.sdk.session import Session
from goldengrain_protocol.constants import EnclaveState
from goldengrain_protocol.errors import GoldenGrainError, InvalidInput, VerificationError
from goldengrain_protocol.types import Address, Hash32, address_from_hex, hash32_from_hex, to_checksum

FORM_WORD = 19
"""Which of the 20 words of a dcap verifier's evidence says how the certificate is named."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """An auditor's signed statement that a platform must no longer be trusted."""

    verifier: Address
    platform: Hash32
    signature: bytes

    def save(self, path: Path) -> None:
        document = {
            "verifier": to_checksum(self.verifier),
            "platform": self.platform.hex(),
            "signature": self.signature.hex(),
        }
        atomic_write(path, json.dumps(document, indent=1).encode(), mode=0o644)

    @classmethod
    def load(cls, path: Path) -> Revocation:
        document = read_json_object(path)
        try:
            return cls(
                address_from_hex(str(document["verifier"])),
                hash32_from_hex(str(document["platform"])),
                bytes.fromhex(str(document["signature"])),
            )
        except (KeyError, ValueError) as exc:
            raise InvalidInput(
                f"{path} is not a revocation ({exc})", next_step="`gg auditor revoke` writes one"
            ) from exc


def registrations_of(session: Session, signer: Address) -> list[RegisteredEvent]:
    """Return the latest registration of each identity that uses this signing address.

    Raises:
        InvalidInput: there is none.
    """
    latest: dict[Hash32, RegisteredEvent] = {}
    for event in session.registry.events(
        RegisteredEvent, from_block=session.book.deployed_at_block, signer=signer
    ):
        latest[event.enclave_id] = event
    if not latest:
        raise InvalidInput(
            f"no enclave {to_checksum(signer)} is registered", next_step="see `gg enclave list`"
        )
    return list(latest.values())


def sign_revocation(session: Session, signer: Address) -> Revocation:
    """Sign as an auditor that the platform of an enclave is revoked.

    Raises:
        InvalidInput: the enclave was not vouched for by an auditor quorum of this address book.
    """
    for event in registrations_of(session, signer):
        if _entry(session, event).kind != DCAP_KIND:
            quorum = AuditorQuorum(session.client, event.verifier)
            signature = quorum.sign_platform_revoked(session.account, event.platform)
            return Revocation(event.verifier, event.platform, signature)
    raise InvalidInput(
        "a contract, not auditors, vouched for this enclave",
        next_step="once its revocation is posted (`gg collateral post`), `gg enclave invalidate` needs no auditor",
    )


def invalidate_enclave(
    session: Session, signer: Address, revocations: Sequence[Revocation] = ()
) -> list[Hash32]:
    """End every live registration of an enclave whose platform no longer passes; return their ids.

    For a verifier of kind dcap, the certificate is taken from the registration itself, and the contract looks at the
    revocation lists and TCB levels that are posted. For an auditor quorum, `revocations` prove it.

    Raises:
        InvalidInput: no such enclave, or revocations are missing.
        VerificationError: the platform still passes.
    """
    ended: list[Hash32] = []
    refusals: list[GoldenGrainError] = []
    for event in registrations_of(session, signer):
        status = session.registry.enclave_status(event.enclave_id, block="latest")
        if status.state != EnclaveState.REGISTERED:
            continue
        try:
            _invalidate(session, event, revocations)
            ended.append(event.enclave_id)
        except (InvalidInput, VerificationError) as exc:
            refusals.append(exc)
    if refusals and not ended:
        raise refusals[0]
    return ended


def _invalidate(session: Session, event: RegisteredEvent, revocations: Sequence[Revocation]) -> None:
    if _entry(session, event).kind == DCAP_KIND:
        evidence = encode_revocation_evidence(*_certificate(session, event))
    else:
        evidence = _quorum_evidence(session, event, revocations)
    call = session.registry.invalidate(
        event.verifier, event.signer, event.measurement, event.config_digest, event.platform, evidence
    )
    session.sender.send(f"invalidate:0x{event.enclave_id.hex()}", call)


def _entry(session: Session, event: RegisteredEvent) -> VerifierEntry:
    for entry in session.book.verifiers:
        if entry.address == event.verifier:
            return entry
    raise InvalidInput(f"verifier {to_checksum(event.verifier)} is not in the address book")


def _certificate(session: Session, event: RegisteredEvent) -> tuple[bytes, PckForm]:
    raw = as_object(
        session.client.raw_request("eth_getTransactionByHash", ["0x" + event.meta.tx_hash.hex()]),
        "transaction",
    )
    call = load_artifact("EnclaveRegistry").decode_call("register", as_data(raw["input"], "calldata"))
    try:
        words, pck = abi_decode(["bytes32[20]", "bytes"], bytes(call["evidence"]))  # type: ignore[call-overload]
    except DecodingError as exc:
        raise InvalidInput("the registration's evidence does not decode") from exc
    remembered = int.from_bytes(words[FORM_WORD], "big") == PckForm.REMEMBERED
    return bytes(pck), PckForm.REMEMBERED if remembered else PckForm.CERTIFICATE


def _quorum_evidence(session: Session, event: RegisteredEvent, revocations: Sequence[Revocation]) -> bytes:
    quorum = AuditorQuorum(session.client, event.verifier)
    fitting = [
        each.signature
        for each in revocations
        if each.verifier == event.verifier and each.platform == event.platform
    ]
    if len(fitting) < quorum.threshold():
        raise InvalidInput(
            f"{len(fitting)} revocation(s) of this platform, {quorum.threshold()} needed",
            next_step="get them with `gg auditor revoke`",
        )
    return quorum.encode_revocation(event.platform, fitting)
