"""A network between a store and its Redis server that loses connections with bytes on their way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.redis_server import RedisProcess


class LateNetwork:
    """Passes everything on. Told to `lose` something, it cuts the store off when that is sent, and
    brings it to the server later, when told to `deliver`.

    Args:
        process: the server; the network is reached at ``url``.
    """

    def __init__(self, process: RedisProcess) -> None:
        self._process = process
        self._path = process.directory / "network.sock"
        self._lost: list[bytes] = []
        self._late: list[tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._serving = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        return f"redis+unix://{self._path}"

    def lose(self, *markers: bytes) -> None:
        """Lose the connection on which the first of them is sent, then that of the second …"""
        self._lost.extend(markers)

    @property
    def has_lost_all(self) -> bool:
        """Whatever it was told to lose was sent."""
        return not self._lost

    async def deliver(self) -> None:
        """Bring the server what is late; when it has answered, or does not want it any more."""
        late, self._late = self._late, []
        for data, reader, writer in late:
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                await reader.read(1 << 16)
            writer.close()

    async def __aenter__(self) -> Self:
        server = await asyncio.start_unix_server(self._pass_on, str(self._path))
        await self._serving.enter_async_context(server)
        return self

    async def __aexit__(self, *error: object) -> None:
        for _, _, writer in self._late:
            writer.close()
        await self._serving.aclose()

    async def _pass_on(self, inward: asyncio.StreamReader, outward: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._process.socket))
        answers = asyncio.create_task(_pour(reader, outward))
        try:
            while data := await inward.read(1 << 16):
                if self._lost and self._lost[0] in data:
                    del self._lost[0]
                    answers.cancel()
                    self._late.append((data, reader, writer))
                    return
                writer.write(data)
            writer.close()
        finally:
            answers.cancel()
            outward.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()
