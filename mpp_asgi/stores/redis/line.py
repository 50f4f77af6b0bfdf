"""A thread that speaks with the server, and calls that share its round trips.

Whatever is asked for while a round trip is under way goes in the next one, so that a busy process
waits for the network, and the server for its disk, once for all who wait. The connection belongs to
the thread's own event loop: callers come from any loop, end with it or are cancelled, and it is
never left in the midst of an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from redis.exceptions import RedisError

from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.redis.connection import reason

if TYPE_CHECKING:
    from mpp_asgi.stores.redis.connection import Command, RedisConnection
    from mpp_asgi.stores.redis.scripts import Call

_T = TypeVar("_T")

log = logging.getLogger("mpp_asgi.stores")

MOST_TOGETHER: Final = 256
"""Calls in one round trip: it bounds how long the first of them waits for the last."""

MOST_BYTES: Final = 1 << 20
"""What they may hold together, likewise; a call that holds more goes alone."""


MOST_WAITING: Final = 4096
"""Calls that wait for their turn; further ones fail at once."""


class _Asked(NamedTuple):
    """What somebody asks for, and where and until when they wait for the answer."""

    command: Command
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    until: float
    """By the clock of the thread's loop."""


class RedisLine:
    """Asks the server from a thread of its own, from when it is made until `close`.

    Args:
        connection: how; nobody else may use it.
        timeout: seconds for one call, with all its waiting.
    """

    def __init__(self, connection: RedisConnection, *, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._process = os.getpid()
        self._waiting: deque[_Asked] = deque()
        self._lock = threading.Lock()  # for the next three
        self._woken = False
        self._closing = False
        self._closed = False
        self._ended: Future[None] = Future()
        self._loop = asyncio.new_event_loop()
        self._awake = asyncio.Event()
        threading.Thread(target=self._run, name="mpp-redis", daemon=True).start()

    @property
    def is_anothers(self) -> bool:
        """This process was forked: the thread has stayed behind, and with it the connection."""
        return os.getpid() != self._process

    async def ask(self, call: Call[_T], identity: str) -> _T:
        """Have a call done and wait until it is.

        A caller that is cancelled before that was sent has left nothing to do; later it is done
        whole.

        Raises:
            StoreUnavailableError: the line is closed, too many wait, or the server failed. It may
                have been done.
        """
        command = self._connection.command(call, identity)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:
            if self._closed:
                raise StoreUnavailableError("The Redis store is not open.")
            if len(self._waiting) >= MOST_WAITING:
                raise _unavailable("too much is waiting for it")
            until = self._loop.time() + self._timeout
            self._waiting.append(_Asked(command, future, loop, until))
            self._wake()
        return call.read(await future)

    async def close(self) -> None:
        """Answer whoever waits, then end. Goes on if it is cancelled."""
        with self._lock:
            self._closing = True
            if not self._closed:
                self._wake()
        await asyncio.shield(asyncio.wrap_future(self._ended))

    def abandon(self) -> None:
        """As `close`, for a finalizer: waits for nothing and takes no lock, as it is called in the
        midst of anything, be it in a thread that holds that lock."""
        self._closing = True
        if not self.is_anothers:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._awake.set)

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._awake.set)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()
            self._ended.set_result(None)

    async def _serve(self) -> None:
        while True:
            with self._lock:
                together = self._next()
                self._closed = self._closing and not together
                if not together:
                    self._woken = False
                    self._awake.clear()
            if self._closed:
                break
            if together:
                await self._trip(together)
            else:
                await self._awake.wait()
        await self._connection.drop()

    def _next(self) -> list[_Asked]:
        """Who shares the next round trip."""
        together: list[_Asked] = []
        size = 0
        while self._waiting and len(together) < MOST_TOGETHER:
            size += self._waiting[0].command.size
            if together and size > MOST_BYTES:
                break
            together.append(self._waiting.popleft())
        return together

    async def _trip(self, together: list[_Asked]) -> None:
        # Whoever has waited for half their time is told now, and the others leave the server half
        # of theirs: those that queue behind a server that hangs do not each wait for it in turn.
        last_start = self._loop.time() + self._timeout / 2
        late = [asked for asked in together if asked.until < last_start]
        _tell_all([(asked, _fault(TimeoutError())) for asked in late])
        wanted = [
            asked
            for asked in together
            if asked.until >= last_start and not asked.future.cancelled()
        ]
        if wanted:
            _tell_all(list(zip(wanted, await self._answers(wanted), strict=True)))

    async def _answers(self, wanted: list[_Asked]) -> list[Any]:
        """To each its own, or a `StoreUnavailableError`."""
        answers: list[Any]
        try:
            async with asyncio.timeout_at(wanted[0].until):  # who has waited for longest
                answers = await self._connection.ask([asked.command for asked in wanted])
        except (RedisError, OSError) as error:
            answers = [error] * len(wanted)
        except Exception as error:  # noqa: BLE001 # whatever it is, those who wait have to be told
            answers = [error] * len(wanted)
            log.error("The Redis store failed unexpectedly: %s.", type(error).__name__)
        return [_fault(found) if isinstance(found, Exception) else found for found in answers]


def _fault(error: Exception) -> StoreUnavailableError:
    # Without its cause: what the driver says names the server, and may hold parts of a command.
    return _unavailable(reason(error))


def _unavailable(why: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"The Redis store failed: {why}.")


def _tell_all(outcomes: list[tuple[_Asked, Any]]) -> None:
    for loop in {asked.loop for asked, _ in outcomes}:
        theirs = [outcome for outcome in outcomes if outcome[0].loop is loop]
        with contextlib.suppress(RuntimeError):  # it has ended, with all who waited
            loop.call_soon_threadsafe(_tell, theirs)


def _tell(outcomes: list[tuple[_Asked, Any]]) -> None:
    for asked, outcome in outcomes:
        if asked.future.cancelled():
            continue
        if isinstance(outcome, StoreUnavailableError):
            asked.future.set_exception(outcome)
        else:
            asked.future.set_result(outcome)
