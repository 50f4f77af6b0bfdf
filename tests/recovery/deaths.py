"""Sales that a process dies in, at any call it makes, and what its heirs make of what it left."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mpp_asgi import house
from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.charge.mortal import KilledError
from tests.methods.stores import StoreAround
from tests.session.drawer import open_session_shop
from tests.shop import SPONSOR, Payer, Time, payment_middleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    import pytest

    from mpp_asgi.house import House
    from mpp_asgi.stellar.rpc_call import RpcCall, T
    from mpp_asgi.stores.contract import Store
    from tests.shop import Shop

Moment = Literal["before", "after"]

LONG = 900
"""Seconds in which everything has to come to its end: longer than any challenge is good, and than
any lease lasts."""
STEP = 20
MOST_CALLS = 60


class Life:
    """Of a process: counts its calls of the store and of the node, and ends at one of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_over = False
        self._ends_at: int | str | None = None
        self._moment: Moment = "before"

    def end_at(self, call: int | str | None, moment: Moment = "after") -> None:
        """Counted from here, or the first of that name; ``None``: at none."""
        self.calls.clear()
        self._ends_at, self._moment = call, moment

    async def call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        if self.is_over:
            raise KilledError
        is_last = self._ends_at in (len(self.calls), name)
        self.calls.append(name)
        if is_last and self._moment == "before":
            self._end()
        result = await work()
        if is_last:
            self._end()
        return result

    def _end(self) -> None:
        self.is_over = True
        raise KilledError


class _Rpc:
    def __init__(self, life: Life, rpc: InProcessRpc) -> None:
        self._life = life
        self._rpc = rpc

    async def do(self, call: RpcCall[T]) -> T:
        return await self._life.call(call.method, lambda: self._rpc.do(call))

    async def aclose(self) -> None:
        await self._rpc.aclose()


class _Store(StoreAround):
    def __init__(self, life: Life, store: Store) -> None:
        super().__init__(store)
        self._life = life

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        if name in ("open", "close", "secret"):
            return await operation()
        if self._life.is_over and name in ("heartbeat", "release_lease"):
            # What is left of it in the test would say farewell; nobody hears it.
            raise StoreUnavailableError(name)
        return await self._life.call(name, operation)


@dataclass
class Worker:
    """One process of the seller's."""

    shop: Shop
    life: Life

    @property
    def house(self) -> House:
        opened = payment_middleware(self.shop.app)._house
        assert opened is not None
        return opened

    async def dies(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Do some work; whether the process died of it."""
        try:
            await work
        except KilledError:
            self.shop.sandbox.set_close_interval(5)
            return True
        assert not self.life.is_over, "somebody took a death for an error"
        self.life.end_at(None)
        return False

    async def settle(self, channel: str) -> None:
        """Have a channel settled now, as an operator does."""
        assert self.house._guardian is not None
        await self.house._guardian.settle_now(channel)

    async def tidy_up(self) -> None:
        """Be there for `LONG`, without any visitor."""
        assert self.house._guardian is not None
        for _ in range(LONG // STEP):
            await self.house._recovery.round()
            await self.house._guardian.round()
            self.shop.time.now += STEP


class Seller:
    """Processes, one after the other, on one store and one ledger."""

    def __init__(self, patch: pytest.MonkeyPatch, sandbox: Sandbox, time: Time) -> None:
        self._patch = patch
        self.time = time
        self.sandbox = sandbox
        self.store = MemoryStore()

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        """One that does nothing but what the test has it do."""
        life = Life()
        self._patch.setattr(house, "store_from_url", lambda _: _Store(life, self.store))
        self._patch.setattr(house, "InProcessRpc", lambda ask: _Rpc(life, InProcessRpc(ask)))
        async with open_session_shop(sandbox=self.sandbox, time=self.time) as shop:
            await shop.challenges()
            worker = Worker(shop, life)
            assert worker.house._guardian is not None
            await worker.house._guardian._clockwork.stop(1)
            await worker.house._recovery._clockwork.stop(1)
            yield worker

    async def stuck(self) -> int:
        """Records that nobody owns and that are not at an end."""
        self.time.now += LIFE_SECONDS + 1
        return len(await self.store.open_charges(now=int(self.time.now), limit=100))

    def transactions(self, shop: Shop) -> int:
        """How many the sponsor has had on the ledger, ever."""
        return Payer(shop, SPONSOR).sequence(SPONSOR) & 0xFFFFFFFF


@dataclass
class Attempt:
    """A seller whose process ends at one of its calls, unless its work is done before that."""

    seller: Seller
    dying: Worker
    call: int
    moment: Moment
    survived: bool = False

    @property
    def shop(self) -> Shop:
        return self.dying.shop

    @property
    def where(self) -> str:
        """The call that was its last."""
        return f"{self.moment} {self.dying.life.calls[-1]}, call {self.call}"

    async def dies(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Do the work whose calls are counted; whether the process died of it."""
        self.dying.life.end_at(self.call, self.moment)
        self.survived = not await self.dying.dies(work)
        return not self.survived


async def attempts(
    patch: pytest.MonkeyPatch, moment: Moment, *, least: int
) -> AsyncIterator[Attempt]:
    """Sellers that die at one call after the other, each anew, until one of them survives its work,
    which takes ``least`` calls or more."""
    for call in range(MOST_CALLS):
        time = Time()
        seller = Seller(patch, Sandbox(clock=time, close_interval=0.1), time)
        async with seller.worker() as dying:
            attempt = Attempt(seller, dying, call, moment)
            yield attempt
        if attempt.survived:
            assert call >= least
            return
    raise AssertionError("it takes more calls than were tried")
