"""The file behind a `SqliteStore`: private, durable, and at the schema this code knows."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from typing import TYPE_CHECKING

from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

APPLICATION_ID = 0x4D505041
"""Marks the file as ours ("MPPA")."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE charge (
            id TEXT PRIMARY KEY,
            credential TEXT NOT NULL,
            state TEXT NOT NULL
                CHECK (state IN ('claimed', 'submitted', 'settled', 'delivered', 'failed')),
            keep_until INTEGER NOT NULL,
            owner TEXT,
            reference TEXT,
            envelope TEXT,
            valid_until INTEGER,
            payer TEXT,
            receipt TEXT,
            problem TEXT
        )
        """,
        "CREATE INDEX charge_by_expiry ON charge (keep_until)",
        """
        CREATE INDEX charge_unsettled ON charge (keep_until, id)
            WHERE state IN ('claimed', 'submitted')
        """,
        """
        CREATE TABLE proof (
            key TEXT PRIMARY KEY,
            charge_id TEXT NOT NULL REFERENCES charge (id) ON DELETE CASCADE
        ) WITHOUT ROWID
        """,
        "CREATE INDEX proof_by_charge ON proof (charge_id)",
        "CREATE TABLE heartbeat (owner TEXT PRIMARY KEY, alive_until INTEGER NOT NULL)",
        "CREATE TABLE secret (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL)",
    ),
    (
        # Amounts are text: they are wider than SQLite's integers, and never computed with in SQL.
        """
        CREATE TABLE channel (
            id TEXT PRIMARY KEY,
            key TEXT NOT NULL,
            funder TEXT NOT NULL,
            recipient TEXT NOT NULL,
            token TEXT NOT NULL,
            waiting_period INTEGER NOT NULL,
            deposited TEXT NOT NULL,
            settled TEXT NOT NULL,
            seen_ledger INTEGER NOT NULL,
            opened_at INTEGER NOT NULL,
            closes_at INTEGER,
            accepted TEXT NOT NULL,
            signature TEXT NOT NULL,
            spent TEXT NOT NULL,
            units INTEGER NOT NULL,
            settled_units INTEGER NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('open', 'closing', 'closed')),
            closing_amount TEXT,
            closing_signature TEXT NOT NULL,
            used_at INTEGER NOT NULL,
            settled_at INTEGER NOT NULL
        )
        """,
        "CREATE INDEX channel_by_status ON channel (status, id)",
        "CREATE INDEX channel_unused ON channel (used_at, id) WHERE status = 'closed'",
        """
        CREATE TABLE lease (
            name TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            until INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
    ),
    (
        "ALTER TABLE channel ADD COLUMN published TEXT NOT NULL DEFAULT '0'",
        # Which signatures were sent nobody wrote down so far; a higher voucher is no loss.
        "UPDATE channel SET published = accepted",
    ),
    (
        """
        CREATE TABLE loan (
            account TEXT PRIMARY KEY,
            fence INTEGER NOT NULL,
            free_at INTEGER NOT NULL,
            sequence INTEGER,
            returned INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        # Numbers that outlive the accounts: fences must not begin again.
        "CREATE TABLE loan_turn (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL)",
        "INSERT INTO loan_turn (one, last) VALUES (1, 0)",
        """
        CREATE TABLE budget (
            name TEXT PRIMARY KEY,
            drawn INTEGER NOT NULL,
            keep_until INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX budget_by_expiry ON budget (keep_until)",
        """
        CREATE TABLE answer (
            key TEXT PRIMARY KEY,
            request TEXT NOT NULL,
            content BLOB NOT NULL,
            keep_until INTEGER NOT NULL
        )
        """,
        "CREATE INDEX answer_by_expiry ON answer (keep_until)",
        # Most of a charge while it is under way, and nothing of it after that: among the charges
        # envelopes would leave holes that are never filled, three times the size of the rest.
        """
        CREATE TABLE envelope (
            charge_id TEXT PRIMARY KEY REFERENCES charge (id) ON DELETE CASCADE,
            value TEXT NOT NULL
        )
        """,
        "INSERT INTO envelope SELECT id, envelope FROM charge WHERE envelope IS NOT NULL",
        "ALTER TABLE charge DROP COLUMN envelope",
    ),
    ("ALTER TABLE channel ADD COLUMN recent TEXT NOT NULL DEFAULT ''",),
)
"""What takes a file from each version (``PRAGMA user_version``) to the next. Only ever added to."""

WAL_ATTEMPTS = 100

CACHE_MIB = 16

_REASONS = {
    sqlite3.SQLITE_BUSY: "another process kept it locked for too long",
    sqlite3.SQLITE_LOCKED: "another process kept it locked for too long",
    sqlite3.SQLITE_FULL: "its disk is full",
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "its file is damaged or no SQLite database",
    sqlite3.SQLITE_READONLY: "this process may not write to its file or its directory",
    sqlite3.SQLITE_CANTOPEN: "this process may not write to its file or its directory",
    sqlite3.SQLITE_PERM: "this process may not write to its file or its directory",
    sqlite3.SQLITE_IOERR: "its disk failed",
}


class LockedError(StoreUnavailableError):
    """Another process kept the file locked for as long as a call may wait, or for so long that its
    turn never came. Nothing was changed."""

    def __init__(self) -> None:
        super().__init__(f"The SQLite store failed: {_REASONS[sqlite3.SQLITE_BUSY]}.")


_creating = threading.Lock()


def reason(error: sqlite3.Error) -> str:
    """What is wrong, for an operator: no SQL, no path, no value."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return _REASONS.get(code & 0xFF, "SQLite failed")


def names(path: Path) -> tuple[str, str]:
    """Where the file is, and where SQLite has its log: beside what links lead to."""
    return str(path), f"{os.path.realpath(path)}-wal"


def identity(names: Iterable[str]) -> list[tuple[int, int]] | None:
    """Which files have these names now: their devices and inodes, ``None`` if one has none.

    While a connection is open, nobody has a reason to change one of them: SQLite removes a log
    with the last connection of all processes, and empties it in its place.
    """
    try:
        return [(status.st_dev, status.st_ino) for status in map(os.stat, names)]
    except OSError:
        return None


def connect(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open the file, for one thread at a time; make it or bring it up to date where needed.

    Args:
        path: absolute; its directory has to exist.
        busy_timeout: seconds to wait for another process's lock.

    Raises:
        StoreUnavailableError: it cannot be opened, or is not ours, or newer than this code; one
            sentence that names the path.
    """
    try:
        _create_private(path)
        connection = sqlite3.connect(
            path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
    except OSError as error:
        raise StoreUnavailableError(_sentence(path, _os_reason(error))) from error
    except sqlite3.Error as error:
        why = "it is a directory" if path.is_dir() else reason(error)
        raise StoreUnavailableError(_sentence(path, why)) from error
    except _UnfitError as error:
        raise StoreUnavailableError(_sentence(path, str(error))) from None
    return connection


def force(connection: sqlite3.Connection, forced: bool) -> None:
    """Have commits return from here on when they are on the disk, or when every process sees them.

    Those that are not forced are on the disk after the next one that is; a power cut before that
    takes them back and damages nothing. No transaction may be open.
    """
    connection.execute(f"PRAGMA synchronous = {'FULL' if forced else 'NORMAL'}")


def wait(connection: sqlite3.Connection, seconds: float) -> None:
    """From here on, for another process's lock, at most so long."""
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def failure(error: sqlite3.Error) -> StoreUnavailableError:
    """What a call that failed is told: `LockedError` if it was another process that kept the file
    locked."""
    if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF == sqlite3.SQLITE_BUSY:
        return LockedError()
    return StoreUnavailableError(f"The SQLite store failed: {reason(error)}.")


def check_schema(connection: sqlite3.Connection) -> None:
    """Make sure, in a transaction, that the file is still at the schema this code knows: a newer
    version may have migrated it since it was opened, and know of its records what this one breaks.

    Raises:
        StoreUnavailableError: it is not; one sentence.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != len(MIGRATIONS):
        raise StoreUnavailableError(
            f"The SQLite store's file is at schema {version} now, this process knows "
            f"{len(MIGRATIONS)}: restart it with the mpp-asgi that migrated the file."
        )


class _UnfitError(Exception):
    """The file is not one this code can keep charges in."""


def _sentence(path: Path, why: str) -> str:
    return f"Cannot open the SQLite store {path}: {why}."


def _os_reason(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "its directory does not exist; create it first"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "this process may not create files in its directory"
        case _:
            return error.strerror or "its file could not be created"


def _create_private(path: Path) -> None:
    """Make the file, if there is none, readable by its owner only: it holds the secret. SQLite
    gives its journals the same mode."""
    # Closing a descriptor drops all POSIX locks of the process on its file. The lock keeps another
    # store of this process from opening the new file before touch() has closed it again.
    with _creating, contextlib.suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    force(connection, True)
    connection.execute("PRAGMA fullfsync = ON")  # macOS's word for meaning it
    # MiB that hold the upper levels of what indexes a million charges: a claim comes down five of
    # them, each to a page at random.
    connection.execute(f"PRAGMA cache_size = {-CACHE_MIB * 1024}")
    _migrate(connection)
    _use_write_ahead_log(connection)
    # Whoever reads first makes the log; from here on it is there for as long as we are.
    connection.execute("PRAGMA user_version").fetchone()


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        for statements in MIGRATIONS[_version(connection) :]:
            for statement in statements:
                connection.execute(statement)
        # Written even if nothing is new: SQLite opens a file that it may not write to all the same.
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(connection: sqlite3.Connection) -> int:
    """The schema the file is at, 0 if it is empty."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application, version, tables) != (0, 0, 0):
        raise _UnfitError("it is another program's database; give the store a file of its own")
    if version > len(MIGRATIONS):
        raise _UnfitError(
            f"a newer mpp-asgi wrote it (schema {version}, this one knows {len(MIGRATIONS)}); "
            "upgrade mpp-asgi or use another file"
        )
    return int(version)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the file over; it remembers.

    SQLite does not wait for others here: two processes that open a new file at once collide. An
    exclusive transaction does wait, for the busy timeout and no longer, so whoever collides waits
    in one and tries again.
    """
    for _ in range(WAL_ATTEMPTS):
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            connection.execute("BEGIN EXCLUSIVE")
            connection.rollback()
        else:
            if mode != "wal":
                raise _UnfitError("its file system cannot share memory; put it on a local disk")
            return
    raise _UnfitError(_REASONS[sqlite3.SQLITE_BUSY])
