"""Deploying the contracts and writing the address book. Running it again continues, or does nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from goldengrain.chain.address_book import (
    DCAP_KIND,
    QUORUM_KIND,
    ROOTS,
    AddressBook,
    ChainTrustEntry,
    TokenEntry,
    VerifierEntry,
    check_chain_trust,
    save_address_book,
)
from goldengrain.chain.artifacts import load_artifact
from goldengrain.chain.transactions import TransactionRequest, TransactionSender
from goldengrain.home import Home, check_name
from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.types import Address, Hash32

MAX_AUDITORS = 16


@dataclass(frozen=True, slots=True)
class VerifierPlan:
    """An auditor-quorum verifier to deploy. `root` says whose certificates the auditors accept."""

    name: str
    auditors: tuple[Address, ...]
    threshold: int
    assurance: Assurance
    root: str


@dataclass(frozen=True, slots=True)
class DcapPlan:
    """A verifier to deploy that checks quotes on chain, under the given root certificate (DER)."""

    name: str
    root_der: bytes
    assurance: Assurance
    root: str


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """A development token to deploy: anyone may mint it."""

    symbol: str
    name: str
    decimals: int = 6


def deploy(
    home: Home,
    sender: TransactionSender,
    *,
    name: str,
    development: bool,
    chain_trust: ChainTrustEntry,
    verifiers: Sequence[VerifierPlan | DcapPlan],
    tokens: Sequence[TokenPlan] = (),
    blob_url: str | None = None,
    trusted_measurements: Sequence[Hash32] = (),
    rpc_url: str | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> AddressBook:
    """Deploy registry, verifiers, market and tokens; write and return the address book of network `name`.

    Contracts that an earlier run of the same plan deployed are found again through the journal.

    Args:
        development: whether the deployment is for trying things; only then simulated assurance, development
            tokens and the chain-trust mode `dev-pinned` are accepted.
        blob_url: where blobs are stored; the home directory's own folder by default.
        rpc_url: the node named in the address book; the sender's own by default.
        on_progress: called with what is being deployed.

    Raises:
        InvalidInput: the plan contradicts itself, or the account cannot pay.
        UnavailableError: the node fails; running it again continues.
    """
    check_name(name, "network")
    check_chain_trust(chain_trust, development=development)
    _check_plan(verifiers, tokens, development=development)
    wanted = [_Creation(name, "EnclaveRegistry", (), "")]
    for plan in verifiers:
        wanted.append(_first_creation(name, plan))
    for token in tokens:
        details = (token.name, token.symbol, token.decimals)
        wanted.append(_Creation(name, "DevToken", details, token.symbol))
    for creation in wanted:
        creation.submit(sender)
    registry, first_block = wanted[0].finish(sender, on_progress)
    market = _Creation(name, "Market", (registry,), "")
    market.submit(sender)
    found = [creation.finish(sender, on_progress)[0] for creation in wanted[1:]]
    verifier_entries = [
        _finish_verifier(name, plan, first, sender, on_progress)
        for plan, first in zip(verifiers, found, strict=False)
    ]
    token_entries = [
        TokenEntry(token.symbol, address, token.decimals)
        for token, address in zip(tokens, found[len(verifiers) :], strict=True)
    ]
    book = AddressBook(
        name=name,
        chain_id=sender.client.chain_id,
        genesis_hash=sender.client.genesis_hash,
        development=development,
        rpc_url=rpc_url or sender.client.rpc_url,
        market=market.finish(sender, on_progress)[0],
        registry=registry,
        verifiers=tuple(verifier_entries),
        tokens=tuple(token_entries),
        deployed_at_block=first_block,
        chain_trust=chain_trust,
        blob_url=blob_url or f"file://{home.ensure(home.blobs_dir)}",
        trusted_measurements=tuple(trusted_measurements),
    )
    save_address_book(home, book)
    return book


def _first_creation(network: str, plan: VerifierPlan | DcapPlan) -> "_Creation":
    if isinstance(plan, DcapPlan):
        return _Creation(network, "CollateralCertificates", (plan.root_der,), plan.name)
    quorum = (_list_of(sorted(plan.auditors)), plan.threshold, int(plan.assurance))
    return _Creation(network, "AuditorQuorumVerifier", quorum, plan.name)


def _finish_verifier(
    network: str,
    plan: VerifierPlan | DcapPlan,
    first: Address,
    sender: TransactionSender,
    on_progress: Callable[[str], None] | None,
) -> VerifierEntry:
    if isinstance(plan, VerifierPlan):
        auditors = tuple(sorted(plan.auditors))
        return VerifierEntry(
            plan.name, first, QUORUM_KIND, int(plan.assurance), plan.root, auditors, plan.threshold
        )
    tcb, _ = _Creation(network, "CollateralTcb", (first,), plan.name).finish(sender, on_progress)
    arguments = (tcb, int(plan.assurance))
    address, _ = _Creation(network, "QuoteVerifier", arguments, plan.name).finish(sender, on_progress)
    return VerifierEntry(
        plan.name, address, DCAP_KIND, int(plan.assurance), plan.root, certificates=first, tcb=tcb
    )


def _check_plan(
    verifiers: Sequence[VerifierPlan | DcapPlan], tokens: Sequence[TokenPlan], *, development: bool
) -> None:
    if not verifiers:
        raise InvalidInput("a deployment needs at least one verifier")
    for plan in verifiers:
        check_name(plan.name, "verifier")
        if isinstance(plan, VerifierPlan):
            _check_quorum(plan)
        if plan.root not in ROOTS:
            raise InvalidInput(f"verifier {plan.name}'s root must be one of {', '.join(ROOTS)}")
        if (plan.root == "simulated") != (plan.assurance == Assurance.SIMULATED):
            raise InvalidInput(
                f"verifier {plan.name}: certificates of root {plan.root} cannot give"
                f" {Assurance(plan.assurance).name.lower()} assurance"
            )
        if plan.root == "simulated" and not development:
            raise InvalidInput(
                "simulated enclaves protect nothing from their host and are refused where the deployment"
                " is not marked as development"
            )
    if len({plan.name for plan in verifiers}) != len(verifiers):
        raise InvalidInput("two verifiers have the same name")
    if len({token.symbol for token in tokens}) != len(tokens):
        raise InvalidInput("two tokens have the same symbol")
    if tokens and not development:
        raise InvalidInput("development tokens can be minted by anyone: only on development deployments")


def _check_quorum(plan: VerifierPlan) -> None:
    if len(set(plan.auditors)) != len(plan.auditors) or not 1 <= len(plan.auditors) <= MAX_AUDITORS:
        raise InvalidInput(f"verifier {plan.name} needs 1 to {MAX_AUDITORS} different auditors")
    if not 1 <= plan.threshold <= len(plan.auditors):
        raise InvalidInput(
            f"verifier {plan.name}'s threshold must be 1 to {len(plan.auditors)}, got {plan.threshold}"
        )


@dataclass(frozen=True, slots=True)
class _Creation:
    """One contract to be there: deployed now, or by an earlier run of the same plan."""

    network: str
    contract: str
    arguments: tuple[object, ...]
    label: str

    @property
    def what(self) -> str:
        return f"{self.contract} {self.label}".strip()

    def submit(self, sender: TransactionSender) -> None:
        """Send the transaction without waiting."""
        sender.submit(self._purpose(), self._request())

    def finish(
        self, sender: TransactionSender, on_progress: Callable[[str], None] | None
    ) -> tuple[Address, int]:
        """Return address and block of the contract once they are final."""
        if on_progress is not None:
            on_progress(self.what)
        receipt = sender.send(self._purpose(), self._request())
        if receipt.contract_address is None or not sender.client.code(receipt.contract_address):
            raise UnavailableError(f"the rpc node shows no code where {self.what} was deployed")
        return receipt.contract_address, receipt.block_number

    def _purpose(self) -> str:
        return f"deploy:{self.network}:{self.what}:{keccak256(self._request().data).hex()[:16]}"

    def _request(self) -> TransactionRequest:
        code = load_artifact(self.contract).encode_creation(self.arguments)
        return TransactionRequest(None, code, what=f"deploying {self.what}")


def _list_of(addresses: Sequence[Address]) -> list[str]:
    return ["0x" + address.hex() for address in addresses]
