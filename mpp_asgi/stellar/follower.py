"""Following the chain for everything that is pending: one loop for all who wait.

While few wait, each is asked for by its hash, all of them once a ledger and one at every poll. When
more wait, what the ledgers have is read page by page, and costs the same however many wait. A page
can only say yes: that a transaction is *not* on the ledger is said by a node that was asked for it,
so gaps between pages, nodes that lag, pages cut short and liars cost time and decide nothing.

The loop runs while somebody waits and is a task of the event loop they wait on: nothing has to be
started or stopped.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.rpc import get_transaction
from mpp_asgi.stellar.rpc_call import RpcAnswerTooLargeError, RpcRefusedError, RpcUnavailableError
from mpp_asgi.stellar.rpc_pages import MOST_A_PAGE, get_transactions
from mpp_asgi.stellar.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from mpp_asgi.stellar.rpc import TransactionStatus
    from mpp_asgi.stellar.rpc_call import Rpc
    from mpp_asgi.stellar.rpc_pages import TransactionPage

log = logging.getLogger("mpp_asgi.ledger")

FEW: Final = 8
"""As many transactions are asked for one by one: cheaper than pages of a busy network. So many are
asked for at a time, too."""
LEAST_A_PAGE: Final = 10
"""Transactions of a page, however large they are."""
MORE_A_PAGE: Final = 10
"""By how much a page grows again after it had to be made smaller."""
PAGES_A_ROUND: Final = 20
ROUND_SECONDS: Final = 10.0
"""When a round reads no further page."""
FAR_BEHIND: Final = 20
"""Ledgers that are not worth reading: asking once for each transaction is cheaper."""
STALLS: Final = 3
"""Pages in a row that could not be had, or came from a node that is behind, before reading begins
anew. One of them is nothing special behind a load balancer."""
MOST_WATCHED: Final = 10_000
"""Transactions that may be waited for in one process."""


class Follower:
    """Learns the fate of transactions.

    Args:
        rpc: a node, or several.
        clock: Unix seconds.
        sleep: as `asyncio.sleep`.
        poll_seconds: from one look at the chain to the next, while somebody waits.
    """

    def __init__(
        self,
        rpc: Rpc,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        poll_seconds: float,
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._sleep = sleep
        self._poll_seconds = poll_seconds
        self._watches: dict[str, list[Watch]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self.highest = 0
        """The highest ledger that any node ever told of."""
        self._latest: int | None = None
        self._latest_close_time = 0
        self._reading: _Reading | None = None
        self._limit = MOST_A_PAGE
        self._stalls = 0
        self._asked = 0

    def watch(
        self, transaction_hash: str, *, is_new: bool, valid_until: int, until: float
    ) -> Watch:
        """A wait for one transaction, which begins with `Watch.news`, and ends with its context.

        Args:
            transaction_hash: the transaction's own, or that of one which a fee bump wraps.
            is_new: it has not been sent yet, so that only ledgers to come can have it.
            valid_until: Unix seconds of ledger time; after that it can no longer be included.
            until: Unix seconds; `Watch.news` returns by then.

        Raises:
            FaultError: too many are waited for.
        """
        if len(self._watches) >= MOST_WATCHED:
            raise FaultError("Too many payments are waiting.", retry_after=10)
        return Watch(
            self,
            transaction_hash.lower(),
            valid_until=valid_until,
            since=self._latest if is_new else None,
            until=until,
        )

    def note(self, ledger: int, close_time: int | None = None) -> None:
        """Somebody was told of a ledger that has closed."""
        self.highest = max(self.highest, ledger)
        if self._latest is None or ledger > self._latest:
            self._latest = ledger
        if close_time is not None:
            self._latest_close_time = max(self._latest_close_time, close_time)

    # Those who wait

    def join(self, watch: Watch) -> None:
        """Follow the chain for it, until `leave`. Idempotent."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # whoever waits on another loop waits for nothing any more
            self._loop, self._task = loop, None
            self._watches.clear()
        watches = self._watches.setdefault(watch.hash, [])
        if watch not in watches:
            watches.append(watch)
            reading = self._reading
            if reading is not None and watch.since is not None and watch.since < reading.latest:
                watch.since = None  # a ledger was read while it was on its way to the network
        if self._task is None:
            self._reading = None
            # Not in the context of the request that happens to be the first.
            self._task = loop.create_task(self._follow(), context=contextvars.Context())

    def leave(self, watch: Watch) -> None:
        """Follow the chain no longer for it. Idempotent."""
        watches = self._watches.get(watch.hash, [])
        if watch not in watches:
            return
        watches.remove(watch)
        if not watches:
            del self._watches[watch.hash]
        if not self._watches and self._task is not None:
            task, self._task = self._task, None
            if self._loop is asyncio.get_running_loop():
                task.cancel()

    # The loop

    async def _follow(self) -> None:
        try:
            while self._watches:
                await self._round()
                now = self._clock()
                for watch in self._all():
                    watch.passed(now)
                await asyncio.sleep(0)  # they go first, and may leave, before time passes
                await self._sleep(self._poll_seconds)
        except asyncio.CancelledError:
            self._give_up(FaultError("The payment is not on the ledger yet.", retry_after=5))
            raise
        except BaseException as error:  # noqa: BLE001 # those who wait are told: it is theirs
            self._give_up(error)
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    def _give_up(self, error: BaseException) -> None:
        if self._task is not asyncio.current_task():
            return  # those who wait now have another one to wait for
        for watch in self._all():
            watch.fail(error)

    async def _round(self) -> None:
        if len(self._watches) <= FEW:
            self._reading = None
            await self._look_in_turn()
        else:
            await self._read()
        await self._look(watch for watch in self._waiting() if self._is_due(watch))

    def _all(self) -> list[Watch]:
        return [watch for watches in self._watches.values() for watch in watches]

    def _waiting(self) -> list[Watch]:
        return [watch for watch in self._all() if not watch.is_over]

    def _is_due(self, watch: Watch) -> bool:
        """Whether it is to be asked for by its hash: not more than once a ledger."""
        latest = self._latest or 0
        if watch.asked_at is not None and watch.asked_at >= latest:
            return False
        reading = self._reading
        return (
            reading is None
            or not reading.covers(watch)
            or watch.is_doubtful
            or watch.valid_until < self._latest_close_time
        )

    # One by one

    async def _look_in_turn(self) -> bool:
        """Ask for the one that was not asked for the longest: it says where the chain is, too.

        Returns:
            Whether there was an answer.
        """
        waiting = self._waiting()
        if not waiting:
            return False
        return await self._ask(min(waiting, key=lambda watch: watch.turn).hash)

    async def _look(self, watches: Iterable[Watch]) -> None:
        hashes = list(dict.fromkeys(watch.hash for watch in watches))
        for first in range(0, len(hashes), FEW):
            batch = hashes[first : first + FEW]
            if len(batch) == 1:
                await self._ask(batch[0])
            else:
                await asyncio.gather(*map(self._ask, batch))
            self._tell_the_time()

    async def _ask(self, transaction_hash: str) -> bool:
        status: TransactionStatus | None = None
        try:
            status = await self._rpc.do(get_transaction(transaction_hash))
        except (RpcUnavailableError, RpcRefusedError) as error:
            log.warning("transaction %s cannot be looked up: %s", transaction_hash, error)
        else:
            self.note(status.latest_ledger, status.latest_ledger_close_time)
        self._asked += 1
        for watch in self._watches.get(transaction_hash, ()):
            watch.turn, watch.asked_at = self._asked, self._latest
            if status is not None:
                watch.tell(status)
        return status is not None

    def _tell_the_time(self) -> None:
        now = self._clock()
        for watch in self._all():
            watch.tell_time(now)

    # By the page

    async def _read(self) -> None:
        """Read what the ledgers have since the last time."""
        reading = self._reading or await self._begin()
        if reading is None:
            return
        self._reading = reading
        stop_at = self._clock() + ROUND_SECONDS
        for _ in range(PAGES_A_ROUND):
            page = await self._page(reading)
            if page is None:
                return
            for name, status in page.found.items():
                for watch in self._watches.get(name, ()):
                    watch.tell(status)
            self._tell_the_time()
            if page.count < reading.limit:
                return
            self._limit = min(MOST_A_PAGE, self._limit + MORE_A_PAGE)
            if page.span.latest_ledger - (page.last_ledger or 0) > FAR_BEHIND:
                self._reading = _Reading(page.span.latest_ledger)
                return
            if self._clock() >= stop_at:
                return

    async def _begin(self) -> _Reading | None:
        """Begin where nothing is missed of what was sent lately."""
        if self._latest is None:
            await self._look_in_turn()
        latest = self._latest
        if latest is None:
            return None
        lately = [watch.since for watch in self._waiting() if watch.since is not None]
        worth_reading = [since for since in lately if since >= latest - FAR_BEHIND]
        return _Reading(min(worth_reading, default=latest))

    async def _page(self, reading: _Reading) -> TransactionPage | None:
        """The next page; ``None`` if there is nothing to be had now."""
        reading.limit = self._limit
        call = get_transactions(start=reading.next, limit=reading.limit, wanted=self._watches)
        try:
            page = await self._rpc.do(call)
        except (RpcUnavailableError, RpcRefusedError) as error:
            if isinstance(error, RpcAnswerTooLargeError) and self._limit > LEAST_A_PAGE:
                self._limit = max(LEAST_A_PAGE, self._limit // 2)
                return None
            log.warning("the latest transactions cannot be read: %s", error)
            if await self._look_in_turn():  # else nothing can be had from the node
                self._stall()
        else:
            self.note(page.span.latest_ledger, page.span.latest_ledger_close_time)
            if page.span.latest_ledger < reading.latest:
                self._stall()
            else:
                self._stalls = 0
            reading.advance(page)
            return page
        return None

    def _stall(self) -> None:
        """Reading does not go on. Again and again: then the node has forgotten where we are, or has
        no pages, or the chain is another one, as a sandbox's is after a restart."""
        self._stalls += 1
        if self._stalls < STALLS:
            return
        log.warning("the chain is lost at ledger %s; it is looked for anew", self._latest)
        self._stalls, self._reading, self._latest, self._latest_close_time = 0, None, None, 0
        self._limit = max(LEAST_A_PAGE, self._limit // 2)  # it may have been too much
        for watch in self._all():
            watch.since = watch.asked_at = None


class _Reading:
    """How far the ledgers were read, from one of them on without a gap."""

    def __init__(self, start: int) -> None:
        self.next: int | str = start
        """What the next page begins with, or goes on after."""
        self.latest = 0
        self.limit = MOST_A_PAGE
        self._start = start

    def covers(self, watch: Watch) -> bool:
        """Whether it would have been seen in what was read."""
        return watch.since is not None and watch.since >= self._start - 1

    def advance(self, page: TransactionPage) -> None:
        # The cursor of an empty page stands before the ledger's transactions that were read, or
        # nowhere, if the node is behind.
        latest = page.span.latest_ledger
        if page.count or latest > self.latest:
            self.next = page.cursor
        self.latest = max(self.latest, latest)
