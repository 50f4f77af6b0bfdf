"""The life of a charge: one challenge, one credential, one settlement, one delivery.

`ChargeBook` keeps that promise over a store that other processes share. A request takes the
*turn* at a challenge, and holds it until its response left or failed: in this process turns queue
up, between processes the store's ownership decides. Each step is durable before the next begins.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from mpp_asgi import turns
from mpp_asgi.heart import Heart
from mpp_asgi.intents import PendingError
from mpp_asgi.refunds import Refunds
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.turns import Turn
from mpp_asgi.unnoted import UnnotedDeliveries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from mpp_asgi.stores.contract import Store

T = TypeVar("T")

log = logging.getLogger("mpp_asgi.charges")

MOST_WAITING = 64
"""Requests that may wait for one credential in one process; more are told to come back."""
MOST_UNFINISHED = 10_000
"""Charges whose end the store has not taken yet, beyond which no more are begun."""
DOUBT_SECONDS = 15
"""How long a claim that got no answer may still take effect."""
DRAIN_SECONDS = 20
"""How long a process that ends waits for what is under way, and for its store."""
PURGE_BATCH = 1_000
"""Records that are deleted at a time."""


class ChargeBook:
    """The charges of one process over a shared store.

    Args:
        store: where the records are.
        owner: this process's name among all that share the store; new at each start.
        clock: Unix seconds.
        sleep: as `asyncio.sleep`.
    """

    def __init__(
        self,
        store: Store,
        *,
        owner: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.store = store
        self.owner = owner
        self.clock = clock
        self.sleep = sleep
        self._queues: dict[str, list[asyncio.Future[None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.abandoned: set[str] = set()
        """What the store still has under our name, though nobody here is at work on it."""
        self.doubtful: dict[str, float] = {}
        """What it may have under our name yet, since a claim got no answer; and until when, in Unix
        seconds."""
        self.unnoted = UnnotedDeliveries(self, sleep=sleep)
        self.refunds = Refunds(self, sleep=sleep)
        self.heart = Heart(clock=clock, say=self._say, is_needed=self._is_at_work, chores=self.tidy)

    async def turn(self, charge_id: str) -> Turn:
        """Wait for the turn at a challenge and take it. Give it back with `Turn.end`.

        Raises:
            PendingError: others are still at it after `PATIENCE_SECONDS`, or too many wait.
        """
        queue = self._queues.get(charge_id)
        if queue is None:
            self._queues[charge_id] = []
            return Turn(self, charge_id)
        if len(queue) >= MOST_WAITING:
            raise PendingError
        turn_came = asyncio.get_running_loop().create_future()
        queue.append(turn_came)
        try:
            async with asyncio.timeout(turns.PATIENCE_SECONDS):
                await turn_came
        except BaseException as error:
            if turn_came.done() and not turn_came.cancelled():  # it came in the same moment
                self.hand_on(charge_id)
            elif turn_came in queue:
                queue.remove(turn_came)
            if isinstance(error, TimeoutError):
                raise PendingError from None
            raise
        return Turn(self, charge_id)

    def free_turn(self, charge_id: str) -> Turn | None:
        """The turn at a challenge, if nobody in this process has it; never waits."""
        if charge_id in self._queues:
            return None
        self._queues[charge_id] = []
        return Turn(self, charge_id)

    def hand_on(self, charge_id: str) -> None:
        """Give the turn at a challenge to the next who waits for it."""
        queue = self._queues[charge_id]
        while queue:
            turn_came = queue.pop(0)
            if not turn_came.done():
                turn_came.set_result(None)
                return
        del self._queues[charge_id]

    async def _say(self, alive_until: int) -> None:
        await self.store.heartbeat(self.owner, alive_until=alive_until)

    def _is_at_work(self) -> bool:
        if self._queues or self.unnoted.ids or self.refunds.owed:
            return True
        return bool(self.abandoned or self.doubtful)

    def require_room(self) -> None:
        """See that not too much is unfinished to begin more.

        Raises:
            StoreUnavailableError: it is.
        """
        if len(self.unnoted.ids) + len(self.abandoned) >= MOST_UNFINISHED:
            raise StoreUnavailableError("Too much waits to be written.")

    def doubt(self, charge_id: str) -> None:
        """Look for a while whether a claim takes effect that nobody waits for any more."""
        if len(self.doubtful) < MOST_UNFINISHED:
            self.doubtful[charge_id] = self.clock() + DOUBT_SECONDS

    async def tidy(self) -> None:
        """Make up for what the store did not take before, and delete what is old. A record that
        fails of something nobody foresaw is told of, and keeps nothing from the others.

        Raises:
            StoreUnavailableError: what is left has to wait.
        """
        for chore in (
            self.unnoted.note,
            self.refunds.settle_all,
            self._let_go_of_abandoned,
            self._purge,
        ):
            try:
                await chore()
            except StoreUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 # whatever it is, the others are to be done
                log.error("a chore was not done, for no reason foreseen: %s", type(error).__name__)

    async def _purge(self) -> None:
        removed = PURGE_BATCH
        while removed >= PURGE_BATCH:
            removed = await self.store.purge(now=int(self.clock()), limit=PURGE_BATCH)
            await asyncio.sleep(0)

    async def _let_go_of_abandoned(self) -> None:
        """Other processes cannot take what is abandoned while we live."""
        for charge_id in self.abandoned | self.doubtful.keys():
            turn = self.free_turn(charge_id)
            if turn is None:  # somebody came for it and will let go of it
                continue
            self.abandoned.discard(charge_id)
            if self.doubtful.get(charge_id, 0) <= self.clock():
                self.doubtful.pop(charge_id, None)
            turn.may_own = True
            try:
                await turn.end()
            except Exception as error:  # noqa: BLE001 # whatever it is, it is this one's alone
                self.abandoned.add(charge_id)
                log.error("charge %s not let go of: %s", charge_id, type(error).__name__)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work that outlives the request it comes from; `drain` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self) -> None:
        """Wait for everything under way."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def close(self) -> None:
        """Finish what is under way, for `DRAIN_SECONDS` at most, and leave the rest to others."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self.drain()
                await self.unnoted.note_last(attempts=DRAIN_SECONDS)
                await self.refunds.settle_last(attempts=DRAIN_SECONDS)
        except TimeoutError:
            log.warning("the store is too slow to wait for any longer")
        for charge_id in self.unnoted.ids:
            log.critical("charge %s was delivered but could not be written down", charge_id)
        for refund in self.refunds:
            log.critical(
                "%s base units could not be given back to channel %s",
                refund.cost,
                refund.channel_id,
            )
        await self.heart.stop()
        if self._queues:  # the server did not wait for them: they count as alive until they are not
            return
        try:
            await self.heart.bid_farewell()
        except StoreUnavailableError as error:
            log.warning("store unavailable, this process seems alive for a while: %s", error)
