"""Writes that share a commit: a commit waits for the disk, and one wait is enough for all who wait.

Whatever is asked for while a commit is under way is done in the next one, so that a busy process
commits as often as the disk allows and a quiet one at once. Each piece of work is a savepoint of
its own: what one does wrong undoes nothing of the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.sqlite.file import LockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")

MOST_TOGETHER: Final = 256
"""Pieces of work in one transaction: it bounds how long other processes wait for theirs."""

MOST_WAITING: Final = 4096
"""Pieces of work that wait for the thread; further ones fail at once."""


class _Job(NamedTuple):
    """One caller's work, and where the caller waits for what comes of it."""

    work: Callable[[sqlite3.Connection], Any]
    is_forced: bool | None
    """Whether it waits for the disk; ``None``: it only reads."""
    until: float
    """When it has waited too long, if it has not begun."""
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class _Outcome(NamedTuple):
    job: _Job
    value: Any
    error: BaseException | None


class SharedCommits:
    """Collects work on any event loop and does it on the thread of the connection: what writes in
    batches, what reads piece by piece.

    Args:
        run_in_thread: has a function called on that thread, soon.
        transact: does work in one transaction there, and has it wait for the disk if that is
            `True`; `None`: it only reads. Raises what makes all of it fail: `LockedError` if it may
            be tried again.
        within: seconds for each caller, from asking on, to get its turn and the file's lock.
        monotonic: what they are counted by.
    """

    def __init__(
        self,
        run_in_thread: Callable[[Callable[[], None]], object],
        transact: Callable[
            [Callable[[sqlite3.Connection], list[_Outcome]], bool | None], list[_Outcome]
        ],
        *,
        within: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._run_in_thread = run_in_thread
        self._transact = transact
        self._within = within
        self._monotonic = monotonic
        self._waiting: deque[_Job] = deque()
        self._readers: deque[_Job] = deque()
        self._called_on: asyncio.AbstractEventLoop | None = None
        """The loop that is about to call the thread. One that ends may never come to it."""

    async def write(self, work: Callable[[sqlite3.Connection], _T], *, forced: bool = True) -> _T:
        """Do the work and wait until every process sees it.

        Args:
            forced: whether it is on the disk then, so that a power cut leaves it there. Else one
                may take it away, unless a forced write has followed.

        A caller that is cancelled before the work began has left nothing to do; later the work is
        done whole.
        """
        job, future = self._job(work, forced)
        self._waiting.append(job)
        if self._called_on is not job.loop:
            self._called_on = job.loop
            job.loop.call_soon(self.flush)  # after all who are about to ask have asked
        return await future

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do the work, which changes nothing, once it is its turn; what others keep locked it does
        not wait for."""
        job, future = self._job(work, None)
        self._readers.append(job)
        self._run_in_thread(self._read)
        return await future

    def flush(self) -> None:
        """Have what waits done before whatever the thread is asked for next."""
        self._run_in_thread(self._commit)

    def _job(
        self, work: Callable[[sqlite3.Connection], _T], is_forced: bool | None
    ) -> tuple[_Job, asyncio.Future[_T]]:
        if len(self._waiting) + len(self._readers) >= MOST_WAITING:
            raise StoreUnavailableError("The SQLite store failed: too much is waiting for it.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        return _Job(work, is_forced, self._monotonic() + self._within, future, loop), future

    # On the thread:

    def _commit(self) -> None:
        self._called_on = None  # before looking: whoever asks from here on calls again
        jobs: list[_Job] = []
        while self._waiting and len(jobs) < MOST_TOGETHER:
            jobs.append(self._waiting.popleft())
        if self._waiting:
            self.flush()
        self._do(jobs)

    def _read(self) -> None:
        if self._readers:  # else it was read meanwhile
            self._do([self._readers.popleft()])

    def _do(self, jobs: Sequence[_Job]) -> None:
        """Do all of them together, but for those who are cancelled or have waited too long."""
        jobs = self._in_time(jobs)
        while jobs:
            is_forced = _strictest(jobs)
            try:
                work = _alone(*jobs) if len(jobs) == 1 else _together(jobs)
                outcomes = self._transact(work, is_forced)
            except LockedError:
                jobs = self._in_time(jobs, were_tried=True)
                if is_forced is not None:
                    self._read_meanwhile()
            except Exception as error:  # noqa: BLE001 # whatever it is, who waits has to be told
                _tell([_Outcome(job, None, error) for job in jobs])
                return
            else:
                _tell(outcomes)
                return

    def _in_time(self, jobs: Sequence[_Job], *, were_tried: bool = False) -> Sequence[_Job]:
        """Those who still wait; who is late is told so. With no time to wait there is one try."""
        now = self._monotonic()
        wanted, late = [], []
        for job in jobs:
            if job.until < now or (were_tried and job.until == now):
                late.append(_Outcome(job, None, LockedError()))
            elif not job.future.cancelled():
                wanted.append(job)
        _tell(late)
        return wanted

    def _read_meanwhile(self) -> None:
        """Readers need no lock, so they need not wait behind those who do."""
        for _ in range(len(self._readers)):
            self._read()


def _strictest(jobs: Sequence[_Job]) -> bool | None:
    """Those who have to wait for the disk do so in any company; a reader is alone."""
    return any(job.is_forced for job in jobs) if jobs[0].is_forced is not None else None


def _alone(job: _Job) -> Callable[[sqlite3.Connection], list[_Outcome]]:
    """A transaction of its own needs no savepoint."""
    return lambda db: [_Outcome(job, job.work(db), None)]


def _together(jobs: Sequence[_Job]) -> Callable[[sqlite3.Connection], list[_Outcome]]:
    return lambda db: [_do_one(db, job) for job in jobs]


def _do_one(db: sqlite3.Connection, job: _Job) -> _Outcome:
    db.execute("SAVEPOINT job")
    try:
        value = job.work(db)
    except sqlite3.Error:
        raise  # the transaction itself may be gone
    except Exception as error:  # noqa: BLE001 # the caller's, who is told
        db.execute("ROLLBACK TO job")
        return _Outcome(job, None, error)
    finally:
        if db.in_transaction:
            db.execute("RELEASE job")
    return _Outcome(job, value, None)


def _tell(outcomes: Sequence[_Outcome]) -> None:
    for loop in {outcome.job.loop for outcome in outcomes}:
        theirs = [outcome for outcome in outcomes if outcome.job.loop is loop]
        with contextlib.suppress(RuntimeError):  # it has ended, with all who waited
            loop.call_soon_threadsafe(_settle, theirs)


def _settle(outcomes: Sequence[_Outcome]) -> None:
    for job, value, error in outcomes:
        if job.future.cancelled():
            continue
        if error is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(error)
