"""Everything on a Redis server: for the workers of many hosts, as durable as the server is set."""

from __future__ import annotations

import logging
import secrets
import threading
import weakref
from typing import TYPE_CHECKING, Final, TypeVar, Unpack

from mpp_asgi.stores.channels import ChannelStatus
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.redis import budgets as budget_scripts
from mpp_asgi.stores.redis import channels, charges, loans, schema
from mpp_asgi.stores.redis.connection import RedisConnection
from mpp_asgi.stores.redis.line import RedisLine
from mpp_asgi.stores.redis.predecessors import Predecessors
from mpp_asgi.stores.redis.url import Durability

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mpp_asgi.stores.budgets import Budget
    from mpp_asgi.stores.channels import Channel, Close, LedgerFacts, Return, Spend, SpendTerms
    from mpp_asgi.stores.contract import Charge, Claim
    from mpp_asgi.stores.kept_answers import KeptAnswer
    from mpp_asgi.stores.loans import Loan
    from mpp_asgi.stores.redis.scripts import Call
    from mpp_asgi.stores.redis.url import RedisServer

_T = TypeVar("_T")

log = logging.getLogger("mpp_asgi.stores")

TIMEOUT: Final = 5.0
"""Seconds for one call, with all its waiting."""

_WARNINGS = {
    Durability.EVERYSEC: "The Redis store may lose what was acknowledged within the last seconds "
    "(durability=everysec): credentials could be used twice and vouchers be lost.",
    Durability.UNCHECKED: "Whether the Redis server loses what it has acknowledged is not checked "
    "(durability=unchecked).",
}


class RedisStore:
    """A `Store` on a Redis server, 6.2 or newer.

    Each call is one script and one round trip, which calls that wait at the same time share (see
    `RedisLine`). A call is durable when it returns if the server writes its log to the disk before
    it answers, which is made sure of on every connection. A call that fails may have been done; it
    is never done again on its own. The store belongs to no event loop.

    Args:
        server: where it is.
        timeout: seconds for one call, with all its waiting.
        new_secret: makes a secret of so many random bytes, base64url.
    """

    def __init__(
        self,
        server: RedisServer,
        *,
        timeout: float = TIMEOUT,
        new_secret: Callable[[int], str] = secrets.token_urlsafe,
    ) -> None:
        self.server = server
        self._timeout = timeout
        self._new_secret = new_secret
        self._predecessors = Predecessors()
        self._lock = threading.Lock()  # for the next three
        self._line: RedisLine | None = None
        self._abandonment: weakref.finalize[[], RedisStore] | None = None
        self._identity = ""

    async def open(self) -> None:
        """As `Store.open`. Does nothing if the store is open; opens it again after `close`.

        Raises:
            StoreUnavailableError: one sentence for the operator, which names nothing of the URL.
        """
        while not await self._opened():
            pass  # closed meanwhile, as by another open() that was cancelled: from the start

    async def close(self) -> None:
        """As `Store.close`. Waits for what is under way, and closes even if it is cancelled."""
        line = self._line
        if line is not None and not line.is_anothers:
            await self._let_go(line)

    async def secret(self) -> str:
        """As `Store.secret`."""
        return await self._ask(schema.secret(self._new_secret(32)))

    async def claim(self, charge: Charge, proofs: Sequence[str], *, now: int) -> Claim:
        """As `Store.claim`."""
        return await self._ask(charges.claim(charge, proofs, now))

    async def write(self, charge: Charge, proofs: Sequence[str] = (), *, owner: str) -> None:
        """As `Store.write`."""
        await self._ask(charges.write(charge, proofs, owner))

    async def release(self, charge_id: str, *, owner: str) -> None:
        """As `Store.release`."""
        await self._ask(charges.release(charge_id, owner))

    async def get(self, charge_id: str) -> Charge | None:
        """As `Store.get`."""
        return await self._ask(charges.get(charge_id))

    async def open_charges(self, *, now: int, limit: int) -> Sequence[Charge]:
        """As `Store.open_charges`; what would be purged first comes first."""
        return await self._ask(charges.open_charges(now, limit))

    async def heartbeat(self, owner: str, *, alive_until: int) -> None:
        """As `Store.heartbeat`."""
        await self._ask(charges.heartbeat(owner, alive_until))

    async def purge(self, *, now: int, limit: int) -> int:
        """As `Store.purge`, in one script: the limit bounds how long others wait."""
        return await self._ask(charges.purge(now, limit))

    async def add_channel(self, channel: Channel) -> Channel:
        """As `ChannelStore.add_channel`."""
        return await self._ask(channels.add(channel))

    async def channel(self, channel_id: str) -> Channel | None:
        """As `ChannelStore.channel`."""
        return await self._ask(channels.find(channel_id))

    async def spend(self, channel_id: str, **terms: Unpack[SpendTerms]) -> Spend:
        """As `ChannelStore.spend`."""
        return await self._ask(channels.spend(channel_id, **terms))

    async def publish(self, channel_id: str, *, amount: int) -> None:
        """As `ChannelStore.publish`."""
        await self._ask(channels.publish(channel_id, amount))

    async def give_back(self, channel_id: str, **what: Unpack[Return]) -> None:
        """As `ChannelStore.give_back`."""
        await self._ask(channels.give_back(channel_id, **what))

    async def observe(self, channel_id: str, **facts: Unpack[LedgerFacts]) -> Channel | None:
        """As `ChannelStore.observe`."""
        return await self._ask(channels.observe(channel_id, **facts))

    async def begin_close(self, channel_id: str, *, amount: int, signature: str, now: int) -> Close:
        """As `ChannelStore.begin_close`."""
        return await self._ask(channels.begin_close(channel_id, amount, signature, now))

    async def cancel_close(self, channel_id: str, *, amount: int) -> None:
        """As `ChannelStore.cancel_close`."""
        await self._ask(channels.cancel_close(channel_id, amount))

    async def channels(
        self,
        *,
        limit: int,
        after: str = "",
        statuses: Collection[ChannelStatus] = tuple(ChannelStatus),
    ) -> Sequence[Channel]:
        """As `ChannelStore.channels`."""
        return await self._ask(channels.page(limit, after, statuses))

    async def forget_channels(self, *, used_before: int, limit: int) -> int:
        """As `ChannelStore.forget_channels`, in one script."""
        return await self._ask(channels.forget(used_before, limit))

    async def lease(self, name: str, *, owner: str, until: int, now: int) -> bool:
        """As `ChannelStore.lease`."""
        return await self._ask(loans.lease(name, owner, until, now))

    async def release_lease(self, name: str, *, owner: str) -> None:
        """As `ChannelStore.release_lease`."""
        await self._ask(loans.release_lease(name, owner))

    async def borrow(self, accounts: Sequence[str], *, until: int, now: int) -> Loan | None:
        """As `LoanStore.borrow`."""
        return await self._ask(loans.borrow(accounts, until, now))

    async def prolong(self, loan: Loan, *, until: int) -> bool:
        """As `LoanStore.prolong`."""
        return await self._ask(loans.prolong(loan, until))

    async def hand_back(self, loan: Loan, *, sequence: int | None, free_at: int) -> bool:
        """As `LoanStore.hand_back`."""
        return await self._ask(loans.hand_back(loan, sequence, free_at))

    async def forget_loans(self, accounts: Sequence[str]) -> None:
        """As `LoanStore.forget_loans`."""
        await self._ask(loans.forget(accounts))

    async def draw(self, budgets: Sequence[Budget], amount: int) -> str | None:
        """As `BudgetStore.draw`."""
        return await self._ask(budget_scripts.draw(budgets, amount))

    async def put_back(self, names: Sequence[str], amount: int) -> None:
        """As `BudgetStore.put_back`."""
        await self._ask(budget_scripts.put_back(names, amount))

    async def drawn(self, name: str) -> int:
        """As `BudgetStore.drawn`."""
        return await self._ask(budget_scripts.drawn(name))

    async def keep_answer(self, answer: KeptAnswer, *, now: int) -> KeptAnswer:
        """As `AnswerStore.keep_answer`."""
        return await self._ask(budget_scripts.keep_answer(answer, now))

    async def kept_answer(self, key: str, *, now: int) -> KeptAnswer | None:
        """As `AnswerStore.kept_answer`."""
        return await self._ask(budget_scripts.kept_answer(key, now))

    async def _ask(self, call: Call[_T]) -> _T:
        self._refuse_after_fork()
        with self._lock:
            line, identity = self._line, self._identity
        if line is None or not identity:
            raise StoreUnavailableError("The Redis store is not open.")
        return await line.ask(call, identity)

    def _refuse_after_fork(self) -> None:
        # Without the lock, which a thread may have held that was not forked with us.
        if self._line is not None and self._line.is_anothers:
            raise StoreUnavailableError(
                "The Redis store was opened before this process was forked: open one after the "
                "fork."
            )

    async def _opened(self) -> bool:
        self._refuse_after_fork()
        with self._lock:
            if self._line is not None and self._identity:
                return True
            if self._line is None:
                self._line = self._new_line()
                # A store that nobody closes, as of an app without a lifespan, lets go all the same.
                self._abandonment = weakref.finalize(self, self._line.abandon)
                self._abandonment.atexit = False  # nobody would wait for it
            line = self._line
        try:
            identity = await self._identify(line)
        except BaseException:
            await self._let_go(line)
            raise
        with self._lock:
            if self._line is not line:
                return False
            if not self._identity and self.server.durability in _WARNINGS:
                log.warning(_WARNINGS[self.server.durability])
            self._identity = identity
        return True

    def _new_line(self) -> RedisLine:
        connection = RedisConnection(
            self.server, timeout=self._timeout, predecessors=self._predecessors
        )
        return RedisLine(connection, timeout=self._timeout)

    async def _identify(self, line: RedisLine) -> str:
        """Which data is there, begun or brought up to date where needed."""
        identify = schema.identify(self._new_secret(16))
        identity = await line.ask(identify, "")
        newest = len(schema.MIGRATIONS) + 1
        while (version := schema.schema_of(identity)) < newest:
            try:
                identity = await line.ask(schema.migrate(version), identity)
            except StoreUnavailableError:
                found = await line.ask(identify, "")
                if found == identity:
                    raise
                identity = found  # another process was quicker
        if version > newest:
            raise StoreUnavailableError(
                f"Cannot open the Redis store: a newer mpp-asgi wrote it (schema {version}, this "
                f"one knows {newest}); upgrade mpp-asgi or use another prefix."
            )
        return identity

    async def _let_go(self, line: RedisLine) -> None:
        with self._lock:
            if self._line is line:
                self._line, self._identity = None, ""
                if self._abandonment is not None:
                    self._abandonment.detach()
        await line.close()
