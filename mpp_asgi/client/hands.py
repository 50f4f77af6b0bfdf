"""Carries out chores: RPC calls, waits, turns."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from mpp_asgi.client.steps import TakeTurn, Wait, Work
from mpp_asgi.stellar.rpc_call import RpcCall, RpcError

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable

    from mpp_asgi.client.steps import Chore, Run
    from mpp_asgi.stellar.rpc_call import BlockingRpc, Rpc


class SyncHands:
    """For one conversation. The connection to the RPC is made when it is first needed."""

    def __init__(
        self,
        rpc: Callable[[], BlockingRpc],
        sleep: Callable[[float], None],
        turn: threading.Lock,
    ) -> None:
        self._make_rpc = rpc
        self._rpc: BlockingRpc | None = None
        self._sleep = sleep
        self._turn = turn
        self._has_turn = False
        self._stack = ExitStack()

    def carry_out(self, run: Run[Any, Any], chore: Chore) -> None:
        """Do the chore and go on."""
        match chore:
            case Wait():
                self._sleep(chore.seconds)
                run.send(None)
            case TakeTurn():
                if not self._has_turn:
                    self._stack.enter_context(self._turn)
                    self._has_turn = True
                run.send(None)
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
        turn: anyio.Lock,
    ) -> None:
        self._make_rpc = rpc
        self._rpc: Rpc | None = None
        self._sleep = sleep
        self._turn = turn
        self._has_turn = False
        self._stack = AsyncExitStack()

    async def carry_out(self, run: Run[Any, Any], chore: Chore) -> None:
        """Do the chore and go on."""
        match chore:
            case Wait():
                await self._sleep(chore.seconds)
                run.send(None)
            case TakeTurn():
                if not self._has_turn:
                    await self._stack.enter_async_context(self._turn)
                    self._has_turn = True
                run.send(None)
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

    def _connected(self) -> Rpc:
        if self._rpc is None:
            self._rpc = self._make_rpc()
            self._stack.push_async_callback(self._rpc.aclose)
        return self._rpc

    async def close(self) -> None:
        """End the turn, and let go of the connection."""
        await self._stack.aclose()


def _go_on(run: Run[Any, Any], outcome: object) -> None:
    """Called outside the error's handler: what comes next is not its consequence."""
    if isinstance(outcome, Exception):
        run.throw(outcome)
    else:
        run.send(outcome)
