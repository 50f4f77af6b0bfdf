"""Processes that die, or are left by their clients, at any step they take."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeVar

import pytest

from mpp_asgi import house
from mpp_asgi.stellar.rpc_call import RpcCall, T
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from mpp_asgi.stores.contract import Charge, Store
from tests.methods.stores import StoreAround

R = TypeVar("R")

Moment = Literal["before", "after"]
"""Of the step at which a process stops: its effect has not happened yet, or just has."""


class KilledError(BaseException):
    """The process is gone. No handler of the code under test may take it for an error."""


class Process:
    """Counts the steps that a shop takes with its store and its node, and stops at one of them.

    Killed, it takes no step ever after. Left, it hangs there until its request is cancelled or it
    is told to go on, and lives; what outlives the request goes on then.
    """

    def __init__(self) -> None:
        self.hangs = asyncio.Event()
        self.goes_on = asyncio.Event()
        self._steps = 0
        self._stop_at: int | None = None
        self._moment: Moment = "before"
        self._killed = False
        self._dead = False
        self._hangs_after: str | None = None

    def stop_at(self, step: int, moment: Moment, *, killed: bool) -> None:
        """Stop at the step with this number, counted from here."""
        self._steps, self._stop_at, self._moment, self._killed = 0, step, moment, killed

    def go_on(self) -> None:
        """Stop nowhere any more."""
        self._stop_at = None

    @property
    def is_dead(self) -> bool:
        return self._dead

    def stop_at_write_of(self, state: str) -> None:
        """Hang once a record in this state was written."""
        self._hangs_after = state

    async def wrote(self, charge: Charge) -> None:
        if charge.state == self._hangs_after:
            self._hangs_after = None
            await self._stop()

    async def step(self, work: Callable[[], Awaitable[R]]) -> R:
        if self._dead:
            raise KilledError
        stops = self._steps == self._stop_at
        self._steps += 1
        if stops and self._moment == "before":
            await self._stop()
        result = await work()
        if stops and self._moment == "after":
            await self._stop()
        return result

    async def _stop(self) -> None:
        if self._killed:
            self._dead = True
            raise KilledError
        self.hangs.set()
        await self.goes_on.wait()

    def run_by(self, patch: pytest.MonkeyPatch, store: Callable[[], Store]) -> None:
        """Make every shop that opens from here on a part of this process."""
        patch.setattr(house, "store_from_url", lambda url: MortalStore(self, store()))
        patch.setattr(house, "InProcessRpc", lambda handler: MortalRpc(self, InProcessRpc(handler)))


class MortalRpc:
    """An `Rpc` whose calls are steps."""

    def __init__(self, process: Process, rpc: InProcessRpc) -> None:
        self._process = process
        self._rpc = rpc

    async def do(self, call: RpcCall[T]) -> T:
        return await self._process.step(lambda: self._rpc.do(call))

    async def aclose(self) -> None:
        await self._rpc.aclose()


class MortalStore(StoreAround):
    """A `Store` whose calls are steps, once it is open."""

    def __init__(self, process: Process, store: Store) -> None:
        super().__init__(store)
        self._process = process

    async def write(self, charge: Charge, proofs: Sequence[str] = (), *, owner: str) -> None:
        await self._process.step(lambda: self._store.write(charge, proofs, owner=owner))
        await self._process.wrote(charge)

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        if name in ("open", "close", "secret"):
            return await operation()
        if name == "heartbeat" and self._process.is_dead:
            return None  # what is left of it in the test may try, and nobody hears it
        return await self._process.step(operation)


async def stopped(request: Awaitable[Any], process: Process) -> bool:
    """Let the request run into its end or the process's; whether it was the process's."""
    task = asyncio.ensure_future(request)
    hanging = asyncio.create_task(process.hangs.wait())
    await asyncio.wait({task, hanging}, return_when=asyncio.FIRST_COMPLETED)
    left = hanging.done()
    hanging.cancel()
    process.go_on()
    task.cancel()
    process.goes_on.set()  # what does not end with its request
    try:
        await task
    except KilledError:
        return True
    except asyncio.CancelledError:
        assert left
        return True
    return False
