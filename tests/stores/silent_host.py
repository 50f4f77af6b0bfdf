"""A host that takes connections and says nothing: one that hangs, or a proxy to a dead one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class SilentHost:
    """What `silent_host` gives."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = 0
        """How many connections it got."""
        self.is_asked = asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        self.is_asked.set()
        self._handlers.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def is_left_alone(self) -> None:
        """Returns once all of its connections have ended."""
        await asyncio.gather(*self._handlers)


@contextlib.asynccontextmanager
async def silent_host() -> AsyncIterator[SilentHost]:
    host = SilentHost()
    async with await asyncio.start_server(host.listen, "127.0.0.1", 0) as server:
        host.port = server.sockets[0].getsockname()[1]
        yield host
        await host.is_left_alone()
