"""The connections of a `PostgresStore`, bounded, on a thread with an event loop of their own.

So the store belongs to no event loop, and a caller that is cancelled disturbs no statement: its
call is made whole or, still waiting for its turn, not at all. The caller goes on when that is over,
so that what it does about the same record then comes later. Only the opening of a store, which is
about no record, is stopped in its midst.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.postgres.connection import (
    FAILURES,
    is_reusable,
    is_server_lost,
    is_transient,
    reason,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from mpp_asgi.stores.postgres.connection import Connection

_T = TypeVar("_T")

MOST_WAITING: Final = 4096
"""Calls under way or waiting for a connection; further ones fail at once."""
ATTEMPTS: Final = 4
"""At a statement that the server undid because of another one."""
GOODBYE: Final = 1.0
"""Seconds for a connection to end politely."""


@dataclass(slots=True, eq=False)
class _Job:
    """One caller's work, and where the caller waits for what comes of it."""

    work: Callable[[Connection], Awaitable[Any]]
    within: float
    is_stoppable: bool
    """Even in its midst."""
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    # For the thread only:
    may_stop: asyncio.Task[Any] | None = None
    """What serves it, as long as that may still be stopped."""
    is_dropped: bool = False
    """Nobody wants it any more."""


class Connections:
    """Made for one time of being open; its thread ends with `close` or `abandon`.

    Args:
        connect: makes one more connection.
        most: connections at a time.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, most: int) -> None:
        self._connect = connect
        self._process = os.getpid()
        self._handing_over = threading.Lock()  # for the next three
        self._is_closing = False
        self._has_ended = False
        self._closers: list[tuple[asyncio.Future[None], asyncio.AbstractEventLoop]] = []
        # For the thread only.
        self._loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_shutting_down = False
        threading.Thread(target=self._run, name="mpp-postgres", daemon=True).start()

    @property
    def are_inherited(self) -> bool:
        """This process was forked since: the thread is not in it, and all else is its parent's."""
        return os.getpid() != self._process

    async def call(
        self,
        work: Callable[[Connection], Awaitable[_T]],
        *,
        within: float,
        stoppable: bool = False,
    ) -> _T:
        """Do the work on a connection; it is one statement or one transaction, and may be done
        again if the server undid it.

        Args:
            work: is given a connection that is its own until it ends.
            within: seconds for all of it, waiting included.
            stoppable: a caller that is cancelled stops it wherever it is, so that nobody knows
                whether it happened.

        Raises:
            StoreUnavailableError: it failed; one sentence.
        """
        if self.are_inherited:
            raise StoreUnavailableError(
                "The PostgreSQL store was opened before this process was forked: open it in each."
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        job = _Job(work, within, stoppable, future, loop)
        with self._handing_over:
            if self._is_closing:
                raise StoreUnavailableError("The PostgreSQL store is not open.")
            self._loop.call_soon_threadsafe(self._begin, job)
        await self._end_of(job)
        return future.result()

    async def close(self) -> None:
        """Wait for what is under way, then let go of every connection, even if cancelled."""
        if self.are_inherited:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._handing_over:
            if self._has_ended:
                return
            self._closers.append((future, loop))
            if not self._is_closing:
                self._is_closing = True
                self._loop.call_soon_threadsafe(self._end)
        await future

    def abandon(self) -> None:
        """As `close`, but waits for nothing. A finalizer calls it, in any thread and amid anything,
        so it takes no lock: that may be held right there."""
        if not self.are_inherited:
            with contextlib.suppress(RuntimeError):  # they have ended
                self._loop.call_soon_threadsafe(self._end)

    async def _end_of(self, job: _Job) -> None:
        cancelled: asyncio.CancelledError | None = None
        while not job.future.done():
            try:
                await asyncio.wait([job.future])
            except asyncio.CancelledError as error:
                if cancelled is None:
                    with self._handing_over:
                        if not self._has_ended:
                            self._loop.call_soon_threadsafe(_drop, job)
                cancelled = error
        if cancelled is not None:
            if not job.future.cancelled():
                job.future.exception()  # nobody else looks at it
            raise cancelled

    # On the thread:

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            with self._handing_over:
                self._has_ended = True
            self._loop.close()  # nobody calls it any more
            for future, loop in self._closers:
                _tell(loop, future, None)

    def _begin(self, job: _Job) -> None:
        if len(self._tasks) >= MOST_WAITING:
            _tell(job.loop, job.future, _unavailable("too much is waiting for it"))
        else:
            self._start(self._serve(job))

    def _end(self) -> None:
        with self._handing_over:
            self._is_closing = True
        if not self._is_shutting_down:
            self._is_shutting_down = True
            self._start(self._shut_down())

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, job: _Job) -> None:
        outcome: Any
        if job.is_dropped:
            _tell(job.loop, job.future, asyncio.CancelledError())
            return
        last_start = self._loop.time() + job.within / 2
        try:
            async with asyncio.timeout(job.within):
                job.may_stop = asyncio.current_task()
                async with asyncio.timeout_at(last_start):
                    await self._slots.acquire()
                if not job.is_stoppable:
                    job.may_stop = None
                try:
                    outcome = await self._attempt(job.work, last_start)
                finally:
                    self._slots.release()
        except (StoreUnavailableError, asyncio.CancelledError) as error:
            outcome = error
        except FAILURES as error:
            # No cause: what the driver says may hold addresses, names and values.
            outcome = _unavailable(reason(error))
        except Exception as error:  # noqa: BLE001 # whatever it is, who waits has to be told
            outcome = error
        _tell(job.loop, job.future, outcome)

    async def _attempt(self, work: Callable[[Connection], Awaitable[_T]], last_start: float) -> _T:
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._use(work, last_start)
            except FAILURES as error:
                if not is_transient(error) or self._loop.time() > last_start:
                    raise
        return await self._use(work, last_start)

    async def _use(self, work: Callable[[Connection], Awaitable[_T]], last_start: float) -> _T:
        connection = await self._take()
        if self._loop.time() > last_start:  # it took long to make, and is there for the next call
            self._idle.append(connection)
            raise TimeoutError
        try:
            done = await work(connection)
        except BaseException as error:
            if is_reusable(connection, error):
                self._idle.append(connection)
            else:
                self._start(self._part_with(connection))
                if is_server_lost(connection, error):
                    self._part_with_idle()
            raise
        self._idle.append(connection)
        return done

    async def _take(self) -> Connection:
        """The one that was used last, so that few are open where few are needed at a time."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    def _part_with_idle(self) -> None:
        """They led to the same server, and each of them would cost a call all its time to find
        out."""
        idle, self._idle = self._idle, []
        for connection in idle:
            self._start(self._part_with(connection))

    async def _part_with(self, connection: Connection) -> None:
        """Politely, since that waits until the server was told to stop what it is doing for us."""
        try:
            with contextlib.suppress(*FAILURES):
                await connection.close(timeout=GOODBYE)
        finally:
            connection.terminate()

    async def _shut_down(self) -> None:
        this = asyncio.current_task()
        while others := [task for task in self._tasks if task is not this]:
            await asyncio.wait(others)
        for connection in self._idle:
            await self._part_with(connection)
        self._loop.stop()


def _drop(job: _Job) -> None:
    """Unless it has begun and has to go on."""
    job.is_dropped = True
    if job.may_stop is not None:
        job.may_stop.cancel()


def _unavailable(why: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"The PostgreSQL store failed: {why}.")


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], outcome: Any) -> None:
    """From another thread; a loop that has ended waits for nothing any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.cancelled():
        return
    if isinstance(outcome, asyncio.CancelledError):
        future.cancel()
    elif isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
