"""The beginning of a response's body, which is all of it that paying needs.

What a server says in an error is read before the app gets to see it, and what comes before the
answer is read by httpx to its end. A server that never ends it must not hold up the payer for as
long, so both are read within limits. Of the answer nothing is lost by that: it goes on where the
limit was.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

MOST_BYTES: Final = 1 << 16
"""Of a body as it comes, before it is decoded."""

MOST_SECONDS: Final = 5.0
"""In all, and then for as long as the piece takes that is under way, which httpx limits."""


class _Beginning:
    """As much of one response as was read."""

    def __init__(self, response: httpx.Response, clock: Callable[[], float]) -> None:
        self.seen = response
        """The response for whoever decides what it means. Once it was looked at it has been read,
        in part if it is long."""
        self._response = response
        self._clock = clock
        self._until = clock() + MOST_SECONDS
        self._pieces: list[bytes] = []
        self._size = 0
        self._shown = b""

    def _is_enough(self, piece: bytes) -> bool:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size <= MOST_BYTES and self._clock() < self._until:
            return False
        self._shown = b"".join(self._pieces)[:MOST_BYTES]
        try:
            self.seen = self._with_body(self._shown)
        except httpx.DecodingError:  # half of what was compressed may make no sense
            self._shown = b""
            self.seen = self._with_body(b"")
        return True

    def _with_body(self, content: bytes) -> httpx.Response:
        of = self._response
        return httpx.Response(
            of.status_code,
            headers=of.headers,
            content=content,
            request=of.request,
            extensions=of.extensions,
            history=of.history,
        )


class Glance(_Beginning):
    """A look at one response."""

    _rest: _Rejoined | None = None

    def take(self) -> httpx.Response:
        """What is to be seen. The response itself can be read as before."""
        response, stream = self._response, self._response.stream
        if response.is_stream_consumed or not isinstance(stream, httpx.SyncByteStream):
            response.read()
            return response
        pieces = iter(stream)
        try:
            for piece in pieces:
                if self._is_enough(piece):
                    response.stream = self._rest = _Rejoined(self._pieces, pieces, stream)
                    return self.seen
        except httpx.RequestError as error:
            error.request = response.request
            stream.close()
            raise
        stream.close()
        response.stream = httpx.ByteStream(b"".join(self._pieces))
        response.read()
        return response

    def leave(self) -> None:
        """Another request takes the place of this one, so nobody wants the rest."""
        if not self._response.is_stream_consumed and self._rest is None:
            try:
                self.take()
            except httpx.TransportError:
                self._response.stream = httpx.ByteStream(b"")
        if self._rest is not None:
            self._rest.close()
            self._response.stream = httpx.ByteStream(self._shown)


class AsyncGlance(_Beginning):
    """`Glance` in an event loop."""

    _rest: _AsyncRejoined | None = None

    async def take(self) -> httpx.Response:
        """What is to be seen. The response itself can be read as before."""
        response, stream = self._response, self._response.stream
        if response.is_stream_consumed or not isinstance(stream, httpx.AsyncByteStream):
            await response.aread()
            return response
        pieces = aiter(stream)
        try:
            async for piece in pieces:
                if self._is_enough(piece):
                    response.stream = self._rest = _AsyncRejoined(self._pieces, pieces, stream)
                    return self.seen
        except httpx.RequestError as error:
            error.request = response.request
            await stream.aclose()
            raise
        await stream.aclose()
        response.stream = httpx.ByteStream(b"".join(self._pieces))
        await response.aread()
        return response

    async def leave(self) -> None:
        """Another request takes the place of this one, so nobody wants the rest."""
        if not self._response.is_stream_consumed and self._rest is None:
            try:
                await self.take()
            except httpx.TransportError:
                self._response.stream = httpx.ByteStream(b"")
        if self._rest is not None:
            await self._rest.aclose()
            self._response.stream = httpx.ByteStream(self._shown)


class _Rejoined(httpx.SyncByteStream):
    """What was read, and then the rest."""

    def __init__(
        self, begun: list[bytes], rest: Iterator[bytes], stream: httpx.SyncByteStream
    ) -> None:
        self._begun = begun
        self._rest = rest
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._begun
        yield from self._rest

    def close(self) -> None:
        self._stream.close()


class _AsyncRejoined(httpx.AsyncByteStream):
    """`_Rejoined` in an event loop."""

    def __init__(
        self, begun: list[bytes], rest: AsyncIterator[bytes], stream: httpx.AsyncByteStream
    ) -> None:
        self._begun = begun
        self._rest = rest
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._begun:
            yield piece
        async for piece in self._rest:
            yield piece

    async def aclose(self) -> None:
        if isinstance(self._rest, AsyncGenerator):
            await self._rest.aclose()
        await self._stream.aclose()
