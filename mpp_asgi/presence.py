"""Who is being served where a priced endpoint is called: the visit of the request at hand."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mpp_asgi.payment import Payment
    from mpp_asgi.pricing import Tariff


class Visit(Protocol):
    """The request on its way through the application, as a priced endpoint meets it."""

    def is_paid(self, tariff: Tariff) -> bool:
        """Whether the endpoint with this tariff may run now."""
        ...

    def enter(self, tariff: Tariff) -> bool:
        """Let it run, if it may."""
        ...

    async def insist(self, tariff: Tariff) -> None:
        """Have the payment made, or raise what turns the request away."""
        ...

    def expect(self, tariff: Tariff) -> None:
        """A stream with this tariff was made: it insists when it begins, which is when the
        response has begun, so the response has to wait."""
        ...

    @property
    def payment(self) -> Payment | None:
        """What was paid; ``None`` if nothing was, or not yet."""
        ...


class Presence:
    """A visit, for as long as it lasts.

    Contexts are copied by what outlives a request (a server's keep-alive timer, a task), so a
    context holds this and not the visit: else every idle connection would keep the last request it
    carried with all that came of it, and the garbage collector would go over it again and again.
    """

    __slots__ = ("visit",)

    visit: Visit | None

    def __init__(self, visit: Visit) -> None:
        self.visit = visit


present: ContextVar[Presence | None] = ContextVar("mpp_asgi_visit", default=None)
"""Who is being served where this is asked."""


def current_visit() -> Visit | None:
    """The visit in which this is called; ``None`` outside of a request."""
    presence = present.get()
    return None if presence is None else presence.visit
