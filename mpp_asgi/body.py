"""The request's body on its way to the application: digested, and read ahead where needed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope


_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"})
"""Methods that have a body only if it is announced."""
_ANNOUNCING = frozenset({"1.0", "1.1"})
"""HTTP/2 and later announce a body by sending it, and not every gateway says so."""
_SMALL = 65_536
"""Bytes; what a server reads at once, as a rule."""


class BodyTooLargeError(Exception):
    """The body is larger than a priced route takes."""


class DisconnectedError(Exception):
    """The client went away before its body was complete."""


class RequestBody:
    """Wraps ``receive``. The application reads what it would have read without us.

    A body is digested as it passes through. `read` takes all of it ahead of the application, which
    then gets the very same bytes, small messages joined.
    """

    _digest: hashlib._Hash | None = None
    _size = 0
    _ahead: list[Message] | None = None
    _given = 0
    _ended = False

    def __init__(self, receive: Receive, may_exist: bool) -> None:
        self._receive = receive
        self.disconnected = False
        self.is_complete = not may_exist
        """Whether all of it has passed, or there is none."""

    async def receive(self) -> Message:
        """What the application calls."""
        if self._ahead is not None and self._given < len(self._ahead):
            self._given += 1
            return self._ahead[self._given - 1]
        return await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            body = message.get("body", b"")
            if body:
                if self._digest is None:
                    self._digest = hashlib.sha256()
                self._digest.update(body)
                self._size += len(body)
            if not message.get("more_body", False):
                self._ended = self.is_complete = True
        elif message["type"] == "http.disconnect":
            self.disconnected = True
        return message

    async def read(self, limit: int) -> None:
        """Take the whole body ahead of the application.

        Args:
            limit: bytes.

        Raises:
            BodyTooLargeError: there is more.
            DisconnectedError: there is less than was announced.
        """
        while not self.is_complete:
            message = await self._next()
            if self._ahead is None:
                self._ahead = []
            _keep(self._ahead, message)
            if self.disconnected:
                raise DisconnectedError
            if self._size > limit:
                raise BodyTooLargeError
        for message in self._ahead or ():
            if isinstance(message.get("body"), bytearray):
                message["body"] = bytes(message["body"])

    @property
    def is_abandoned(self) -> bool | None:
        """Whether the client has gone, as far as that is known for nothing; else ``None``."""
        if self.disconnected:
            return True
        # uvicorn's connection says so itself.
        known = getattr(getattr(self._receive, "__self__", None), "disconnected", None)
        return known if isinstance(known, bool) else None

    async def is_gone(self) -> bool:
        """Whether the client has gone, without waiting for it: servers drop what is sent to a
        closed connection in silence."""
        known = self.is_abandoned
        if known is not None:
            return known
        if self.is_complete:
            await self._look_for_disconnect()
        return self.disconnected

    async def _look_for_disconnect(self) -> None:
        was_read = self._ended
        await self._receive_if_ready()
        if not was_read and self._ended:  # that was the body, which nobody had asked for
            await self._receive_if_ready()

    async def _receive_if_ready(self) -> None:
        receiving = asyncio.ensure_future(self._next())
        try:
            await asyncio.sleep(0)
        finally:
            receiving.cancel()  # unless it is done
        if receiving.done() and not receiving.cancelled():
            receiving.exception()  # is the application's to meet, if it receives again

    def digest(self) -> str | None:
        """The RFC 9530 digest of a complete body; ``None`` if there was none."""
        if self._digest is None:
            return None
        return f"sha-256=:{base64.b64encode(self._digest.digest()).decode()}:"

    def replay(self) -> Receive:
        """A ``receive`` for somebody else who reads the body that was read ahead."""
        messages = iter(self._ahead or ())

        async def receive() -> Message:
            if self._size and self._ahead is None:
                raise RuntimeError(
                    "the body was read before its price was asked, since the route was hidden: "
                    "add PaymentMiddleware to the application that has the route"
                )
            return next(messages, {"type": "http.request", "body": b"", "more_body": False})

        return receive


def _keep(messages: list[Message], message: Message) -> None:
    """Keep a message of a body, together with the one before if both are small: cut into messages
    of next to nothing, a body would take many times its size."""
    last = messages[-1] if messages else message
    before, body = last.get("body", b""), message.get("body", b"")
    are_small = len(before) + len(body) <= _SMALL
    if last is message or message["type"] != "http.request" or not are_small:
        messages.append(message)
        return
    if not isinstance(before, bytearray):
        before = bytearray(before)
    before += body
    more = message.get("more_body", False)
    messages[-1] = {"type": "http.request", "body": before, "more_body": more}


def is_plain_get(scope: Scope) -> bool:
    """Whether this is a GET request without a body."""
    if scope.get("method") != "GET" or scope.get("http_version", "1.1") not in _ANNOUNCING:
        return False
    for name, value in scope["headers"]:
        if (name == b"content-length" and value != b"0") or name == b"transfer-encoding":
            return False
    return True


def may_have_body(scope: Scope, is_announced: bool) -> bool:
    """Whether a request has a body, or may have one without announcing it."""
    if scope["type"] != "http":
        return False
    if scope["method"] not in _BODILESS or scope.get("http_version", "1.1") not in _ANNOUNCING:
        return True
    return is_announced
