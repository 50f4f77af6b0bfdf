"""Who is being served where a priced endpoint is called: the visit of the request at hand."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpp_asgi.payment import Payment
    from mpp_asgi.pricing import Tariff

log = logging.getLogger("mpp_asgi")

_ROUTERS: Final = ("starlette.routing", "starlette.endpoints", "fastapi.routing")
_given_away: Final[set[str]] = set()


class Visit(Protocol):
    """The request on its way through the application, as a priced endpoint meets it."""

    def is_paid(self, tariff: Tariff) -> bool:
        """Whether the endpoint with this tariff may run now."""
        ...

    def enter(self, tariff: Tariff) -> bool:
        """Let it run, if it is what the request was for: all that comes after it is included."""
        ...

    async def insist(self, tariff: Tariff) -> Included | None:
        """Have the payment made, or raise what turns the request away. Where it is given, what the
        endpoint calls itself runs `inside` this."""
        ...

    def insist_from_thread(self, tariff: Tariff) -> Included | None:
        """As `insist`, from a thread, which waits."""
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


class Included(Presence):
    """What a priced endpoint meets that is called by one that was paid for. It is its own presence,
    as long as the visit lasts."""

    __slots__ = ("_payer",)

    def __init__(self, payer: Visit) -> None:
        self.visit = self
        self._payer: Visit | None = payer

    def end(self) -> None:
        """The visit is over: what outlives it keeps this, and with it nothing else."""
        self.visit = self._payer = None

    @property
    def payment(self) -> Payment | None:
        return None if self._payer is None else self._payer.payment

    def is_paid(self, tariff: Tariff) -> bool:  # see `Visit`
        return True

    def enter(self, tariff: Tariff) -> bool:
        return True

    async def insist(self, tariff: Tariff) -> Included | None:
        return None

    def insist_from_thread(self, tariff: Tariff) -> Included | None:
        return None

    def expect(self, tariff: Tariff) -> None:
        pass


present: ContextVar[Presence | None] = ContextVar("mpp_asgi_visit", default=None)
"""Who is being served where this is asked."""


@contextmanager
def inside(included: Included) -> Iterator[None]:
    """A part of a call that was paid for."""
    entered = present.set(included)
    try:
        yield
    finally:
        present.reset(entered)


def current_visit() -> Visit | None:
    """The visit in which this is called; ``None`` outside of a request."""
    presence = present.get()
    return None if presence is None else presence.visit


def note_free_call(endpoint: object) -> None:
    """Say, once for each endpoint, that it is given away: a router calls it, and there is no
    middleware around the router. A test or a colleague's code that calls the plain function is
    none of this."""
    if present.get() is not None or not _is_routed_here():
        return
    name = f"{getattr(endpoint, '__module__', '')}.{getattr(endpoint, '__qualname__', endpoint)}"
    if name not in _given_away:
        _given_away.add(name)
        log.warning(
            "%s has a price and is served for nothing: its app has no PaymentMiddleware, "
            'app.add_middleware(PaymentMiddleware, network="...")',
            name,
        )


def _is_routed_here() -> bool:
    """Whether a router has called what is being called, or had it called in a thread."""
    if threading.current_thread().name.startswith("AnyIO worker"):
        return True
    frame = sys._getframe()  # noqa: SLF001 # nothing else knows who calls
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") in _ROUTERS:
            return True
    return False
