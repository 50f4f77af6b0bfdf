"""Work that is done again and again while a process serves, with lifespan events or without."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CRASH_SECONDS: Final = 10.0
"""The pause after an error that nobody foresaw."""


class Clockwork:
    """Does a piece of work again and again, one at a time, on the event loop it was started on.

    A timer of the loop keeps it going, not a task: a loop that ends while nothing is under way has
    nothing to cancel.

    Args:
        work: gives the seconds until it is to be done again.
    """

    def __init__(self, work: Callable[[], Awaitable[float]]) -> None:
        self._work = work
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_woken = False

    def start(self) -> None:
        """Begin at once, unless it has begun on this loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._task = loop, None
            self._set_timer(0)

    def wake(self) -> None:
        """Have the work done now, or once more after what is under way."""
        if self._loop is not asyncio.get_running_loop():
            self.start()
        elif self._task is not None:
            self._is_woken = True
        else:
            self._set_timer(0)

    async def stop(self, patience_seconds: float) -> None:
        """Begin no more, and end what is under way, by force after that many seconds."""
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None
        if task is None or self._loop is not asyncio.get_running_loop():
            return
        await asyncio.wait([task], timeout=patience_seconds)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Not in the context of the request that happens to be the first.
        self._timer = asyncio.get_running_loop().call_later(
            max(0.0, seconds), self._fire, context=contextvars.Context()
        )

    def _fire(self) -> None:
        if self._loop is asyncio.get_running_loop():  # else it goes on in another
            self._task = asyncio.create_task(self._do())

    async def _do(self) -> None:
        self._is_woken, pause = False, CRASH_SECONDS
        try:
            pause = await self._work()
        finally:  # an error is the event loop's to tell, and no reason to do nothing from now on
            if self._task is asyncio.current_task():
                self._task = None
                self._set_timer(0 if self._is_woken else pause)
