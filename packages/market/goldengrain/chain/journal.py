"""The journal: every transaction this home ever signed, written before it is broadcast.

A purpose (such as `claim:0x…`) is what a transaction is for. Per chain and account at most one transaction
per purpose is alive, so a program that died anywhere between signing and finality finds its transaction again
and goes on with it instead of paying twice. Nonces are handed out under the database's write lock, across
processes.

What the chain says always wins over what is written here: the journal only remembers what to look for.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from goldengrain.home import Home
from goldengrain_protocol.errors import UnavailableError
from goldengrain_protocol.types import Address, Hash32

_BUSY_S: Final = 120.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sends (
    id INTEGER PRIMARY KEY,
    genesis BLOB NOT NULL,
    account BLOB NOT NULL,
    tx_nonce INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    state TEXT NOT NULL,
    created_s REAL NOT NULL,
    not_after_s INTEGER,
    was_shown INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_live_send_per_purpose
    ON sends (genesis, account, purpose) WHERE state IN ('pending', 'done');
CREATE UNIQUE INDEX IF NOT EXISTS one_live_send_per_nonce
    ON sends (genesis, account, tx_nonce) WHERE state IN ('pending', 'done', 'reverted');
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY,
    send_id INTEGER NOT NULL REFERENCES sends (id),
    tx_hash BLOB NOT NULL UNIQUE,
    raw BLOB NOT NULL,
    max_fee_wei TEXT NOT NULL,
    priority_fee_wei TEXT NOT NULL,
    created_s REAL NOT NULL,
    is_cancel INTEGER NOT NULL
) STRICT;
"""


class SendState(StrEnum):
    """What is known about a send."""

    PENDING = "pending"
    """Signed; perhaps broadcast, perhaps mined."""
    DONE = "done"
    """Seen final and successful."""
    REVERTED = "reverted"
    """Seen final and reverted: it used its nonce and did nothing."""
    DROPPED = "dropped"
    """Can never be mined: something else (perhaps its own cancellation) took the nonce, or no node took it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed version of a send; replacements share the nonce and pay more.

    A cancellation only uses up the nonce.
    """

    tx_hash: Hash32
    raw: bytes
    max_fee_wei: int
    priority_fee_wei: int
    created_s: float
    is_cancel: bool


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A send with all its signed versions, oldest first."""

    id: int
    account: Address
    tx_nonce: int
    purpose: str
    state: SendState
    created_s: float
    not_after_s: int | None
    """Chain time after which it must not be shown to anybody who has not seen it yet."""
    was_shown: bool
    """A node took it: from then on it is public. Recorded only where there is a `not_after_s`."""
    attempts: tuple[Attempt, ...]

    @property
    def last(self) -> Attempt:
        """The newest version."""
        return self.attempts[-1]


class TransactionJournal:
    """The journal in one SQLite file; safe for several processes and threads at once."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        with self._connection() as connection:
            connection.executescript(_SCHEMA)
        path.chmod(0o600)

    @classmethod
    def open(cls, home: Home) -> "TransactionJournal":
        """Return the journal of a home directory, made if absent."""
        home.ensure()
        return cls(home.journal_path)

    def find(self, genesis: Hash32, account: Address, purpose: str) -> JournalEntry | None:
        """Return the live send (pending or done) with this purpose."""
        with self._connection() as connection:
            return _select_one(
                connection,
                "genesis = ? AND account = ? AND purpose = ? AND state IN ('pending', 'done')",
                (genesis, account, purpose),
            )

    def pending(self, genesis: Hash32, account: Address) -> list[JournalEntry]:
        """Return the account's sends that are not known to be final, lowest nonce first."""
        with self._connection() as connection:
            return _select(
                connection, "genesis = ? AND account = ? AND state = 'pending'", (genesis, account)
            )

    def history(self, genesis: Hash32 | None = None, account: Address | None = None) -> list[JournalEntry]:
        """Return every send ever journalled, optionally of one chain or account, in order of creation."""
        conditions, values = ["1"], []
        for column, value in (("genesis", genesis), ("account", account)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        with self._connection() as connection:
            return sorted(
                _select(connection, " AND ".join(conditions), tuple(values)), key=lambda entry: entry.id
            )

    def allocate(
        self,
        genesis: Hash32,
        account: Address,
        purpose: str,
        *,
        chain_nonce: Callable[[], int],
        is_mined: Callable[[Hash32], bool],
        sign: Callable[[int], Attempt],
        not_after_s: int | None = None,
    ) -> tuple[JournalEntry, bool]:
        """Journal a signed transaction for `purpose`, unless one is alive already.

        Args:
            chain_nonce: returns the account's transaction count on the chain; the nonce is never below it.
            is_mined: returns whether a transaction is on the chain now.
            sign: returns the signed transaction for the nonce it is given.

        All three are called inside the write lock.

        Returns:
            The entry, and whether it is new.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            existing = _select_one(
                connection,
                "genesis = ? AND account = ? AND purpose = ? AND state IN ('pending', 'done')",
                (genesis, account, purpose),
            )
            if existing is not None:
                connection.rollback()
                return existing, False
            tx_nonce = _free_nonce(connection, genesis, account, chain_nonce(), is_mined)
            attempt = sign(tx_nonce)
            cursor = connection.execute(
                "INSERT INTO sends (genesis, account, tx_nonce, purpose, state, created_s, not_after_s)"
                " VALUES (?, ?, ?, ?, 'pending', ?, ?)",
                (genesis, account, tx_nonce, purpose, attempt.created_s, not_after_s),
            )
            send_id = int(cursor.lastrowid or 0)
            _insert_attempt(connection, send_id, attempt)
            connection.commit()
            entry = _select_one(connection, "id = ?", (send_id,))
        if entry is None:
            raise UnavailableError(f"the transaction journal {self._path} lost an entry just written")
        return entry, True

    def add_attempt(self, entry: JournalEntry, attempt: Attempt) -> JournalEntry:
        """Journal a replacement of `entry` (same nonce, higher fee) and return the entry with it."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            _insert_attempt(connection, entry.id, attempt)
            connection.commit()
        return self.reload(entry)

    def set_state(self, entry: JournalEntry, state: SendState) -> None:
        """Record what became of a send."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE sends SET state = ? WHERE id = ?", (state.value, entry.id))
            connection.commit()

    def set_shown(self, entry: JournalEntry) -> None:
        """Record that a node took the transaction, if that matters for it."""
        if entry.not_after_s is None or entry.was_shown:
            return
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE sends SET was_shown = 1 WHERE id = ?", (entry.id,))
            connection.commit()

    def drop_unless_followed(self, entry: JournalEntry) -> bool:
        """Give up a send that no node took, if no later nonce depends on it; return whether that was so."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            cursor = connection.execute(
                "UPDATE sends SET state = 'dropped' WHERE id = ? AND state = 'pending' AND NOT EXISTS"
                " (SELECT 1 FROM sends AS later WHERE later.genesis = sends.genesis"
                " AND later.account = sends.account AND later.state = 'pending'"
                " AND later.tx_nonce > sends.tx_nonce)",
                (entry.id,),
            )
            connection.commit()
            return cursor.rowcount == 1

    def reload(self, entry: JournalEntry) -> JournalEntry:
        """Return the entry as it is now; another process may have added attempts."""
        with self._connection() as connection:
            found = _select_one(connection, "id = ?", (entry.id,))
        return entry if found is None else found

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
            finally:
                connection.close()
        except sqlite3.DatabaseError as exc:
            raise UnavailableError(
                f"the transaction journal {self._path} cannot be used: {exc}",
                next_step="check that the disk is writable and not full; do not delete the journal",
            ) from exc


def new_attempt(
    tx_hash: Hash32, raw: bytes, max_fee_wei: int, priority_fee_wei: int, *, is_cancel: bool = False
) -> Attempt:
    """Return an attempt made now."""
    return Attempt(tx_hash, raw, max_fee_wei, priority_fee_wei, time.time(), is_cancel)


def _free_nonce(
    connection: sqlite3.Connection,
    genesis: Hash32,
    account: Address,
    chain_nonce: int,
    is_mined: Callable[[Hash32], bool],
) -> int:
    """Return the next nonce that neither the chain nor this journal uses."""
    mine = "genesis = ? AND account = ?"
    (highest,) = connection.execute(
        f"SELECT MAX(tx_nonce) FROM sends WHERE {mine} AND state = 'pending'",  # noqa: S608 constant
        (genesis, account),
    ).fetchone()
    tx_nonce = max(chain_nonce, -1 if highest is None else int(highest) + 1)
    while True:
        finished = _select_one(
            connection,
            f"{mine} AND tx_nonce = ? AND state IN ('done', 'reverted')",
            (genesis, account, tx_nonce),
        )
        if finished is None:
            return tx_nonce
        if any(is_mined(attempt.tx_hash) for attempt in finished.attempts):
            # The node's count lags behind what was already seen final.
            tx_nonce += 1
            continue
        # The chain was rolled back to before that transaction (a development chain after a crash).
        connection.execute("UPDATE sends SET state = 'dropped' WHERE id = ?", (finished.id,))
        return tx_nonce


def _insert_attempt(connection: sqlite3.Connection, send_id: int, attempt: Attempt) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO attempts (send_id, tx_hash, raw, max_fee_wei, priority_fee_wei,"
        " created_s, is_cancel) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            send_id,
            attempt.tx_hash,
            attempt.raw,
            str(attempt.max_fee_wei),
            str(attempt.priority_fee_wei),
            attempt.created_s,
            int(attempt.is_cancel),
        ),
    )


def _select_one(
    connection: sqlite3.Connection, condition: str, values: tuple[object, ...]
) -> JournalEntry | None:
    found = _select(connection, condition, values)
    return found[0] if found else None


def _select(connection: sqlite3.Connection, condition: str, values: tuple[object, ...]) -> list[JournalEntry]:
    # `condition` is a constant of this module; values are bound.
    rows = connection.execute(
        "SELECT id, account, tx_nonce, purpose, state, created_s, not_after_s, was_shown FROM sends"  # noqa: S608 constant
        f" WHERE {condition} ORDER BY tx_nonce, id",
        values,
    ).fetchall()
    entries = []
    for row in rows:
        attempts = connection.execute(
            "SELECT tx_hash, raw, max_fee_wei, priority_fee_wei, created_s, is_cancel FROM attempts"
            " WHERE send_id = ? ORDER BY id",
            (row[0],),
        ).fetchall()
        entries.append(
            JournalEntry(
                id=row[0],
                account=Address(row[1]),
                tx_nonce=row[2],
                purpose=row[3],
                state=SendState(row[4]),
                created_s=row[5],
                not_after_s=row[6],
                was_shown=bool(row[7]),
                attempts=tuple(
                    Attempt(Hash32(one[0]), one[1], int(one[2]), int(one[3]), one[4], bool(one[5]))
                    for one in attempts
                ),
            )
        )
    return entries
