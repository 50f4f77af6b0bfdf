"""Processes that share a store, and requests to them that go one step at a time.

A request stops before each step of its payment and within its endpoint, and goes on, fails, or is
left when a test says so. Whatever can go on without being told has gone on when a call returns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from mpp_asgi import price
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.sqlite.store import SqliteStore
from tests.methods.nod import Till
from tests.methods.stall import Line, Selling, Time, Visitor, payment, scope_of
from tests.methods.stores import StoreAround
from tests.shop import payment_middleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.protocol import Challenge
    from mpp_asgi.stores.contract import Store
    from tests.methods.stall import Exchange

GOODS = b"goods"
ROUTES = ("/before", "/after", "/stream")
QUIET = 12
"""Turns of the loop in which nothing moves, after which nothing will."""


class Cord(StoreAround):
    """The way of one process to the store they share."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.is_cut = False
        self.fails: str | None = None
        """The next call fails, ``before`` or ``after`` it was carried out."""

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        fails, self.fails = self.fails, None
        if self.is_cut or fails == "before":
            raise StoreUnavailableError(name)
        result = await operation()
        if self.is_cut or fails == "after":
            raise StoreUnavailableError(name)
        return result


class Asking:
    """A request under way."""

    def __init__(self, challenge: Challenge, process: Process) -> None:
        self.challenge = challenge
        self.process = process
        self.line = Line([b""], None)
        self.task: asyncio.Task[None] | None = None
        self.at: str | None = None
        """The step it waits at."""
        self.is_free = False
        """It waits no more."""
        self._told: asyncio.Future[None] | None = None

    @property
    def exchange(self) -> Exchange:
        return self.line.exchange

    @property
    def is_over(self) -> bool:
        return self.task is None or self.task.done()

    async def wait_at(self, step: str) -> None:
        if self.is_free:
            return
        self.at = step
        self._told = asyncio.get_running_loop().create_future()
        try:
            await self._told
        finally:
            self.at = self._told = None

    def tell(self, trouble: Exception | None = None) -> None:
        """Go on, or meet trouble."""
        if self._told is None or self._told.done():
            return
        if trouble is None:
            self._told.set_result(None)
        else:
            self._told.set_exception(trouble)

    def leave(self) -> None:
        """The client hangs up."""
        self.line._gone.set()


class Process:
    """One process of the shop."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.cord: Cord | None = None
        self.selling = Selling(
            step=town.step, till=town.till, time=town.time, keep=self._tied, store=town.url
        )
        routes = [Route(path, _endpoint(path, town)) for path in ROUTES]
        self.app = self.selling.to(Starlette(routes=routes))

    def _tied(self, store: Store) -> Store:
        shared = self.town.shared or store
        self.cord = Cord(shared)
        return self.cord  # type: ignore[return-value] # by its names

    @property
    def book(self) -> ChargeBook | None:
        return self.selling.books[0] if self.selling.books else None

    @property
    def store(self) -> Store | None:
        """As it was opened."""
        house = payment_middleware(self.app)._house
        return None if house is None else house._store

    async def close(self) -> None:
        await payment_middleware(self.app)._close()


class Town:
    """All processes, what they share, and all requests.

    Args:
        file: of the store; ``None`` for one in memory.
    """

    def __init__(self, file: str | None) -> None:
        self.url = "memory://" if file is None else f"sqlite:///{file}"
        self.shared: MemoryStore | None = MemoryStore() if file is None else None
        self.time = Time()
        self.till = Till()
        self.asking: dict[asyncio.Task[None], Asking] = {}
        self.processes = [Process(self), Process(self)]
        self.gone: list[Process] = []

    async def step(self, name: str) -> None:
        task = asyncio.current_task()
        if task is not None and task in self.asking:
            await self.asking[task].wait_at(name)

    @property
    def under_way(self) -> list[Asking]:
        return [each for each in self.asking.values() if not each.is_over]

    async def challenge(self, process: Process, route: str) -> Challenge:
        return await Visitor(process.app).challenge("GET", route)

    async def ask(
        self, process: Process, route: str, challenge: Challenge, *, is_free: bool = False
    ) -> Asking:
        """Show a credential for a challenge, as far as it comes."""
        asking = Asking(challenge, process)
        asking.is_free = is_free
        scope = scope_of("GET", route, headers=payment(challenge))

        async def serve() -> None:
            await process.app(scope, asking.line.receive, asking.line.send)

        asking.task = asyncio.get_running_loop().create_task(serve())
        self.asking[asking.task] = asking
        await self.calm()
        return asking

    async def go(self, asking: Asking, far: int) -> None:
        """Let a request take so many steps, unless something else stops it."""
        for _ in range(far):
            if asking.at is None:
                return
            asking.tell()
            await self.calm()

    async def calm(self) -> None:
        """Until nothing goes on by itself."""
        quiet, seen = 0, None
        while quiet < QUIET:
            await asyncio.sleep(0)
            await self._disks()
            now = (
                self.time.now,
                [(each.at, each.is_over, len(each.exchange.messages))
                 for each in self.asking.values()],
            )  # fmt: skip
            quiet, seen = (quiet + 1, seen) if now == seen else (0, now)

    async def _disks(self) -> None:
        for process in self.processes:
            if isinstance(store := process.store, SqliteStore):
                await store._in_thread(lambda: None)

    async def kill(self, number: int) -> None:
        """A process is gone in the middle of whatever it did, and another takes its place."""
        process = self.processes[number]
        if process.cord is not None:
            process.cord.is_cut = True
        for asking in self.under_way:
            if asking.process is process and asking.task is not None:
                asking.leave()
                asking.task.cancel()
        await self.calm()
        self.gone.append(process)
        self.processes[number] = Process(self)

    async def restart(self, number: int) -> None:
        """A process ends as it should, and begins anew."""
        await self.processes[number].close()
        self.processes[number] = Process(self)

    async def close(self) -> None:
        for asking in self.under_way:
            if asking.task is not None:
                asking.task.cancel()
        await asyncio.gather(*self.asking, return_exceptions=True)
        for process in (*self.processes, *self.gone):
            await process.close()


def _endpoint(path: str, town: Town) -> Any:
    async def parts() -> AsyncIterator[bytes]:
        yield GOODS
        await town.step("part")
        yield GOODS

    @price("1", settle="after" if path == "/after" else "before")
    async def endpoint(_: Request) -> Response:
        await town.step("run")
        return StreamingResponse(parts()) if path == "/stream" else PlainTextResponse(GOODS * 2)

    return endpoint
