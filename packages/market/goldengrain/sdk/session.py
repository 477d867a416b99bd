"""A session: one role's view of one market, with everything the SDK's functions need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from goldengrain.accounts import Account, AccountStore, PasswordSource
from goldengrain.chain.address_book import AddressBook, load_address_book
from goldengrain.chain.client import ChainClient
from goldengrain.chain.contracts import MarketContract, RegistryContract, Token
from goldengrain.chain.journal import TransactionJournal
from goldengrain.chain.transactions import TransactionSender
from goldengrain.home import Home
from goldengrain.storage.blobs import BlobStore
from goldengrain_protocol.config import config_digest
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.types import Address, Hash32

if TYPE_CHECKING:
    from collections.abc import Sequence


class Session:
    """An address book, a chain connection, a blob store and (for writing) an unlocked account.

    Sessions hold no state of the market: everything shown is read from the chain, and everything sent goes
    through the transaction journal, so a session may be dropped at any moment and made again.
    """

    def __init__(
        self,
        home: Home,
        book: AddressBook,
        *,
        account: Account | None = None,
        worker_urls: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.book = book
        self.client = ChainClient.for_book(book)
        self.market = MarketContract(self.client, book.market)
        self.registry = RegistryContract(self.client, book.registry)
        self.blobs = BlobStore.for_home(home, book.blob_url)
        self.worker_urls = tuple(worker_urls) or DEFAULT_WORKER_URLS
        self._account = account
        self._sender: TransactionSender | None = None

    @property
    def account(self) -> Account:
        """The unlocked account. Raises InvalidInput in a read-only session."""
        if self._account is None:
            raise InvalidInput("this needs an account", next_step="name one with --account or GG_ACCOUNT")
        return self._account

    @property
    def sender(self) -> TransactionSender:
        """The journalled transaction sender of this session's account."""
        if self._sender is None:
            journal = TransactionJournal.open(self.home)
            self._sender = TransactionSender(self.client, self.account, journal)
        return self._sender

    @property
    def chain_id(self) -> int:
        return self.book.chain_id

    @property
    def market_address(self) -> Address:
        return self.book.market

    @property
    def config_digest(self) -> Hash32:
        """Digest of the enclave configuration that this address book implies."""
        return config_digest(self.book.enclave_config())

    def token(self, address: Address) -> Token:
        return Token(self.client, address)


DEFAULT_WORKER_URLS = ("http://127.0.0.1:8600",)
"""Where `gg worker run` offers its enclave by default."""


def connect(
    network: str = "devnet",
    *,
    account: str | Account | None = None,
    password: PasswordSource | None = None,
    home: Home | Path | str | None = None,
    worker_urls: Sequence[str] = (),
) -> Session:
    """Open a session on a network that `gg deploy` (or an address book file) made known.

    Args:
        account: a keystore's name, or an unlocked Account; None for reading only.
        password: of the keystore; a string, the Path of a file, or a function that prompts.

    Raises:
        InvalidInput: unknown network or account, wrong password, or a node of another chain.
        UnavailableError: the node does not answer.
    """
    where = home if isinstance(home, Home) else Home(home)
    book = load_address_book(where, network)
    if isinstance(account, str):
        if password is None:
            raise InvalidInput(
                f"account {account!r} needs a password", next_step="pass password=, or --password-file"
            )
        account = AccountStore(where).load(account, password)
    session = Session(where, book, account=account, worker_urls=worker_urls)
    session.client.check()
    return session
