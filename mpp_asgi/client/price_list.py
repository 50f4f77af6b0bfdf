"""What is known of a server's prices, so that a voucher can be sent without asking first.

A challenge of a session is good until it expires, for every request that costs what it says. So
the last one is kept for each route. A path that was never asked for is taken to cost what others
in its directory cost: ``/forecast/oslo`` what ``/forecast/paris`` did, but nothing is guessed at
the root. A wrong guess costs a round trip, and nothing else.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from mpp_asgi.client.connection import origin_text

if TYPE_CHECKING:
    import httpx

    from mpp_asgi.protocol import Challenge

MOST_ROUTES: Final = 4_096
"""Routes that are remembered, of all servers together."""


class Route(NamedTuple):
    """Where a price holds: whatever the query."""

    origin: str
    method: str
    path: str

    @classmethod
    def of(cls, method: str, url: httpx.URL) -> Route:
        return cls(origin_text(url), method, url.path)

    @property
    def directory(self) -> Route | None:
        """The route of all its siblings; ``None`` at the root."""
        parent = self.path[: self.path.rfind("/") + 1]
        return None if parent in {"", "/"} else self._replace(path=parent + "*")


class PriceList:
    """Safe to use from several threads. Lives as long as its process: a price is asked again
    sooner than it is written down."""

    def __init__(self) -> None:
        self._challenges: OrderedDict[Route, Challenge | None] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, method: str, url: httpx.URL, challenge: Challenge) -> None:
        """Such a request costs what the challenge says."""
        route = Route.of(method, url)
        with self._lock:
            self._enter(route, challenge)
            if (directory := route.directory) is not None:
                self._enter(directory, challenge)

    def learn_free(self, method: str, url: httpx.URL) -> None:
        """Such a request costs nothing, or nothing that is paid by session."""
        with self._lock:
            self._enter(Route.of(method, url), None)

    def challenge(self, method: str, url: httpx.URL) -> Challenge | None:
        """What such a request probably costs; ``None``: nothing, or not known."""
        route = Route.of(method, url)
        with self._lock:
            if route in self._challenges:
                return self._challenges[route]
            directory = route.directory
            return None if directory is None else self._challenges.get(directory)

    def knows(self, method: str, url: httpx.URL) -> bool:
        """The price is that of this very path, and no guess."""
        with self._lock:
            return self._challenges.get(Route.of(method, url)) is not None

    def _enter(self, route: Route, challenge: Challenge | None) -> None:
        self._challenges[route] = challenge
        self._challenges.move_to_end(route)
        if len(self._challenges) > MOST_ROUTES:
            self._challenges.popitem(last=False)
