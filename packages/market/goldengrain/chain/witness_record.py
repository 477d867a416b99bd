"""What a witness has ever signed: written and flushed before a signature exists, so that it never signs twice.

One record belongs to one key on one chain. A height that is in it can be signed again with the same hash only.
A conflict is kept too, and stops the witness until a person has looked.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.proofs.witness_quorum import FinalizedBlock
from goldengrain_protocol.types import Address, Hash32, to_checksum

_BUSY_S: Final = 30.0
_SCHEMA: Final = """
CREATE TABLE owner (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    chain_id TEXT NOT NULL,
    genesis BLOB NOT NULL,
    witness BLOB NOT NULL
) STRICT;
CREATE TABLE signed (
    number INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    timestamp INTEGER NOT NULL
) STRICT;
CREATE TABLE conflicts (
    id INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    recorded BLOB NOT NULL
) STRICT;
"""


class Equivocation(VerificationError):
    """The node calls final what contradicts a statement made before."""


class WitnessRecord:
    """The durable record; may be shared by threads.

    Args:
        path: the database file, made by `create`.
    """

    def __init__(self, path: Path, chain_id: int, genesis_hash: Hash32, witness: Address) -> None:
        self._path: Final = path
        self.chain_id: Final = chain_id
        self.genesis_hash: Final = genesis_hash
        self.witness: Final = witness

    @classmethod
    def create(cls, path: Path, chain_id: int, genesis_hash: Hash32, witness: Address) -> "WitnessRecord":
        """Begin an empty record for a key that has never signed on this chain.

        Raises:
            InvalidInput: there is one already.
            UnavailableError: the file system refuses.
        """
        if path.exists():
            raise InvalidInput(f"there is a record already: {path}", next_step="gg witness run")
        record = cls(path, chain_id, genesis_hash, witness)
        with record._transaction() as db:
            for statement in _SCHEMA.strip().split(";\n"):
                db.execute(statement)
            db.execute("INSERT INTO owner VALUES (1, ?, ?, ?)", (str(chain_id), genesis_hash, witness))
        return record

    @classmethod
    def open(cls, path: Path, chain_id: int, genesis_hash: Hash32, witness: Address) -> "WitnessRecord":
        """Open the record of this key on this chain.

        Raises:
            InvalidInput: there is none, or it is of another key or chain.
            UnavailableError: it cannot be read.
        """
        if not path.is_file():
            raise InvalidInput(
                f"there is no record of what {to_checksum(witness)} has signed: {path}",
                next_step="restore it from where this key signed before; only if it never signed:"
                " gg witness init",
            )
        record = cls(path, chain_id, genesis_hash, witness)
        with record._transaction() as db:
            row = db.execute("SELECT chain_id, genesis, witness FROM owner").fetchone()
        if row is None or (row[0], bytes(row[1]), bytes(row[2])) != (str(chain_id), genesis_hash, witness):
            raise InvalidInput(f"record {path} belongs to another key or chain")
        return record

    def commit(self, block: FinalizedBlock) -> None:
        """Make durable that this block may be signed: when this returns, no other block of its height can be.

        Raises:
            Equivocation: another block of this height is recorded, or an earlier conflict is unresolved.
            UnavailableError: the record cannot be written; then nothing may be signed.
        """
        conflict: Equivocation | None = None
        with self._transaction() as db:
            _refuse_after_conflict(db)
            row = db.execute(
                "SELECT hash, timestamp FROM signed WHERE number = ?", (block.number,)
            ).fetchone()
            if row is None:
                db.execute("INSERT INTO signed VALUES (?, ?, ?)", (block.number, block.hash, block.timestamp))
            elif (bytes(row[0]), row[1]) != (block.hash, block.timestamp):
                _keep_conflict(db, block.number, block.hash, bytes(row[0]))
                conflict = _conflict(block.number, block.hash, bytes(row[0]))
        if conflict is not None:
            raise conflict

    def note_conflict(self, number: int, found: Hash32) -> None:
        """Record that the node calls `found` final where another hash was signed. Raises: Equivocation, always."""
        with self._transaction() as db:
            row = db.execute("SELECT hash FROM signed WHERE number = ?", (number,)).fetchone()
            recorded = bytes(row[0]) if row is not None else b""
            _keep_conflict(db, number, found, recorded)
        raise _conflict(number, found, recorded)

    def check(self) -> None:
        """Accept a record without an unresolved conflict. Raises: Equivocation."""
        with self._transaction() as db:
            _refuse_after_conflict(db)

    def newest(self, at_most: int = 2**63 - 1) -> FinalizedBlock | None:
        """Return the highest block signed so far, up to a height."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT number, hash, timestamp FROM signed WHERE number <= ? ORDER BY number DESC LIMIT 1",
                (at_most,),
            ).fetchone()
        return None if row is None else FinalizedBlock(row[0], Hash32(bytes(row[1])), row[2])

    def at(self, number: int) -> FinalizedBlock | None:
        """Return the block signed at a height."""
        with self._transaction() as db:
            row = db.execute("SELECT hash, timestamp FROM signed WHERE number = ?", (number,)).fetchone()
        return None if row is None else FinalizedBlock(number, Hash32(bytes(row[0])), row[1])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            try:
                # A commit returns only when the disk has it: the signature comes after.
                db.execute("PRAGMA journal_mode = DELETE")
                db.execute("PRAGMA synchronous = EXTRA")
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                except BaseException:
                    db.execute("ROLLBACK")
                    raise
                db.execute("COMMIT")
            finally:
                db.close()
        except sqlite3.Error as exc:
            raise UnavailableError(
                f"the witness record {self._path} cannot be used: {exc}",
                next_step="free the disk or restore the record; nothing is signed without it",
            ) from exc


def _keep_conflict(db: sqlite3.Connection, number: int, found: bytes, recorded: bytes) -> None:
    db.execute("INSERT INTO conflicts (number, hash, recorded) VALUES (?, ?, ?)", (number, found, recorded))


def _refuse_after_conflict(db: sqlite3.Connection) -> None:
    row = db.execute("SELECT number, hash, recorded FROM conflicts ORDER BY id LIMIT 1").fetchone()
    if row is not None:
        raise _conflict(row[0], bytes(row[1]), bytes(row[2]))


def _conflict(number: int, found: bytes, recorded: bytes) -> Equivocation:
    return Equivocation(
        f"the node calls block 0x{found.hex()} final at height {number}, where 0x{recorded.hex()} was signed:"
        " this witness signs nothing more",
        next_step="find out which chain is the right one; if the signed one is wrong, retire this key",
    )
