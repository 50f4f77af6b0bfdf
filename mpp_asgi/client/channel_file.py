"""Channels in a SQLite file, for payers that end and start again, and for several at once."""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.client.channels import require_room
from mpp_asgi.client.errors import ChannelsUnavailableError
from mpp_asgi.client.held_channel import LIVE, Flight, Funding, HeldChannel, Place, Status
from mpp_asgi.client.payments import NonceTrace, TransactionTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

APPLICATION_ID: Final = 0x4D505043
"""Marks the file as ours ("MPPC")."""

VERSION: Final = 1

PATIENCE: Final = 10.0
"""Seconds to wait for another process's step."""

AT_ONCE: Final = 0.05
"""Seconds to wait for anybody's step where an event loop waits meanwhile."""

_SCHEMA: Final = (
    """
    CREATE TABLE channel (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        place TEXT NOT NULL,
        live INTEGER NOT NULL,
        record TEXT NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX one_live_channel_a_place ON channel (place) WHERE live",
)


class ChannelFile:
    """Channels in the file at ``path``, which is made if it is not there.

    Several processes may use it at once, on a local disk. It holds no secret key; what is in it is
    worth no money to others, but tells them whom you pay.

    Raises:
        ChannelsUnavailableError: it cannot be opened, or is another program's.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path).absolute()
        self._lock = threading.Lock()
        with self._trouble():
            self._path.touch(mode=0o600, exist_ok=True)
            self._patience = PATIENCE
            self._connection = sqlite3.connect(
                self._path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
            weakref.finalize(self, self._connection.close)  # whether or not anybody does
            self._set_up()
            self._has_log = self._use_log()

    def __repr__(self) -> str:
        return f"ChannelFile({str(self._path)!r})"

    def close(self) -> None:
        """Let go of the file. It is not usable after that."""
        with self._lock:
            self._connection.close()

    def add(self, channel: HeldChannel, *, most_locked: int | None = None) -> bool:
        with self._step() as connection, self._transaction(durable=True):
            added = connection.execute(
                "INSERT OR IGNORE INTO channel (id, place, live, record) VALUES (?, ?, ?, ?)",
                (channel.id, _key(channel.place), channel.status in LIVE, written(channel)),
            )
            is_new = added.rowcount == 1
            if is_new and most_locked is not None:
                require_room(channel, self._all(), most_locked)
            return is_new

    def get(self, channel: str) -> HeldChannel | None:
        with self._step() as connection:
            return _one(connection.execute("SELECT record FROM channel WHERE id = ?", (channel,)))

    def live(self, place: Place) -> HeldChannel | None:
        with self._step() as connection:
            return _one(
                connection.execute(
                    "SELECT record FROM channel WHERE live AND place = ?", (_key(place),)
                )
            )

    def all(self) -> Sequence[HeldChannel]:
        with self._step():
            return self._all()

    def _all(self) -> Sequence[HeldChannel]:
        found = self._connection.execute("SELECT record FROM channel ORDER BY number").fetchall()
        return tuple(read(record) for (record,) in found)

    def change(
        self,
        channel: str,
        change: Callable[[HeldChannel], HeldChannel],
        *,
        durable: bool = True,
        at_once: bool = False,
        most_locked: int | None = None,
    ) -> HeldChannel:
        with self._step(at_once=at_once) as connection, self._transaction(durable=durable):
            found = _one(connection.execute("SELECT record FROM channel WHERE id = ?", (channel,)))
            if found is None:
                raise KeyError(channel)
            changed = change(found)
            if changed != found:
                connection.execute(
                    "UPDATE channel SET live = ?, record = ? WHERE id = ?",
                    (changed.status in LIVE, written(changed), channel),
                )
            if most_locked is not None and changed.locked > found.locked:
                require_room(changed, self._all(), most_locked)
            return changed

    @contextmanager
    def _step(self, *, at_once: bool = False) -> Iterator[sqlite3.Connection]:
        with self._trouble():
            if not self._lock.acquire(timeout=AT_ONCE if at_once else -1):
                raise sqlite3.OperationalError("another step is under way")
            try:
                self._be_patient(AT_ONCE if at_once else PATIENCE)
                yield self._connection
            finally:
                self._lock.release()

    def _be_patient(self, seconds: float) -> None:
        if seconds != self._patience:
            self._connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
            self._patience = seconds

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[None]:
        # With its log SQLite survives a crash without waiting for the disk, and forgets at most
        # what was last. Without, it has to wait.
        waits = durable or not self._has_log
        self._connection.execute(f"PRAGMA synchronous = {'FULL' if waits else 'NORMAL'}")
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            yield

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise ChannelsUnavailableError(
                f"Nothing was paid, because the file of channels {self._path} cannot be used "
                f"({error})."
            ) from error

    def _set_up(self) -> None:
        connection = self._connection
        # A voucher is sent when the disk has it: one that was forgotten would be signed twice.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if (application, version, tables) == (0, 0, 0):
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            elif (application, version) != (APPLICATION_ID, VERSION):
                raise ChannelsUnavailableError(
                    f"{self._path} is not a file of channels that this version can read."
                )

    def _use_log(self) -> bool:
        """Faster, and no more than that: whoever opens the file at the same moment may keep it from
        being switched over now."""
        with suppress(sqlite3.OperationalError):
            (mode,) = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return bool(mode == "wal")
        return False


def _one(found: sqlite3.Cursor) -> HeldChannel | None:
    row = found.fetchone()
    return None if row is None else read(row[0])


def _key(place: Place) -> str:
    return json.dumps([place.payer, place.network, place.origin, place.recipient, place.token])


# --- records as text ------------------------------------------------------------------------------


def written(channel: HeldChannel) -> str:
    """The channel as JSON."""
    return json.dumps(asdict(channel))


def read(record: str) -> HeldChannel:
    """The channel that `written` wrote.

    Raises:
        ChannelsUnavailableError: another version wrote it.
    """
    try:
        values: dict[str, Any] = json.loads(record)
        funding = values.pop("funding")
        return HeldChannel(
            place=Place(**values.pop("place")),
            status=Status(values.pop("status")),
            flights=tuple(Flight(**each) for each in values.pop("flights")),
            funding=None if funding is None else _funding(funding),
            **values,
        )
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ChannelsUnavailableError(
            f"Nothing was paid, because a record in the file of channels cannot be read ({error})."
        ) from error


def _funding(values: dict[str, Any]) -> Funding:
    trace = values.pop("trace")
    values.setdefault("submitted", True)  # by a version that did not write it down
    kind = TransactionTrace if "hash" in trace else NonceTrace
    return Funding(trace=kind(**trace), **values)
