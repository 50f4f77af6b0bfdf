"""Carries out chores: RPC calls, waits, turns."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from mpp_asgi.client.steps import EndTurn, LookAtClock, TakeTurn, Wait, Work
from mpp_asgi.stellar.rpc_call import RpcCall, RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.client.steps import Chore, Run
    from mpp_asgi.client.turns import Turns
    from mpp_asgi.stellar.rpc_call import BlockingRpc, Rpc


class SyncHands:
    """For one conversation. The connection to the RPC is made when it is first needed."""

    def __init__(
        self,
        rpc: Callable[[], BlockingRpc],
        sleep: Callable[[float], None],
        turns: Turns,
        clock: Callable[[], float],
    ) -> None:
        self._make_rpc = rpc
        self._rpc: BlockingRpc | None = None
        self._sleep = sleep
        self._turns = turns
        self._clock = clock
        self._stack = ExitStack()
        self._stack.callback(turns.leave, self)

    def carry_out(self, run: Run[Any, Any], chore: Chore) -> None:
        """Do the chore and go on."""
        match chore:
            case Wait():
                self._sleep(chore.seconds)
                run.send(None)
            case TakeTurn():
                self._take_turn()
                run.send(None)
            case EndTurn():
                self._turns.leave(self)
                run.send(None)
            case LookAtClock():
                run.send(self._clock())
            case Work():
                try:
                    outcome = chore.do()
                except Exception as error:  # noqa: BLE001 - whose business it is, the steps know
                    outcome = error
                _go_on(run, outcome)
            case RpcCall():
                try:
                    outcome = self._connected().do(chore)
                except RpcError as error:
                    outcome = error
                _go_on(run, outcome)

    def _take_turn(self) -> None:
        woken = threading.Event()
        while (seconds := self._turns.ask(self, woken.set)) is not None:
            woken.wait(seconds)
            woken = threading.Event()

    def _connected(self) -> BlockingRpc:
        if self._rpc is None:
            self._rpc = self._make_rpc()
            self._stack.callback(self._rpc.close)
        return self._rpc

    def close(self) -> None:
        """End the turn, and let go of the connection."""
        self._stack.close()


class AsyncHands:
    """`SyncHands` in an event loop."""

    def __init__(
        self,
        rpc: Callable[[], Rpc],
        sleep: Callable[[float], Awaitable[None]],
        turns: Turns,
        clock: Callable[[], float],
    ) -> None:
        self._make_rpc = rpc
        self._rpc: Rpc | None = None
        self._sleep = sleep
        self._turns = turns
        self._clock = clock
        self._stack = AsyncExitStack()
        self._stack.callback(turns.leave, self)

    async def carry_out(self, run: Run[Any, Any], chore: Chore) -> None:
        """Do the chore and go on."""
        match chore:
            case Wait():
                await self._sleep(chore.seconds)
                run.send(None)
            case TakeTurn():
                await self._take_turn()
                run.send(None)
            case EndTurn():
                self._turns.leave(self)
                run.send(None)
            case LookAtClock():
                run.send(self._clock())
            case Work():
                try:
                    outcome = await anyio.to_thread.run_sync(chore.do)
                except Exception as error:  # noqa: BLE001 - whose business it is, the steps know
                    outcome = error
                _go_on(run, outcome)
            case RpcCall():
                try:
                    outcome = await self._connected().do(chore)
                except RpcError as error:
                    outcome = error
                _go_on(run, outcome)

    async def _take_turn(self) -> None:
        woken = anyio.Event()
        while (seconds := self._turns.ask(self, _setting(woken))) is not None:
            with anyio.move_on_after(seconds):
                await woken.wait()
            woken = anyio.Event()

    def _connected(self) -> Rpc:
        if self._rpc is None:
            self._rpc = self._make_rpc()
            self._stack.push_async_callback(self._rpc.aclose)
        return self._rpc

    async def close(self) -> None:
        """End the turn, and let go of the connection."""
        await self._stack.aclose()


def _setting(woken: anyio.Event) -> Callable[[], None]:
    """Sets an event of the loop that is running, from anywhere: an event alone would change its
    state there, and not wake the loop."""
    token: Any = anyio.lowlevel.current_token()
    loop = getattr(token, "native_token", token)
    soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon  # asyncio's, trio's
    return lambda: soon(woken.set)


def _go_on(run: Run[Any, Any], outcome: object) -> None:
    """Called outside the error's handler: what comes next is not its consequence."""
    if isinstance(outcome, Exception):
        run.throw(outcome)
    else:
        run.send(outcome)
