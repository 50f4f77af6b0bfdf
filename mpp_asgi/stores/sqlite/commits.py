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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")

MOST_TOGETHER: Final = 256
"""Pieces of work in one transaction: it bounds how long other processes wait for theirs."""


class _Job(NamedTuple):
    """One caller's work, and where the caller waits for what comes of it."""

    work: Callable[[sqlite3.Connection], Any]
    is_forced: bool
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class _Outcome(NamedTuple):
    job: _Job
    value: Any
    error: BaseException | None


class SharedCommits:
    """Collects work on any event loop and does it in batches on the thread of the connection.

    Args:
        run_in_thread: has a function called on that thread, soon.
        transact: does work in one write transaction there, and has it wait for the disk if that is
            `True`; raises what makes all of it fail.
    """

    def __init__(
        self,
        run_in_thread: Callable[[Callable[[], None]], object],
        transact: Callable[[Callable[[sqlite3.Connection], list[_Outcome]], bool], list[_Outcome]],
    ) -> None:
        self._run_in_thread = run_in_thread
        self._transact = transact
        self._waiting: deque[_Job] = deque()
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
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._waiting.append(_Job(work, forced, future, loop))
        if self._called_on is not loop:
            self._called_on = loop
            loop.call_soon(self.flush)  # after all who are about to ask have asked
        return await future

    def flush(self) -> None:
        """Have what waits done before whatever the thread is asked for next."""
        self._run_in_thread(self._commit)

    def _commit(self) -> None:
        """Do what waits, on the thread."""
        self._called_on = None  # before looking: whoever asks from here on calls again
        jobs: list[_Job] = []
        while self._waiting and len(jobs) < MOST_TOGETHER:
            jobs.append(self._waiting.popleft())
        if self._waiting:
            self.flush()
        jobs = [job for job in jobs if not job.future.cancelled()]
        if not jobs:
            return
        try:
            work = _alone(*jobs) if len(jobs) == 1 else _together(jobs)
            outcomes = self._transact(work, any(job.is_forced for job in jobs))
        except Exception as error:  # noqa: BLE001 # whatever it is, those who wait have to be told
            outcomes = [_Outcome(job, None, error) for job in jobs]
        for loop in {outcome.job.loop for outcome in outcomes}:
            theirs = [outcome for outcome in outcomes if outcome.job.loop is loop]
            with contextlib.suppress(RuntimeError):  # it has ended, with all who waited
                loop.call_soon_threadsafe(_tell, theirs)


def _alone(job: _Job) -> Callable[[sqlite3.Connection], list[_Outcome]]:
    """A transaction of its own needs no savepoint."""
    return lambda db: [_Outcome(job, job.work(db), None)]


def _together(jobs: Sequence[_Job]) -> Callable[[sqlite3.Connection], list[_Outcome]]:
    return lambda db: [_do(db, job) for job in jobs]


def _do(db: sqlite3.Connection, job: _Job) -> _Outcome:
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


def _tell(outcomes: list[_Outcome]) -> None:
    for job, value, error in outcomes:
        if job.future.cancelled():
            continue
        if error is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(error)
