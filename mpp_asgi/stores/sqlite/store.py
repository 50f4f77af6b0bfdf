"""Everything in a SQLite file: the default. Safe for several processes of one host on one file."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Unpack

from mpp_asgi.stores import channel_ruling
from mpp_asgi.stores.channels import ChannelStatus
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.sqlite import answers, channels, file, loans, records
from mpp_asgi.stores.sqlite import budgets as budget_rows
from mpp_asgi.stores.sqlite.commits import SharedCommits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mpp_asgi.stores.budgets import Budget
    from mpp_asgi.stores.channels import Channel, Close, LedgerFacts, Return, Spend, SpendTerms
    from mpp_asgi.stores.contract import Charge, Claim
    from mpp_asgi.stores.kept_answers import KeptAnswer
    from mpp_asgi.stores.loans import Loan

_T = TypeVar("_T")

BUSY_TIMEOUT = 5.0
"""Seconds that a call waits for its turn and for another process's transaction."""

ATTEMPT = 0.1
"""Seconds of that for which SQLite waits at a time. Readers have their turn in between."""


class SqliteStore:
    """A `Store` in one file, made with mode 0600 since it keeps the secret.

    One thread owns the connection and does one transaction at a time, so nothing blocks the event
    loop, and a caller that is cancelled leaves nothing half done: its work is done whole or, still
    waiting for its turn, not at all. Writes that wait at the same time share a commit (see
    `SharedCommits`). The store belongs to no event loop.

    Args:
        path: the file; its directory has to exist.
        busy_timeout: seconds that a call waits for its turn and for another process's transaction.
        new_secret: makes a secret of so many random bytes, base64url.
        monotonic: what turns are waited for by, in seconds.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        busy_timeout: float = BUSY_TIMEOUT,
        new_secret: Callable[[int], str] = secrets.token_urlsafe,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = Path(path).absolute()
        self._busy_timeout = busy_timeout
        self._new_secret = new_secret
        self._monotonic = monotonic
        self._process: int | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mpp-sqlite")
        self._connection: sqlite3.Connection | None = None  # this and those below: for the thread
        self._let_go: Callable[[], object] = lambda: None
        self._forces = True
        self._names: tuple[str, ...] = ()
        self._identity: list[tuple[int, int]] | None = None
        self._commits = SharedCommits(
            self._thread.submit, self._transact, within=busy_timeout, monotonic=monotonic
        )

    async def open(self) -> None:
        """As `Store.open`. Does nothing if the store is open; opens it again after `close`.

        Raises:
            StoreUnavailableError: one sentence for the operator, which names the path.
        """
        await self._in_thread(self._connect)

    async def close(self) -> None:
        """As `Store.close`. Waits for what is under way, and closes even if it is cancelled. In a
        process that was forked with the store open it does nothing: what is open is the parent's.
        """
        if self._process not in (None, os.getpid()):
            return
        self._commits.flush()
        await asyncio.shield(self._in_thread(self._disconnect))

    async def secret(self) -> str:
        """As `Store.secret`."""
        candidate = self._new_secret(32)
        return await self._write(lambda db: records.secret(db, candidate))

    async def claim(self, charge: Charge, proofs: Sequence[str], *, now: int) -> Claim:
        """As `Store.claim`."""
        return await self._write(
            lambda db: records.claim(db, charge, proofs, now), forced=records.is_forced(charge)
        )

    async def write(self, charge: Charge, proofs: Sequence[str] = (), *, owner: str) -> None:
        """As `Store.write`."""
        await self._write(
            lambda db: records.write(db, charge, proofs, owner), forced=records.is_forced(charge)
        )

    async def release(self, charge_id: str, *, owner: str) -> None:
        """As `Store.release`."""
        await self._write(lambda db: records.release(db, charge_id, owner))

    async def get(self, charge_id: str) -> Charge | None:
        """As `Store.get`."""
        return await self._read(lambda db: records.find(db, charge_id))

    async def open_charges(self, *, now: int, limit: int) -> Sequence[Charge]:
        """As `Store.open_charges`; what would be purged first comes first."""
        return await self._read(lambda db: records.open_charges(db, now, limit))

    async def heartbeat(self, owner: str, *, alive_until: int) -> None:
        """As `Store.heartbeat`."""
        await self._write(lambda db: records.heartbeat(db, owner, alive_until))

    async def purge(self, *, now: int, limit: int) -> int:
        """As `Store.purge`, in one transaction: the limit bounds how long others wait."""
        return await self._write(lambda db: _purge(db, now, limit))

    async def add_channel(self, channel: Channel) -> Channel:
        """As `ChannelStore.add_channel`."""
        return await self._write(lambda db: channels.add(db, channel))

    async def channel(self, channel_id: str) -> Channel | None:
        """As `ChannelStore.channel`."""
        return await self._read(lambda db: channels.find(db, channel_id))

    async def spend(self, channel_id: str, **terms: Unpack[SpendTerms]) -> Spend:
        """As `ChannelStore.spend`."""
        rule = partial(channel_ruling.spend, **terms)
        return await self._write(lambda db: channels.spend(db, channel_id, rule))

    async def publish(self, channel_id: str, *, amount: int) -> None:
        """As `ChannelStore.publish`."""
        rule = partial(channel_ruling.published, amount=amount)
        await self._write(lambda db: channels.change(db, channel_id, rule))

    async def give_back(self, channel_id: str, **what: Unpack[Return]) -> None:
        """As `ChannelStore.give_back`."""
        rule = partial(channel_ruling.given_back, **what)
        await self._write(lambda db: channels.give_back(db, channel_id, rule))

    async def observe(self, channel_id: str, **facts: Unpack[LedgerFacts]) -> Channel | None:
        """As `ChannelStore.observe`."""
        rule = partial(channel_ruling.observed, **facts)
        return await self._write(lambda db: channels.change(db, channel_id, rule))

    async def begin_close(self, channel_id: str, *, amount: int, signature: str, now: int) -> Close:
        """As `ChannelStore.begin_close`."""
        rule = partial(channel_ruling.begun_to_close, amount=amount, signature=signature, now=now)
        return await self._write(lambda db: channels.begin_close(db, channel_id, rule))

    async def cancel_close(self, channel_id: str, *, amount: int) -> None:
        """As `ChannelStore.cancel_close`."""
        rule = partial(channel_ruling.reopened, amount=amount)
        await self._write(lambda db: channels.change(db, channel_id, rule))

    async def channels(
        self,
        *,
        limit: int,
        after: str = "",
        statuses: Collection[ChannelStatus] = tuple(ChannelStatus),
    ) -> Sequence[Channel]:
        """As `ChannelStore.channels`."""
        return await self._read(lambda db: channels.page(db, limit, after, statuses))

    async def forget_channels(self, *, used_before: int, limit: int) -> int:
        """As `ChannelStore.forget_channels`, in one transaction."""
        return await self._write(lambda db: channels.forget(db, used_before, limit))

    async def lease(self, name: str, *, owner: str, until: int, now: int) -> bool:
        """As `ChannelStore.lease`."""
        return await self._write(lambda db: channels.lease(db, name, owner, until, now))

    async def release_lease(self, name: str, *, owner: str) -> None:
        """As `ChannelStore.release_lease`."""
        await self._write(lambda db: channels.release_lease(db, name, owner))

    async def borrow(self, accounts: Sequence[str], *, until: int, now: int) -> Loan | None:
        """As `LoanStore.borrow`."""
        return await self._write(lambda db: loans.borrow(db, accounts, until, now))

    async def prolong(self, loan: Loan, *, until: int) -> bool:
        """As `LoanStore.prolong`."""
        return await self._write(lambda db: loans.prolong(db, loan, until))

    async def hand_back(self, loan: Loan, *, sequence: int | None, free_at: int) -> bool:
        """As `LoanStore.hand_back`."""
        return await self._write(lambda db: loans.hand_back(db, loan, sequence, free_at))

    async def forget_loans(self, accounts: Sequence[str]) -> None:
        """As `LoanStore.forget_loans`."""
        await self._write(lambda db: loans.forget(db, accounts))

    async def draw(self, budgets: Sequence[Budget], amount: int) -> str | None:
        """As `BudgetStore.draw`."""
        return await self._write(lambda db: budget_rows.draw(db, budgets, amount))

    async def put_back(self, names: Sequence[str], amount: int) -> None:
        """As `BudgetStore.put_back`."""
        await self._write(lambda db: budget_rows.put_back(db, names, amount))

    async def drawn(self, name: str) -> int:
        """As `BudgetStore.drawn`."""
        return await self._read(lambda db: budget_rows.drawn(db, name))

    async def keep_answer(self, answer: KeptAnswer, *, now: int) -> KeptAnswer:
        """As `AnswerStore.keep_answer`."""
        return await self._write(lambda db: answers.keep(db, answer, now))

    async def kept_answer(self, key: str, *, now: int) -> KeptAnswer | None:
        """As `AnswerStore.kept_answer`."""
        return await self._read(lambda db: answers.find(db, key, now))

    async def _write(self, work: Callable[[sqlite3.Connection], _T], *, forced: bool = True) -> _T:
        self._stay()
        return await self._commits.write(work, forced=forced)

    async def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Waits for its turn, behind the transactions of this process and no other's."""
        self._stay()
        return await self._commits.read(work)

    def _in_thread(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        self._stay()
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _stay(self) -> None:
        """In the process that asked first: its thread does not come along into a child, where
        callers would wait for ever, and what SQLite knows of its locks is wrong there."""
        if self._process is None:
            self._process = os.getpid()
        elif self._process != os.getpid():
            raise StoreUnavailableError(
                "The SQLite store was in use before this process was forked: "
                "each process has to open its own."
            )

    def _transact(self, work: Callable[[sqlite3.Connection], _T], forced: bool | None) -> _T:
        connection = self._usable()
        try:
            if forced is not None and forced is not self._forces:
                file.force(connection, forced)
                self._forces = forced
            connection.execute("BEGIN" if forced is None else "BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back
                file.check_schema(connection)
                return work(connection)
        except sqlite3.Error as error:
            raise file.failure(error) from error

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailableError("The SQLite store is not open.")
        identity = file.identity(self._names)
        if identity is None or identity != self._identity:
            # What is written to a file without a name is gone with this process.
            raise StoreUnavailableError(
                "The SQLite store's file, or the -wal beside it, was removed or replaced: "
                "restart to use what is there now."
            )
        return self._connection

    def _connect(self) -> None:
        if self._connection is None:
            self._connection = file.connect(self.path, busy_timeout=self._busy_timeout)
            self._forces = True
            file.wait(self._connection, min(ATTEMPT, self._busy_timeout))
            self._names = file.names(self.path)
            self._identity = file.identity(self._names)
            # A store that nobody closes, as of an app without a lifespan, lets go all the same; in
            # whichever thread, as handing it to its own may need a lock that is held right here.
            self._let_go = weakref.finalize(self, self._connection.close)

    def _disconnect(self) -> None:
        self._connection = None
        self._let_go()


def _purge(connection: sqlite3.Connection, now: int, limit: int) -> int:
    gone = records.purge(connection, now, limit)
    gone += budget_rows.purge(connection, now, limit - gone)
    return gone + answers.purge(connection, now, limit - gone)
