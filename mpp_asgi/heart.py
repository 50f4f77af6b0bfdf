"""Signs of life: how processes that share a store know whose charges are at work.

A process that is silent for `LIFE_SECONDS` counts as dead, and its charges may be taken over. It
may not be dead at all: its event loop was blocked, its store out of reach, its clock set. So it
does not trust a silence of its own either: it is *sure* for `SURE_SECONDS` after a heartbeat, and
from then on lets nothing out before it has made sure again (`mpp_asgi.turns.Turn.hold`).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING

from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger("mpp_asgi.charges")

HEARTBEAT_SECONDS = 5
"""How often a process says that it lives."""
SURE_SECONDS = 10
"""How long after its last heartbeat a process is sure that nobody has taken its place: one beat may
fail, and what is checked has the rest of its life to happen in."""
LIFE_SECONDS = 15
"""How long after its last heartbeat a process counts as alive; less than others are patient."""


STALE_SECONDS = 60
"""How long another process may take from looking at its clock to having the store judge by that."""


class Heart:
    """Beats while it is needed, on the event loop that needs it, lifespan events or not.

    A timer of the loop keeps it going, not a task: a loop that ends has nothing to cancel.

    Args:
        clock: Unix seconds.
        say: tells the other processes until when this one lives, in Unix seconds.
        is_needed: whether anything depends on it still; asked before each beat.
        chores: what else is done now and then; may take longer than from beat to beat.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        say: Callable[[int], Awaitable[None]],
        is_needed: Callable[[], bool],
        chores: Callable[[], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._say = say
        self._is_needed = is_needed
        self._chores = chores
        self._beat_at = -math.inf
        self._word = 0
        """The last one: until when this process lives, Unix seconds."""
        self._word_stands_until = -math.inf
        self.silences = 0
        """How often it was not sure until it beat again: what was taken then is not given back."""
        self._is_kept = False
        # One at a time: a word that was long on its way would take back a later one.
        self._saying = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None

    def is_sure(self) -> bool:
        """Whether no other process can have taken this one for dead. A clock that was set back
        makes it unsure too: what was said before is in the future now."""
        return 0 <= self._clock() - self._beat_at < SURE_SECONDS

    def was_sure_since(self, silences: int) -> bool:
        """Whether it is sure, and has been since it had been silent so often."""
        return silences == self.silences and 0 <= self._clock() - self._beat_at < SURE_SECONDS

    def is_beating(self) -> bool:
        """Whether it beats, where this is called."""
        return self._timer is not None and self._loop is asyncio.get_running_loop()

    def is_up(self) -> bool:
        """Whether it beats here, and is sure."""
        return (
            0 <= self._clock() - self._beat_at < SURE_SECONDS
            and self._timer is not None
            and self._loop is asyncio.get_running_loop()
        )

    async def beat(self) -> None:
        """Say that this process lives.

        Raises:
            StoreUnavailableError: nobody heard it, as far as we know.
        """
        async with self._saying:
            await self._beat()

    async def make_sure(self) -> None:
        """Beat, unless it is sure, if only since a moment ago.

        Raises:
            StoreUnavailableError: as `beat`.
        """
        async with self._saying:
            if not self.is_sure():
                await self._beat()

    async def _beat(self) -> None:
        now = self._clock()
        if now < self._beat_at:  # it was set back: even a word that seems to fail may be the last
            self._beat_at = -math.inf
            # Whoever looked at the clock before that must not find us dead by it.
            self._word_stands_until = now + STALE_SECONDS
        word = int(now) + LIFE_SECONDS
        if now < self._word_stands_until:
            word = max(word, self._word)
        await self._say(word)
        self._word = word
        if not self.is_sure():
            self.silences += 1
        self._beat_at = now

    async def start(self) -> None:
        """Be sure, and beat from now on for as long as it is needed.

        Raises:
            StoreUnavailableError: as `beat`.
        """
        if self.is_beating():
            await self.make_sure()
        else:
            self._set_timer()
            await self.beat()

    def keep(self) -> None:
        """Beat from now on until `stop`, whether it is needed or not."""
        self._is_kept = True
        self._fire()

    async def stop(self) -> None:
        """Beat no more. The process counts as alive until its time is over, or `bid_farewell`."""
        self._is_kept = False
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        for task in (self._beating, self._tidying):
            if task is not None and _is_under_way(task):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def bid_farewell(self) -> None:
        """Have others take over what is left at once: nothing is under way here any more."""
        if self._beat_at > -math.inf:
            self._beat_at = -math.inf
            await self._say(int(self._clock()))

    def _set_timer(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._saying = loop, asyncio.Lock()
        # Not in the context of the request that happens to be the first.
        self._timer = loop.call_later(
            HEARTBEAT_SECONDS, self._fire_if_needed, context=contextvars.Context()
        )

    def _fire_if_needed(self) -> None:
        if not self.is_beating():
            return  # it goes on in another loop
        if self._is_kept or self._is_needed():
            self._fire()
        else:
            self._timer = None

    def _fire(self) -> None:
        self._set_timer()
        if self._beating is None or not _is_under_way(self._beating):
            self._beating = asyncio.create_task(_try(self.beat, "heartbeat missed"))
        if self._tidying is None or not _is_under_way(self._tidying):
            self._tidying = asyncio.create_task(_try(self._chores, "records not tidied"))


async def _try(work: Callable[[], Awaitable[None]], otherwise: str) -> None:
    try:
        await work()
    except StoreUnavailableError as error:
        log.warning("store unavailable, %s: %s", otherwise, error)


def _is_under_way(task: asyncio.Task[None]) -> bool:
    return not task.done() and task.get_loop() is asyncio.get_running_loop()
