"""The way of a request that costs nothing, as far as the routes tell.

Most requests are of this kind, so next to nothing is wrapped around them: it is noted that a
response begins, and what was read is kept. Should a priced endpoint turn up before that (a router
that cannot be seen, a middleware that rewrites paths), it stumbles over the passage, and the
request begins again as a visit. So only requests pass here that may be repeated: GET without a
body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from mpp_asgi.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Message, Receive, Send

    from mpp_asgi.payment import Payment
    from mpp_asgi.presence import Included
    from mpp_asgi.pricing import Tariff


class UnforeseenPriceError(BaseException):
    """A price turned up where none was foreseen. Like a cancellation it unwinds the application and
    is no error of its."""


class Passage(Presence):
    """What a priced endpoint meets where it should not have been reached; it is its own presence,
    being next to nothing."""

    __slots__ = ("_receive", "_send", "has_answered", "is_blocked", "was_read")

    payment: Payment | None = None

    def __init__(self, receive: Receive, send: Send) -> None:
        self.visit = self
        self._receive = receive
        self._send = send
        self.was_read: list[Message] | None = None
        """What the application read of the request: its server gives that once. There is no body,
        so it is one message as a rule."""
        self.has_answered = False
        """Whether a response began."""
        self.is_blocked = False
        """Whether a price turned up."""

    async def receive(self) -> Message:
        """What the application calls."""
        message = await self._receive()
        if message["type"] == "http.request" and not self.has_answered:
            self.was_read = [*(self.was_read or ()), message]
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """What the application calls."""
        self.has_answered = True
        return self._send(message)

    def end(self) -> None:
        """The request is over: what outlives it keeps this, and with it nothing else."""
        self.visit = None
        self._receive = _never
        self._send = _nowhere

    def read_again(self, receive: Receive) -> Receive:
        """The server's ``receive``, with what was read given once more."""
        ahead = self.was_read
        if ahead is None:
            return receive

        async def receive_again() -> Message:
            return ahead.pop(0) if ahead else await receive()

        return receive_again

    def is_paid(self, tariff: Tariff) -> bool:  # see `presence.Visit`
        return False

    def enter(self, tariff: Tariff) -> bool:
        return False

    async def insist(self, tariff: Tariff) -> Included | None:
        self._block()

    def insist_from_thread(self, tariff: Tariff) -> Included | None:
        self._block()

    def expect(self, tariff: Tariff) -> None:
        self._block()

    def _block(self) -> NoReturn:
        self.is_blocked = True
        raise UnforeseenPriceError


async def _never() -> Message:
    """Nobody speaks any more."""
    return {"type": "http.disconnect"}


async def _nowhere(message: Message) -> None:
    """Nobody listens any more."""
