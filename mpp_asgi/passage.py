"""The way of a request that costs nothing, as far as the routes tell.

Most requests are of this kind, so next to nothing is wrapped around them: it is noted that a
response begins. Should a priced endpoint turn up before that (a router that cannot be seen, a
middleware that rewrites paths), it stumbles over the passage, and the request begins again as a
visit. So only requests pass here that may be repeated: GET without a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from mpp_asgi.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Message, Send

    from mpp_asgi.payment import Payment
    from mpp_asgi.presence import Included
    from mpp_asgi.pricing import Tariff


class UnforeseenPriceError(BaseException):
    """A price turned up where none was foreseen. Like a cancellation it unwinds the application and
    is no error of its."""


class Passage(Presence):
    """What a priced endpoint meets where it should not have been reached; it is its own presence,
    being next to nothing."""

    __slots__ = ("_send", "has_answered", "is_blocked")

    payment: Payment | None = None

    def __init__(self, send: Send) -> None:
        self.visit = self
        self._send = send
        self.has_answered = False
        """Whether a response began."""
        self.is_blocked = False
        """Whether a price turned up."""

    def send(self, message: Message) -> Awaitable[None]:
        """What the application calls."""
        self.has_answered = True
        return self._send(message)

    def end(self) -> None:
        """The request is over: what outlives it keeps this, and with it nothing else."""
        self.visit = None
        self._send = _nowhere

    def is_paid(self, tariff: Tariff) -> bool:  # see `presence.Visit`
        return False

    def enter(self, tariff: Tariff) -> bool:
        return False

    async def insist(self, tariff: Tariff) -> Included | None:
        self._block()

    def expect(self, tariff: Tariff) -> None:
        self._block()

    def _block(self) -> NoReturn:
        self.is_blocked = True
        raise UnforeseenPriceError


async def _nowhere(message: Message) -> None:
    """Nobody listens any more."""
