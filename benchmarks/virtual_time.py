"""Time that passes only when nothing else can be done, so that what is counted by it is exact."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

START = 1_790_000_000
_STEPS = 200
"""Turns of the event loop in which everything that needs no time gets done."""


class VirtualTime:
    """A clock (Unix seconds) and the sleeps by it."""

    def __init__(self) -> None:
        self.now = float(START)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """As `asyncio.sleep`."""
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), woken))
        await woken

    async def until(self, work: Awaitable[T]) -> T:
        """Have the work done, and let as much time pass as it takes.

        Raises:
            RuntimeError: nobody sleeps, and it is not done.
        """
        task = asyncio.ensure_future(work)
        while True:
            for _ in range(_STEPS):
                if task.done():
                    return task.result()
                await asyncio.sleep(0)
            self._wake_next()

    def _wake_next(self) -> None:
        while self._sleepers:
            at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self.now = max(self.now, at)
                woken.set_result(None)
                return
        raise RuntimeError("everybody waits, and for nothing that time would bring")
