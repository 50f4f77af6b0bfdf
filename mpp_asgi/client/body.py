"""A paid body that breaks off was not delivered: the payment is to be shown again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from mpp_asgi.client.book import Owed


def watch_body(response: httpx.Response, owed: Owed, lost: Callable[[Owed], None]) -> None:
    """Call ``lost`` if reading the response's body fails."""
    stream = response.stream
    if isinstance(stream, httpx.AsyncByteStream):
        response.stream = _WatchedAsync(stream, owed, lost)
    elif isinstance(stream, httpx.SyncByteStream):
        response.stream = _WatchedSync(stream, owed, lost)


class _WatchedSync(httpx.SyncByteStream):
    def __init__(
        self, stream: httpx.SyncByteStream, owed: Owed, lost: Callable[[Owed], None]
    ) -> None:
        self._stream = stream
        self._owed = owed
        self._lost = lost

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except GeneratorExit:  # the reader has had enough
            raise
        except BaseException:  # whatever else breaks it off, be it the end of the thread
            self._lost(self._owed)
            raise

    def close(self) -> None:
        self._stream.close()


class _WatchedAsync(httpx.AsyncByteStream):
    def __init__(
        self, stream: httpx.AsyncByteStream, owed: Owed, lost: Callable[[Owed], None]
    ) -> None:
        self._stream = stream
        self._owed = owed
        self._lost = lost

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except GeneratorExit:  # the reader has had enough
            raise
        except BaseException:  # whatever else breaks it off, be it the end of the task
            self._lost(self._owed)
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()
