"""When to show the same credential again, and after how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

_NOT_DONE: Final = frozenset({409, 425, 429, 503})
"""The server did not get to the handler, and says so."""

_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""Idempotent methods (RFC 9110, section 9.2.2)."""


MOST_ATTEMPTS: Final = 20
"""httpx counts each as a redirect, and follows as many before it gives up."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try again.

    Raises:
        ValueError: a number makes no sense.
    """

    attempts: int = 5
    """How many times one credential is shown for one request, at most: 1 to `MOST_ATTEMPTS`."""
    longest_wait: float = 30.0
    """Seconds between two of them, at most."""

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= MOST_ATTEMPTS:
            raise ValueError(f"attempts must be from 1 to {MOST_ATTEMPTS}, not {self.attempts}.")
        if not 0 <= self.longest_wait < math.inf:
            raise ValueError(f"longest_wait must be seconds, not {self.longest_wait}.")

    def delay(self, response: httpx.Response, attempt: int, clock: Callable[[], float]) -> float:
        """Seconds to wait after the given attempt (1, 2, …): what the server asks for, or 1, 2,
        4, …"""
        asked = _retry_after(response.headers.get("Retry-After", ""), clock)
        return min(2.0 ** (attempt - 1) if asked is None else asked, self.longest_wait)


def failed_at_the_server(response: httpx.Response) -> bool:
    """The answer is about the server's state and not about the request: what became of the
    payment is open."""
    return response.is_server_error or response.status_code in _NOT_DONE


def may_repeat(request: httpx.Request, response: httpx.Response) -> bool:
    """Sending the request once more cannot do its work twice."""
    return response.status_code in _NOT_DONE or request.method in _REPEATABLE


def _retry_after(value: str, clock: Callable[[], float]) -> float | None:
    """Seconds, from either form of the field (RFC 9110, section 10.2.3)."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:  # "-0000"
            moment = moment.replace(tzinfo=UTC)
        return max(moment.timestamp() - clock(), 0.0)
    except (ValueError, OverflowError):  # there is no such day, or none that can be counted with
        return None
