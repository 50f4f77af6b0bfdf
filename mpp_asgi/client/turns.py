"""Whose turn it is to use the account's sequence number.

A payer may be used by threads and by event loops at once, so the queue belongs to none of them:
whoever waits says how to be woken, and a closed loop is passed over. A turn lasts for a limited
time. It would else be for a server to say for how long nobody else is paid.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TURN_SECONDS: Final = 30.0
"""After so long the next in the queue goes on. An honest server has submitted by then; if it has
not, the ledger takes one of the two transactions and refuses the other, and neither is paid twice.
"""


class Turns:
    """One at a time, first come, first served. Nothing here waits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._holder: object = None
        self._since = 0.0
        self._queue: dict[object, Callable[[], None]] = {}

    def ask(self, who: object, wake: Callable[[], None]) -> float | None:
        """``None`` if it is the turn of whoever asks. Else it is in the queue, and may wait until
        ``wake`` is called, for so many seconds at most, and then asks again."""
        with self._lock:
            if self._holder is who:
                return None
            self._queue[who] = wake  # in the place that it has, if it asks again
            now = self._clock()
            self._since = min(self._since, now)  # the clock may have been set back
            left = self._since + TURN_SECONDS - now
            if self._holder is None or left <= 0:
                self._next()
            return None if self._holder is who else max(left, 0.0)

    def has(self, who: object) -> bool:
        """It is its turn."""
        with self._lock:
            return self._holder is who

    def leave(self, who: object) -> None:
        """The turn is over, or the wait for it. Neither need have begun."""
        with self._lock:
            self._queue.pop(who, None)
            if self._holder is who:
                self._next()

    def _next(self) -> None:
        self._holder = None
        while self._queue and self._holder is None:
            who = next(iter(self._queue))
            wake = self._queue.pop(who)
            try:
                wake()
            except RuntimeError:  # its event loop is closed
                continue
            self._holder, self._since = who, self._clock()
