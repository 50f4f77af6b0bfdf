"""The accounts that lend our transactions their sequence numbers, over processes and hosts.

The network takes one pending transaction of an account at a time. So whoever sends one borrows an
account from the store, has it to itself until the ledger has decided, and hands it back with the
sequence number it has by then: whoever borrows it next need not ask. A transaction whose fate is
not known keeps its account until it cannot be included any more.

A process that dies keeps its accounts until the loan lapses, after `LOAN_SECONDS` or so: by then
the network has included what waited, or dropped it. Should it turn up later all the same, the
number that the next borrower has read is wrong, which the network says, and it reads it again.
Nothing is paid twice by that: a payer's leave is good once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager
from math import ceil
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.accounts import get_account
from mpp_asgi.stellar.network import LEDGER_SECONDS
from mpp_asgi.stellar.sponsor_queue import Lease
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.loans import LONGEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from stellar_sdk import Keypair

    from mpp_asgi.stellar.ledger import Ledger
    from mpp_asgi.stellar.sponsor_queue import FairQueue, Waiter
    from mpp_asgi.stores.loans import LoanStore

log = logging.getLogger("mpp_asgi.sponsor")

SPARE_SECONDS: Final = 15
"""For how long an account is borrowed beyond the time for which a request waits for its
transaction: with `LOAN_SECONDS` at least, as the network has one wait for four ledgers."""
LOAN_SECONDS: Final = 45
MARGIN_SECONDS: Final = 30
"""How long after its time limit a transaction may still turn up in a ledger, by our clock."""
MISSING_SECONDS: Final = 300
"""For how long an account that is not on the ledger is not tried again."""


class Pool:
    """Lends accounts to one transaction each.

    Args:
        accounts: their keys; one or more.
        store: what all processes share.
        ledger: where sequence numbers are read that are not known.
        clock: Unix seconds.
        sleep: as `asyncio.sleep`.
        is_shared: other processes use the accounts, too, and borrow from the same store.
        patience_seconds: how long a transaction waits for an account.
        poll_seconds: between two looks at the store while others have all accounts.
        queue: where transactions wait.
    """

    def __init__(
        self,
        accounts: Mapping[str, Keypair],
        store: LoanStore,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        is_shared: bool,
        patience_seconds: float,
        poll_seconds: float,
        queue: FairQueue,
    ) -> None:
        self._accounts = accounts
        self._addresses = tuple(accounts)
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._sleep = sleep
        self._is_shared = is_shared
        self._patience_seconds = patience_seconds
        wanted = max(LOAN_SECONDS, ceil(patience_seconds) + SPARE_SECONDS)
        self._loan_seconds = min(wanted, LONGEST_SECONDS)
        self._poll_seconds = poll_seconds
        self._queue = queue
        self._lent = 0
        self._expected: set[object] = set()
        self._returning: set[asyncio.Future[None]] = set()
        self._returned = asyncio.Event()
        self._lender: asyncio.Task[None] | None = None

    @property
    def is_crowded(self) -> bool:
        """Whether whoever comes now has to wait, as far as this process knows."""
        return len(self._expected) + len(self._queue) + self._lent >= len(self._addresses)

    def expect(self, who: object) -> None:
        """Somebody is going to come for an account soon."""
        self._expected.add(who)

    def expect_no_more(self, who: object) -> None:
        """They have come, or will not. Idempotent."""
        self._expected.discard(who)

    @asynccontextmanager
    async def account(self, payer: str | None) -> AsyncIterator[LentAccount]:
        """Have an account to oneself.

        Args:
            payer: whose transaction it is for; ``None``: for one that we owe ourselves.

        Raises:
            FaultError: too many wait, or it takes too long.
            StoreUnavailableError: the store fails.
        """
        lease = None
        if not len(self._queue):
            lease = await self._borrow()
        if lease is None:
            lease = await self._wait(payer)
        account = LentAccount(
            self._accounts[lease.loan.account],
            lease,
            self._store,
            self._ledger,
            clock=self._clock,
            seconds=self._loan_seconds,
            keeps_doubt=self._is_shared,
        )
        try:
            yield account
        finally:
            await asyncio.shield(asyncio.ensure_future(self._take_back(account)))

    async def _borrow(self) -> Lease | None:
        """Borrow an account, if one is free. Survives cancellation, with nothing borrowed."""
        borrowing = asyncio.ensure_future(self._ask_for_one())
        self.expect(borrowing)
        borrowing.add_done_callback(self.expect_no_more)
        try:
            return await asyncio.shield(borrowing)
        except asyncio.CancelledError:
            borrowing.add_done_callback(self._return_unwanted)
            raise

    async def _ask_for_one(self) -> Lease | None:
        now = int(self._clock())
        until = now + self._loan_seconds
        loan = await self._store.borrow(self._addresses, until=until, now=now)
        if loan is None:
            return None
        self._lent += 1
        return Lease(loan, until)

    def _return_unwanted(
        self, borrowing: asyncio.Future[Lease] | asyncio.Future[Lease | None]
    ) -> None:
        if borrowing.cancelled() or borrowing.exception() is not None:
            return
        lease = borrowing.result()
        if lease is not None:
            self._returning.add(task := asyncio.ensure_future(self._return(lease)))
            task.add_done_callback(self._returning.discard)

    async def _wait(self, payer: str | None) -> Lease:
        waiter = self._queue.join(
            payer,
            give_up=self._clock() + self._patience_seconds,
            retry_after=self._wait_seconds(),
        )
        if not self._is_lending():
            self._returned = asyncio.Event()
            self._lender = asyncio.ensure_future(self._lend())
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await asyncio.shield(waiter.lease)
        except BaseException as error:
            self._queue.leave(waiter)
            self._returned.set()  # perhaps nobody waits any more
            if not waiter.lease.done():
                waiter.lease.cancel()
            else:  # it came in the same moment
                self._return_unwanted(waiter.lease)
            if isinstance(error, TimeoutError):
                raise self._too_long() from None
            raise

    def _is_lending(self) -> bool:
        task = self._lender
        return (
            task is not None
            and not task.done()
            and task.get_loop() is asyncio.get_running_loop()  # else its loop has ended
        )

    def _wait_seconds(self) -> int:
        """How long it takes until all who wait now have had their turn."""
        ledgers = len(self._queue) // len(self._addresses) + 1
        return min(ledgers * LEDGER_SECONDS, 60)

    def _too_long(self) -> FaultError:
        return FaultError("Many payments are waiting.", retry_after=self._wait_seconds())

    async def _lend(self) -> None:
        """Hand out accounts for as long as somebody waits."""
        try:
            while len(self._queue):
                self._returned.clear()
                lease = await self._ask_for_one()
                if lease is None:
                    await self._wait_for_return()
                    for late in self._queue.late(self._clock()):
                        _fail(late, self._too_long())
                elif not self._hand_out(lease):
                    await self._return(lease)
        except BaseException as error:  # noqa: BLE001 # theirs, whatever it is
            for waiter in self._queue.clear():
                _fail(waiter, error)

    def _hand_out(self, lease: Lease) -> bool:
        while (waiter := self._queue.next()) is not None:
            if not waiter.lease.done():
                waiter.lease.set_result(lease)
                return True
        return False

    async def _wait_for_return(self) -> None:
        """Until one of our accounts comes back or, where others have some, for a moment."""
        if self._lent < len(self._addresses):
            await self._sleep(self._poll_seconds)
            return
        await self._returned.wait()
        if self._is_shared:
            # So that others find it first now and then. It is too short to miss a ledger.
            await self._sleep(self._poll_seconds / 2)

    async def _take_back(self, account: LentAccount) -> None:
        try:
            returned = await account.hand_back()
        except StoreUnavailableError as error:
            log.warning("account %s is not given back before it lapses: %s", account.address, error)
        else:
            if not returned:
                log.warning("account %s had lapsed and is another process's", account.address)
        self._note_return()

    async def _return(self, lease: Lease) -> None:
        """Give back an account that nothing was done with."""
        now, loan = int(self._clock()), lease.loan
        with contextlib.suppress(StoreUnavailableError):  # else it lapses
            await self._store.hand_back(loan, sequence=loan.sequence, free_at=now)
        self._note_return()

    def _note_return(self) -> None:
        self._lent -= 1
        self._returned.set()


class LentAccount:
    """An account while one transaction has it."""

    def __init__(
        self,
        keypair: Keypair,
        lease: Lease,
        store: LoanStore,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
        seconds: int,
        keeps_doubt: bool,
    ) -> None:
        self.keypair = keypair
        self.address = lease.loan.account
        self._loan = lease.loan
        self._until = lease.until
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._seconds = seconds
        self._keeps_doubt = keeps_doubt
        self._sequence = lease.loan.sequence
        self._doubt_ends: int | None = None
        self._is_missing = False

    async def next_sequence(self) -> int:
        """The number for the next transaction.

        Raises:
            FaultError: the ledger cannot be asked, or has no such account.
        """
        if self._sequence is None:
            account = await self._ledger.ask(get_account(self.address))
            if account is None:
                self._is_missing = True
                log.error(
                    "the sponsor's account %s is not on the ledger: run `mpp-asgi sponsor create`",
                    self.address,
                )
                raise FaultError("The server's sponsor account does not exist.")
            self._sequence = account.sequence
        return self._sequence + 1

    async def keep(self) -> None:
        """Make sure that the account stays ours while a transaction is sent.

        Raises:
            FaultError: another process has it by now.
            StoreUnavailableError: the store fails.
        """
        now = int(self._clock())
        if now + self._seconds - SPARE_SECONDS <= self._until:
            return
        until = now + self._seconds
        if not await self._store.prolong(self._loan, until=until):
            raise FaultError("The payment took too long to prepare.", retry_after=0)
        self._until = until

    def sending(self, valid_until: int) -> None:
        """A transaction that is good until then (Unix seconds) is about to be sent: until its fate
        is known, nobody may use the account."""
        self._doubt_ends = valid_until + MARGIN_SECONDS

    def consumed(self) -> None:
        """The ledger has the transaction, and its number is used."""
        self._doubt_ends = None
        if self._sequence is not None:
            self._sequence += 1

    def dropped(self) -> None:
        """The transaction can never be included. Perhaps its number was wrong: ask."""
        self._doubt_ends = None
        self._sequence = None

    async def hand_back(self) -> bool:
        """Return it; ``False`` if another process has it by now.

        Raises:
            StoreUnavailableError: the store fails.
        """
        sequence, free_at = self._sequence, int(self._clock())
        if self._is_missing:
            free_at += MISSING_SECONDS
        if self._doubt_ends is not None:
            sequence = None
            if self._keeps_doubt:
                free_at = max(free_at, self._doubt_ends)
        return await self._store.hand_back(self._loan, sequence=sequence, free_at=free_at)


def _fail(waiter: Waiter, error: BaseException) -> None:
    if not waiter.lease.done():
        waiter.lease.set_exception(error)
