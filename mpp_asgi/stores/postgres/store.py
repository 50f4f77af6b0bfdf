"""Everything in a PostgreSQL database: for many processes on many hosts."""

from __future__ import annotations

import secrets
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, TypeVar, Unpack

from mpp_asgi.stores.channels import ChannelStatus
from mpp_asgi.stores.contract import OwnershipLostError, StoreUnavailableError
from mpp_asgi.stores.postgres import answers, channels, charges, loans, schema
from mpp_asgi.stores.postgres.connection import Target
from mpp_asgi.stores.postgres.connections import Connections
from mpp_asgi.stores.postgres.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from mpp_asgi.stores.budgets import Budget
    from mpp_asgi.stores.channels import Channel, Close, LedgerFacts, Return, Spend, SpendTerms
    from mpp_asgi.stores.contract import Charge, Claim
    from mpp_asgi.stores.kept_answers import KeptAnswer
    from mpp_asgi.stores.loans import Loan
    from mpp_asgi.stores.postgres.connection import Connection

_T = TypeVar("_T")

OPEN_TIMEOUT = 60.0
"""Seconds to connect and migrate, while another process migrates, too."""


class PostgresStore:
    """A `Store` in a schema of its own in a PostgreSQL database, version 14 or newer.

    A call is one round trip and one transaction, on one of a bounded number of connections. It ends
    within a time limit, waiting included, and it fails whole: a call that was cancelled or that
    ended with `StoreUnavailableError` happened whole or not at all. Connections that were lost are
    made anew. The store belongs to no event loop (see `Connections`).

    Args:
        target: which database, and on which terms.
        new_secret: makes a secret of so many random bytes, base64url.
    """

    def __init__(
        self, target: Target, *, new_secret: Callable[[int], str] = secrets.token_urlsafe
    ) -> None:
        self._target = target
        self._new_secret = new_secret
        self._opening = threading.Lock()
        self._connections: Connections | None = None
        self._forget_finalizer: Callable[[], object] = lambda: None

    @classmethod
    def from_url(cls, url: str) -> PostgresStore:
        """The store that a ``postgresql://`` URL means.

        Raises:
            ValueError: it cannot be read; one sentence that repeats nothing of it.
        """
        return cls(Target.from_url(url))

    async def open(self) -> None:
        """As `Store.open`. Does nothing if the store is open; opens it again after `close`, and in
        a process that was forked since. Stops if it is cancelled, and leaves nothing open then.

        Raises:
            StoreUnavailableError: one sentence for the operator.
        """
        if self._is_open:
            return
        connections = Connections(Hosts(self._target).connect, most=self._target.connections)
        try:
            await connections.call(
                lambda db: schema.prepare(db, self._target.schema),
                within=OPEN_TIMEOUT,
                stoppable=True,
            )
        except BaseException:  # whoever is cancelled closes nothing any more
            await connections.close()
            raise
        with self._opening:
            if not self._is_open:
                self._forget_finalizer()
                self._connections = connections
                # A store that nobody closes, as of an app without a lifespan, lets go all the same.
                finalizer = weakref.finalize(self, connections.abandon)
                finalizer.atexit = False  # with the process everything goes anyway
                self._forget_finalizer = finalizer.detach
                return
        await connections.close()  # another call was quicker

    async def close(self) -> None:
        """As `Store.close`. Waits for what is under way, and closes even if it is cancelled."""
        with self._opening:
            connections, self._connections = self._connections, None
            self._forget_finalizer()
        if connections is not None:
            await connections.close()

    async def secret(self) -> str:
        """As `Store.secret`."""
        candidate = self._new_secret(32)
        return await self._call(lambda db: charges.secret(db, candidate))

    async def claim(self, charge: Charge, proofs: Sequence[str], *, now: int) -> Claim:
        """As `Store.claim`."""
        return await self._call(lambda db: charges.claim(db, charge, proofs, now))

    async def write(self, charge: Charge, proofs: Sequence[str] = (), *, owner: str) -> None:
        """As `Store.write`."""
        if not await self._call(lambda db: charges.write(db, charge, proofs, owner)):
            raise OwnershipLostError(charge.id)

    async def release(self, charge_id: str, *, owner: str) -> None:
        """As `Store.release`."""
        await self._call(lambda db: charges.release(db, charge_id, owner))

    async def get(self, charge_id: str) -> Charge | None:
        """As `Store.get`."""
        return await self._call(lambda db: charges.find(db, charge_id))

    async def open_charges(self, *, now: int, limit: int) -> Sequence[Charge]:
        """As `Store.open_charges`."""
        return await self._call(lambda db: charges.open_charges(db, now, limit))

    async def heartbeat(self, owner: str, *, alive_until: int) -> None:
        """As `Store.heartbeat`."""
        await self._call(lambda db: charges.heartbeat(db, owner, alive_until))

    async def purge(self, *, now: int, limit: int) -> int:
        """As `Store.purge`, in several transactions. Leases that have lapsed go, too."""
        gone = 0
        while True:
            most = min(limit - gone, charges.PURGED_TOGETHER)
            purged = await self._call(partial(charges.purge, now=now, limit=most))
            gone += purged
            if purged < most or gone >= limit:
                return gone

    async def add_channel(self, channel: Channel) -> Channel:
        """As `ChannelStore.add_channel`."""
        return await self._call(lambda db: channels.add(db, channel))

    async def channel(self, channel_id: str) -> Channel | None:
        """As `ChannelStore.channel`."""
        return await self._call(lambda db: channels.find(db, channel_id))

    async def spend(self, channel_id: str, **terms: Unpack[SpendTerms]) -> Spend:
        """As `ChannelStore.spend`."""
        return await self._call(lambda db: channels.spend(db, channel_id, **terms))

    async def publish(self, channel_id: str, *, amount: int) -> None:
        """As `ChannelStore.publish`."""
        await self._call(lambda db: channels.publish(db, channel_id, amount))

    async def give_back(self, channel_id: str, **what: Unpack[Return]) -> None:
        """As `ChannelStore.give_back`."""
        await self._call(lambda db: channels.give_back(db, channel_id, **what))

    async def observe(self, channel_id: str, **facts: Unpack[LedgerFacts]) -> Channel | None:
        """As `ChannelStore.observe`."""
        return await self._call(lambda db: channels.observe(db, channel_id, **facts))

    async def begin_close(self, channel_id: str, *, amount: int, signature: str, now: int) -> Close:
        """As `ChannelStore.begin_close`."""
        return await self._call(
            lambda db: channels.begin_close(
                db, channel_id, amount=amount, signature=signature, now=now
            )
        )

    async def cancel_close(self, channel_id: str, *, amount: int) -> None:
        """As `ChannelStore.cancel_close`."""
        await self._call(lambda db: channels.cancel_close(db, channel_id, amount))

    async def channels(
        self,
        *,
        limit: int,
        after: str = "",
        statuses: Collection[ChannelStatus] = tuple(ChannelStatus),
    ) -> Sequence[Channel]:
        """As `ChannelStore.channels`."""
        return await self._call(lambda db: channels.page(db, limit, after, statuses))

    async def forget_channels(self, *, used_before: int, limit: int) -> int:
        """As `ChannelStore.forget_channels`, in one transaction."""
        return await self._call(lambda db: channels.forget(db, used_before, limit))

    async def lease(self, name: str, *, owner: str, until: int, now: int) -> bool:
        """As `ChannelStore.lease`."""
        return await self._call(lambda db: channels.lease(db, name, owner, until, now))

    async def release_lease(self, name: str, *, owner: str) -> None:
        """As `ChannelStore.release_lease`."""
        await self._call(lambda db: channels.release_lease(db, name, owner))

    async def borrow(self, accounts: Sequence[str], *, until: int, now: int) -> Loan | None:
        """As `LoanStore.borrow`."""
        return await self._call(lambda db: loans.borrow(db, accounts, until, now))

    async def prolong(self, loan: Loan, *, until: int) -> bool:
        """As `LoanStore.prolong`."""
        return await self._call(lambda db: loans.prolong(db, loan, until))

    async def hand_back(self, loan: Loan, *, sequence: int | None, free_at: int) -> bool:
        """As `LoanStore.hand_back`."""
        return await self._call(lambda db: loans.hand_back(db, loan, sequence, free_at))

    async def forget_loans(self, accounts: Sequence[str]) -> None:
        """As `LoanStore.forget_loans`."""
        await self._call(lambda db: loans.forget(db, accounts))

    async def draw(self, budgets: Sequence[Budget], amount: int) -> str | None:
        """As `BudgetStore.draw`."""
        return await self._call(lambda db: loans.draw(db, budgets, amount))

    async def put_back(self, names: Sequence[str], amount: int) -> None:
        """As `BudgetStore.put_back`."""
        await self._call(lambda db: loans.put_back(db, names, amount))

    async def drawn(self, name: str) -> int:
        """As `BudgetStore.drawn`."""
        return await self._call(lambda db: loans.drawn(db, name))

    async def keep_answer(self, answer: KeptAnswer, *, now: int) -> KeptAnswer:
        """As `AnswerStore.keep_answer`."""
        return await self._call(lambda db: answers.keep(db, answer, now))

    async def kept_answer(self, key: str, *, now: int) -> KeptAnswer | None:
        """As `AnswerStore.kept_answer`."""
        return await self._call(lambda db: answers.find(db, key, now))

    @property
    def _is_open(self) -> bool:
        return self._connections is not None and not self._connections.are_inherited

    async def _call(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        if self._connections is None:
            raise StoreUnavailableError("The PostgreSQL store is not open.")
        return await self._connections.call(work, within=self._target.timeout)
