"""Two processes, one credential, and a fate that decides what happens when.

Every call of a store, before its effect and after it, every sleep and every heartbeat is a moment
at which fate decides: whose turn it is, how the clock is set, whether the store fails, whether a
client leaves or an endpoint fails. One response leaves whole, whatever fate decides.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpp_asgi.charges import ChargeBook
from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.intents import PendingError, RefusalError
from mpp_asgi.stores.contract import OwnershipLostError, State, Store, StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.methods.stores import StoreAround

ID = "a challenge"
START = 1_790_000_000
REQUESTS = 2
"""At each process at a time."""


@dataclass(frozen=True)
class Decision:
    """What happens at one moment."""

    whose: int
    passes: int
    """Seconds."""
    store_fails: bool
    client_leaves: bool
    endpoint_fails: bool


DECISIONS = st.lists(
    st.builds(
        Decision,
        whose=st.integers(0, 7),
        passes=st.sampled_from([0] * 6 + [1, 4, 9, 11, LIFE_SECONDS, 3600, -3600]),
        store_fails=st.integers(0, 9).map(lambda n: n == 9),
        client_leaves=st.integers(0, 19).map(lambda n: n == 19),
        endpoint_fails=st.integers(0, 3).map(lambda n: n == 3),
    ),
    max_size=80,
)
NOTHING = Decision(0, 0, store_fails=False, client_leaves=False, endpoint_fails=False)


class Fate:
    """Decides, and lets everything come to its end when there is nothing more to decide."""

    def __init__(self, decisions: list[Decision]) -> None:
        self._decisions: Iterator[Decision] = iter(decisions)
        self._waiting: list[tuple[asyncio.Future[Decision], float]] = []
        self.now = float(START)
        self._was_set_forward = False
        self.noting = 0
        """Processes that have sent a last byte and are writing that down. If they stand still
        then, nothing can be promised."""

    def clock(self) -> float:
        return self.now

    async def moment(self, seconds: float = 0) -> Decision:
        """Wait for it, and so long."""
        comes: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.append((comes, seconds))
        return await comes

    async def sleep(self, seconds: float) -> None:
        await self.moment(seconds)

    async def run(self, requests: list[asyncio.Task[None]], *, may_leave: bool = True) -> None:
        """Decide until all of them are over."""
        while not all(request.done() for request in requests):
            for _ in range(10):
                await asyncio.sleep(0)
            self._waiting = [each for each in self._waiting if not each[0].done()]
            if not self._waiting:
                continue
            decision = next(self._decisions, NOTHING)
            comes, seconds = self._waiting.pop(decision.whose % len(self._waiting))
            if not self.noting:
                self._pass(seconds, decision.passes)
            if decision.client_leaves and may_leave:
                requests[decision.whose % len(requests)].cancel()
            if not comes.done():
                comes.set_result(decision)

    def _pass(self, sleeps: float, passes: int) -> None:
        """Time, or the clock is set. One that is set forward and back to where it was would show a
        process no sign of the silence that another one saw."""
        if passes < 0 and self._was_set_forward:
            return
        self._was_set_forward |= passes > LIFE_SECONDS
        self.now += sleeps + passes

    def has_decided(self) -> None:
        """From now on nothing goes wrong."""
        self._decisions = iter(())


class FatefulStore(StoreAround):
    """A store as one process sees it."""

    def __init__(self, store: Store, fate: Fate) -> None:
        super().__init__(store)
        self._fate = fate

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        if (await self._fate.moment()).store_fails:
            raise StoreUnavailableError(name)
        result = await operation()
        if (await self._fate.moment()).store_fails:
            raise StoreUnavailableError(name)
        return result


class World:
    """The processes, and what has left them."""

    def __init__(self, decisions: list[Decision]) -> None:
        self.store = MemoryStore()
        self.fate = Fate(decisions)
        self.books = [
            ChargeBook(
                FatefulStore(self.store, self.fate),  # type: ignore[arg-type] # by its names
                owner=name,
                clock=self.fate.clock,
                sleep=self.fate.sleep,
            )
            for name in ("here", "there")
        ]
        self.sent: list[str] = []
        """By whom a response was sent whole."""
        self._noting: list[asyncio.Task[None]] = []

    async def beat(self, book: ChargeBook) -> None:
        while True:
            await self.fate.moment()
            try:
                await book.heart.beat()
                await book.tidy()
            except StoreUnavailableError:
                continue

    async def serve(self, book: ChargeBook) -> None:
        """A request, as an intent and a visit make their way through the book."""
        try:
            turn = await book.turn(ID)
        except PendingError:
            return
        try:
            await turn.find()
            charge = await turn.claim("c", (), keep_until=START + 10**6)
            if charge.state is State.CLAIMED:
                await turn.settled(receipt="r", payer="p", reference="r", keep_until=START + 10**6)
            if (await self.fate.moment()).endpoint_fails:
                return
            if not turn.is_held():
                await turn.hold()
            self.sent.append(book.owner)
            self.fate.noting += 1
            self._noting.append(asyncio.create_task(self._note()))
            await turn.delivered()
        except (RefusalError, PendingError, OwnershipLostError, StoreUnavailableError):
            return
        finally:
            await turn.end()

    async def _note(self) -> None:
        """Until what was sent is written down."""
        while True:
            record = await self.store.get(ID)
            if record is not None and record.state is State.DELIVERED:
                self.fate.noting -= 1
                return
            await asyncio.sleep(0)

    async def go(self) -> None:
        for book in self.books:
            await self.at_once(book.heart.start)
        beating = [asyncio.create_task(self.beat(book)) for book in self.books]
        await self.fate.run(
            [asyncio.create_task(self.serve(book)) for book in self.books for _ in range(REQUESTS)]
        )
        await self.fate.run(self._noting, may_leave=False)
        assert len(self.sent) <= 1, self.sent
        self.fate.has_decided()
        self.fate.now += LIFE_SECONDS + 1
        await self.fate.run([asyncio.create_task(self.serve(book)) for book in self.books])
        await self.fate.run(self._noting, may_leave=False)
        assert len(self.sent) == 1, self.sent
        for task in beating:
            task.cancel()
        await asyncio.wait(beating)

    async def at_once(self, work: Callable[[], Awaitable[None]]) -> None:
        """Without fate."""
        task = asyncio.ensure_future(work())
        while not task.done():
            await asyncio.sleep(0)
            for comes, _ in self.fate._waiting:
                comes.set_result(NOTHING)
            self.fate._waiting.clear()
        await task


SET_BACK_MEANWHILE = [
    replace(NOTHING, whose=whose, passes=passes)
    for whose, passes in [(0, 0), (3, 0), (2, 0), (2, 0), (0, -3600), (3, 0)]
]
"""The clock is set back after one process has looked at it and before the store judges by that."""


@settings(max_examples=150, deadline=None)
@given(decisions=DECISIONS)
@example(SET_BACK_MEANWHILE)
def test_one_response_leaves_whole(decisions: list[Decision]) -> None:
    asyncio.run(World(decisions).go())
