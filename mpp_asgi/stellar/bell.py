"""Word of what comes into a channel, for whoever in this process waits for it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


class Bell:
    """Rings for channels.

    Args:
        sleep: as `asyncio.sleep`.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._listening: dict[str, set[asyncio.Event]] = {}

    def ring(self, channel_id: str) -> None:
        """Something has come into the channel."""
        if self._listening:
            for rung in self._listening.get(channel_id, ()):
                rung.set()

    @contextmanager
    def listening(self, channel_id: str) -> Iterator[Listener]:
        """Miss nothing that rings from now on."""
        rung = asyncio.Event()
        self._listening.setdefault(channel_id, set()).add(rung)
        try:
            yield Listener(rung, self._sleep)
        finally:
            others = self._listening[channel_id]
            others.discard(rung)
            if not others:
                del self._listening[channel_id]


class Listener:
    """Somebody who waits for one channel."""

    def __init__(self, rung: asyncio.Event, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._rung = rung
        self._sleep = sleep

    async def wait(self, seconds: float) -> None:
        """Until it rings, or has rung since the last time, or so much time has passed."""
        ring = asyncio.ensure_future(self._rung.wait())
        nap = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait((ring, nap), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ring.cancel()
            nap.cancel()
            # Not one by one: whoever is cancelled in this moment could not tell it from theirs.
            await asyncio.wait((ring, nap))
            self._rung.clear()
