"""Setting things up: deploying a market, and bringing a worker's enclave to life and into the registry."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from goldengrain.accounts import Account
from goldengrain.chain.address_book import DCAP_KIND, AddressBook, ChainTrustEntry, VerifierEntry
from goldengrain.chain.client import ChainClient
from goldengrain.chain.contracts import Token
from goldengrain.chain.deploy import DcapPlan, TokenPlan, VerifierPlan, deploy
from goldengrain.chain.devnet import Devnet, dev_private_key
from goldengrain.chain.journal import TransactionJournal
from goldengrain.chain.transactions import TransactionSender
from goldengrain.home import Home, atomic_write
from goldengrain.host.collateral import post_collateral
from goldengrain.host.enclave_process import (
    EnclaveProcess,
    local_measurement,
    provision_simulated_platform,
)
from goldengrain.host.registration import (
    RegistrationRequest,
    endorse,
    make_request,
    platform_root,
    register,
    registered_until,
)
from goldengrain.sdk.session import Session
from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.types import Address, hash32
from goldengrain_protocol.wire import BootReply

RENEW_BEFORE_S: Final = 3 * 24 * 3600
"""A registration that ends sooner than this is renewed when the worker starts."""

DEV_TOKEN_DECIMALS: Final = 6
SIMULATED_PLATFORM: Final = "simulated"
DCAP_VERIFIER: Final = "dcap"
AUDITOR_VERIFIER: Final = "auditors"


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """What to deploy. `rpc_url` None means the running development chain."""

    network: str
    rpc_url: str | None
    auditors: tuple[Address, ...]
    threshold: int
    tokens: tuple[str, ...]
    blob_url: str | None
    confirmations: int
    development: bool


def deploy_market(
    home: Home,
    plan: DeploymentPlan,
    account: Account,
    *,
    on_progress: Callable[[str], None] = lambda _what: None,
) -> AddressBook:
    """Deploy the contracts, trust the enclave code of this machine on a development network, save the book.

    Raises:
        InvalidInput: the plan contradicts itself, or no development chain runs where one is meant.
        UnavailableError: the node does not answer, or the enclave's environment is missing.
    """
    if not plan.development:
        raise InvalidInput(
            "this command deploys for trying things only: chain-trust mode dev-pinned, simulated root",
            next_step="deploy with --development, on a chain for trying things",
        )
    if plan.auditors and not 1 <= plan.threshold <= len(plan.auditors):
        raise InvalidInput(f"threshold {plan.threshold} must be 1 to {len(plan.auditors)} auditors")
    rpc_url = plan.rpc_url or _devnet_url(home)
    client = ChainClient(rpc_url)
    sender = TransactionSender(client, account, TransactionJournal.open(home))
    on_progress("measuring the enclave code of this machine")
    measurement = hash32(local_measurement())
    return deploy(
        home,
        sender,
        name=plan.network,
        rpc_url=rpc_url,
        development=plan.development,
        chain_trust=ChainTrustEntry("dev-pinned", plan.confirmations),
        verifiers=_verifiers(home, plan),
        tokens=[TokenPlan(symbol, f"{symbol} (development)", DEV_TOKEN_DECIMALS) for symbol in plan.tokens],
        blob_url=plan.blob_url,
        trusted_measurements=(measurement,),
        on_progress=on_progress,
    )


def _verifiers(home: Home, plan: DeploymentPlan) -> list[DcapPlan | VerifierPlan]:
    """The contract that verifies quotes under this machine's simulated root; the auditors, where there are any."""
    provision_simulated_platform(home.simulated_platform_dir)
    root_der = (home.simulated_platform_dir / "root.der").read_bytes()
    plans: list[DcapPlan | VerifierPlan] = [
        DcapPlan(DCAP_VERIFIER, root_der, Assurance.SIMULATED, "simulated")
    ]
    if plan.auditors:
        plans.append(
            VerifierPlan(AUDITOR_VERIFIER, plan.auditors, plan.threshold, Assurance.SIMULATED, "simulated")
        )
    return plans


def give_dev_tokens(home: Home, client: ChainClient, token: Address, to: Address, amount: int) -> None:
    """Mint units of a development token; anvil's first test account pays the gas."""
    payer = Account.from_private_key(dev_private_key(0), "anvil")
    sender = TransactionSender(client, payer, TransactionJournal.open(home))
    sender.send(f"mint:{secrets.token_hex(8)}", Token(client, token).mint(to, amount))


def boot_enclave(
    session: Session, name: str, *, platform: str = SIMULATED_PLATFORM
) -> tuple[EnclaveProcess, BootReply]:
    """Start the enclave of worker `name`, with its earlier identity if its platform could seal one.

    Raises:
        InvalidInput: an unknown platform, or one that is started in another way.
        VerificationError: the earlier identity does not open for the code that is installed now.
        UnavailableError: the enclave does not start.
    """
    directory = session.home.worker_dir(name)
    if platform == SIMULATED_PLATFORM:
        provision_simulated_platform(session.home.simulated_platform_dir)
    enclave = EnclaveProcess(
        session.home.simulated_platform_dir, directory / "enclave.log", platform=platform
    )
    identity = directory / f"identity-{session.book.name}-{platform}.sealed"
    sealed = identity.read_bytes() if identity.exists() else b""
    boot = enclave.boot(session.book.enclave_config(), sealed)
    if boot.sealed_identity != sealed:
        atomic_write(identity, boot.sealed_identity)
    return enclave, boot


def platform_collateral(session: Session, platform: str, file: Path | None) -> bytes:
    """Return the collateral document for an enclave's quote: a given file, or the simulated platform's own.

    Raises:
        InvalidInput: a hardware platform without a file.
    """
    if file is not None:
        return file.read_bytes()
    if platform == SIMULATED_PLATFORM:
        return (session.home.simulated_platform_dir / "collateral_sgx.json").read_bytes()
    raise InvalidInput(
        f"platform {platform} needs the vendor's collateral for its quote",
        next_step=f"fetch it and pass --collateral FILE; see docs/guides/platform-{platform}.md",
    )


def ensure_registered(
    session: Session,
    name: str,
    boot: BootReply,
    verifier: VerifierEntry,
    *,
    collateral: bytes | None = None,
    auditors: Sequence[Account] = (),
    wait_s: float = 0.0,
    should_stop: Callable[[], bool] = lambda: False,
    on_waiting: Callable[[Path], None] = lambda _path: None,
) -> int:
    """Return the Unix time until which the enclave is registered, registering or renewing it if need be.

    A verifier of kind dcap checks the quote on chain: its collateral is posted first where it is missing. For an
    auditor quorum, `auditors` (accounts of this machine) verify the quote and sign here; without them the request is
    written to a file for auditors elsewhere, and the call waits up to `wait_s` for somebody to register it.

    Args:
        collateral: the document for the enclave's quote; the simulated platform's by default.

    Raises:
        UnavailableError: nobody registered it in time; the request file stays.
    """
    if collateral is None:
        collateral = platform_collateral(session, SIMULATED_PLATFORM, None)
    request = make_request(session, boot, verifier, collateral)
    now = session.client.block("latest").timestamp
    until = registered_until(session, request.enclave_id)
    if until > now + RENEW_BEFORE_S:
        return until
    if verifier.kind == DCAP_KIND:
        post_collateral(session, verifier, collateral)
        register(session, request)
        return registered_until(session, request.enclave_id)
    if auditors:
        root = platform_root(session, verifier)
        signed = [
            endorse(session, request, each, root_der=root, now_unix_s=int(time.time())) for each in auditors
        ]
        register(session, request, signed)
        return registered_until(session, request.enclave_id)
    path = session.home.worker_dir(name) / "registration.json"
    request.save(path)
    if until > now:
        return until
    on_waiting(path)
    return _await_registration(session, request, wait_s, should_stop)


def _await_registration(
    session: Session, request: RegistrationRequest, wait_s: float, should_stop: Callable[[], bool]
) -> int:
    end = time.monotonic() + wait_s
    while True:
        until = registered_until(session, request.enclave_id)
        if until:
            return until
        if should_stop() or time.monotonic() > end:
            raise UnavailableError(
                "the enclave is not registered",
                next_step="let auditors run `gg auditor endorse` on registration.json, then `gg enclave register`",
            )
        time.sleep(1.0)


def _devnet_url(home: Home) -> str:
    status = Devnet(home).status()
    if status is None:
        raise InvalidInput(
            "no node is named and the development chain is not running",
            next_step="gg devnet up, or name a node with --rpc",
        )
    return status.rpc_url
