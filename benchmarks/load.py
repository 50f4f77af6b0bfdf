"""An HTTP load generator: a closed loop of keep-alive connections over pre-rendered requests.

It runs in a process of its own, on another core than the server, and does as little as it can for
each response, so that what is measured is the server.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import cast

import httptools
import uvloop

from benchmarks import cores

Requests = Callable[[], Iterator[bytes]]
"""Makes the requests of one round. Called, and free to prepare, before the clock starts. It travels
to the load process, so it is a module's function or a ``functools.partial`` of one."""


PATIENCE_SECONDS = 10
"""How long the responses still missing at the end of a round are waited for."""


class LoadError(Exception):
    """The server did not play its part: no connection, one closed early, no HTTP, or no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server on this machine, and what to ask of it."""

    port: int
    requests: Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One round of load: every target in turn, a slice of time each, over and over.

    What else goes on in and around the machine comes in bursts of tenths of a second; with slices
    shorter than those it falls on all targets alike.
    """

    targets: Sequence[Target]
    seconds: float = 1.75
    """How long each target is under load altogether."""
    slice_seconds: float = 0.025
    connections: int = 32
    """To each target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came back from one target in one round."""

    statuses: Mapping[int, int]
    """How many complete responses had which status."""
    seconds: float
    """How long the target was under load: each slice from its first request to its last
    response."""
    load_cpu_seconds: float
    """CPU time the load generator itself used meanwhile."""

    @property
    def responses(self) -> int:
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Complete responses per second."""
        return self.responses / self.seconds


def same(request: bytes) -> Requests:
    """The same request, for as long as the round lasts."""
    return partial(repeat, request)


def get(path: str, **headers: str) -> bytes:
    """A GET request as it goes over the wire; ``x_name="v"`` becomes the field ``x-name: v``."""
    fields = {"host": "localhost", **{key.replace("_", "-"): v for key, v in headers.items()}}
    head = "".join(f"{key}: {value}\r\n" for key, value in fields.items())
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1")


@contextmanager
def generator() -> Iterator[Callable[[Plan], Sequence[Tally]]]:
    """A load process on the second core; calling what this yields drives one round.

    Raises:
        LoadError: from the call, if the server failed the round.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_settle) as process:
        yield lambda plan: process.submit(drive, plan).result()


def drive(plan: Plan) -> Sequence[Tally]:
    """One round, in this process; a tally for each target.

    Raises:
        LoadError: the server did not play its part.
    """
    return uvloop.run(_drive(plan))


def _settle() -> None:
    """Make this process ready to generate load: a core of its own and no pauses to collect."""
    cores.pin(1)
    gc.disable()


async def _drive(plan: Plan) -> Sequence[Tally]:
    lanes = [_Lane(target.requests()) for target in plan.targets]
    try:
        for lane, target in zip(lanes, plan.targets, strict=True):
            await lane.connect(target.port, plan.connections)
        turn = lanes
        while any(lane.seconds < plan.seconds for lane in lanes):
            for lane in turn:
                await lane.run(plan.slice_seconds)
            turn = turn[::-1]  # A B, B A, A B, ...: none is always first
    finally:
        for lane in lanes:
            lane.close()
    return [lane.tally() for lane in lanes]


class _Lane:
    """The connections to one target, the requests still to send, and what came back."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.seconds = 0.0
        self._requests = requests
        self._connections: list[_Connection] = []
        self._statuses: Counter[int] = Counter()
        self._cpu_seconds = 0.0
        self._ends_at = 0.0
        self._busy = 0
        self._slice: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, port: int, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            try:
                made = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            except OSError as error:
                raise LoadError(f"cannot connect to port {port}: {error}") from error
            self._connections.append(made[1])

    async def run(self, seconds: float) -> None:
        """Keep every connection busy for so long, then wait for the last response."""
        self._slice = asyncio.get_running_loop().create_future()
        self._busy = len(self._connections)
        cpu_before, started = time.process_time(), time.perf_counter()
        self._ends_at = started + seconds
        for connection in self._connections:
            connection.send(self.next_request())
        try:
            async with asyncio.timeout(seconds + PATIENCE_SECONDS):
                await self._slice
        except TimeoutError:
            raise LoadError(f"{self._busy} connections wait for an answer in vain") from None
        self.seconds += time.perf_counter() - started
        self._cpu_seconds += time.process_time() - cpu_before

    def next_request(self) -> bytes | None:
        """``None``: the slice is over, send no more."""
        if time.perf_counter() >= self._ends_at:
            return None
        request = next(self._requests, None)
        if request is None:
            self.failed(LoadError("there were too few requests for the round"))
        return request

    def answered(self, status: int) -> None:
        self._statuses[status] += 1

    def idle(self) -> None:
        """A connection has nothing left to send and nothing left to wait for."""
        self._busy -= 1
        if self._busy == 0 and not self._slice.done():
            self._slice.set_result(None)

    def failed(self, error: LoadError) -> None:
        if not self._slice.done():
            self._slice.set_exception(error)

    def close(self) -> None:
        self._slice.cancel()
        for connection in self._connections:
            connection.close()

    def tally(self) -> Tally:
        return Tally(
            statuses=dict(self._statuses),
            seconds=self.seconds,
            load_cpu_seconds=self._cpu_seconds,
        )


class _Connection(asyncio.Protocol):
    """One keep-alive connection: a request, its whole response, the next request."""

    def __init__(self, lane: _Lane) -> None:
        self._lane = lane
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's in all but ancestry.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes | None) -> None:
        if request is None:
            self._lane.idle()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lane.failed(LoadError(f"not an HTTP response: {error}"))

    def on_message_complete(self) -> None:
        """Called by the parser, content-length and chunked bodies alike."""
        self._lane.answered(self._parser.get_status_code())
        self.send(self._lane.next_request())

    def connection_lost(self, exc: Exception | None) -> None:
        self._lane.failed(LoadError(f"the server closed a connection: {exc or 'no reason given'}"))

    def close(self) -> None:
        self._transport.close()
