"""What a payer does, as steps that somebody else carries out.

Paying is written once, as generators that yield steps and get their results: requests to the
server, calls to the Stellar RPC, waits. `flow` carries the steps out, with or without an event
loop, and a test can do so by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from mpp_asgi.stellar.rpc_call import RpcCall

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wait:
    """Let ``seconds`` pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TakeTurn:
    """Wait until no other payment uses the account's sequence number; the turn ends with the
    steps at the latest."""


@dataclass(frozen=True, slots=True)
class EndTurn:
    """Let others use the account's sequence number, if they had to wait for these steps."""


@dataclass(frozen=True, slots=True)
class LookAtClock:
    """What time it is here."""


@dataclass(frozen=True, slots=True)
class Work:
    """Do something that may take a moment, such as writing to a disk."""

    do: Callable[[], object]


Chore = RpcCall[Any] | Wait | TakeTurn | EndTurn | LookAtClock | Work
"""What needs nothing of the server."""
Step = httpx.Request | Chore
Chores = Generator[Chore, Any, T]
Steps = Generator[Step, Any, T]


class RequestLostError(Exception):
    """Thrown into the steps at a request that got no response. No step may follow."""

    def __init__(self, request: httpx.Request, cause: BaseException | None) -> None:
        super().__init__("The request got no response.")
        self.request = request
        self.cause = cause

    @property
    def never_sent(self) -> bool:
        """It is certain that the server saw nothing: there was no connection.

        The cause names the request that failed. It is another one if a redirect was followed.
        """
        return (
            isinstance(self.cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            and self.cause.request is self.request
        )


def send(request: httpx.Request) -> Steps[httpx.Response]:
    """The response. One with an error status has been read, a long one in part; any other has not.

    Raises:
        RequestLostError: there is none.
    """
    response: httpx.Response = yield request
    return response


def ask(call: RpcCall[T]) -> Chores[T]:
    """The call's result.

    Raises:
        RpcUnavailableError, RpcRefusedError: as `Rpc.do`.
    """
    result: T = yield call
    return result


def work(do: Callable[[], T]) -> Chores[T]:
    """What ``do`` returns, or raises."""
    result: T = yield Work(do)
    return result


def wait(seconds: float) -> Chores[None]:
    """Return after that time."""
    yield Wait(seconds)


def look_at_clock() -> Chores[float]:
    """Unix seconds, by the payer's own clock."""
    now: float = yield LookAtClock()
    return now


def take_turn() -> Chores[None]:
    """Return when no other payment uses the account's sequence number."""
    yield TakeTurn()


def end_turn() -> Chores[None]:
    """The account's sequence number, if the turn was taken, is not in use any more."""
    yield EndTurn()


class Run(Generic[S, T]):
    """Steps on their way: the one to be carried out, and the result once there is none."""

    def __init__(self, steps: Generator[S, Any, T]) -> None:
        self._steps = steps
        self.step: S | None = None
        self.result: T | None = None

    def send(self, value: object) -> None:
        """Go on with what the step gave (at first: nothing)."""
        self._advance(lambda: self._steps.send(value))

    def throw(self, error: Exception) -> None:
        """Go on with the step's failure."""
        self._advance(lambda: self._steps.throw(error))

    def lose(self, cause: BaseException | None) -> None:
        """Give up because of an error; if a request was on its way, it is lost."""
        if isinstance(self.step, httpx.Request):
            # The error itself goes on its way after this, if no other takes its place.
            with suppress(RequestLostError):
                self.throw(RequestLostError(self.step, cause))
        self.step = None
        self._steps.close()

    def _advance(self, go: Callable[[], S]) -> None:
        self.step = None
        try:
            self.step = go()
        except StopIteration as end:
            self.result = end.value
