"""A process that falls silent while it delivers: one credential is granted once all the same.

Nobody can tell a process that is silent from one that is dead. So its charges may be taken over,
and what it does when it comes to itself again is what these tests are about.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from mpp_asgi import charges, heart, price
from mpp_asgi.heart import LIFE_SECONDS, STALE_SECONDS
from mpp_asgi.stores.contract import Charge, State, StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.methods.nod import Till
from tests.methods.stall import Exchange, Line, Selling, Time, Visitor, payment, running, scope_of
from tests.methods.stores import FailingStore, SlowStore

TARGETS = ["/", "/after", "/stream", "/plain"]

HOUR = 3600


async def nothing() -> None:
    """Happens."""


class Handler:
    """What happens while the endpoint runs, and how often it did."""

    def __init__(self) -> None:
        self.runs = 0
        self.meanwhile: Callable[[], Awaitable[None]] = nothing

    async def run(self) -> None:
        self.runs += 1
        meanwhile, self.meanwhile = self.meanwhile, nothing
        await meanwhile()


def shop(handler: Handler) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    @price("1")
    async def run() -> str:
        await handler.run()
        return "content"

    @app.get("/after")
    @price("1", settle="after")
    async def after() -> str:
        await handler.run()
        return "content"

    @app.get("/stream")
    @price("1")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "con"
            await handler.run()
            yield "tent"

        return StreamingResponse(chunks())

    @app.get("/plain")
    async def plain() -> str:
        await handler.run()
        return "content"

    @app.websocket("/socket")
    @price("1")
    async def socket(websocket: WebSocket) -> None:
        await handler.run()
        await websocket.accept()
        await websocket.close()

    return app


class Forgetful(FailingStore):
    """Fails where a delivery is to be written, when it is told to."""

    forgets_deliveries = False

    async def write(self, charge: Charge, proofs: Sequence[str] = (), *, owner: str) -> None:
        if self.forgets_deliveries and charge.state is State.DELIVERED:
            raise StoreUnavailableError("the disk is full")
        await self._call("write", lambda: self._store.write(charge, proofs, owner=owner))


class Worker:
    """A process: its application, and the store as it sees it."""

    def __init__(self, time: Time, till: Till, settings: dict[str, Any]) -> None:
        self.handler = Handler()
        self._selling = Selling(time=time, till=till, **settings)
        self.app = self._selling.around(shop(self.handler))
        self.visitor = Visitor(self.app)

    @property
    def store(self) -> Forgetful:
        """After the first request."""
        book = self._selling.books[-1]
        assert isinstance(book.store, Forgetful)
        return book.store

    async def show(self, target: str, headers: dict[str, str]) -> Exchange:
        answer = await self.visitor.get(target, headers=headers)
        await self.drain()  # a stream's end is noted once its client is gone
        return answer

    async def beat(self) -> None:
        await self._selling.books[-1].heart.beat()

    async def drain(self) -> None:
        await self._selling.books[-1].drain()


@dataclass
class Workers:
    """Two processes on one store, without lifespan events."""

    here: Worker
    there: Worker
    time: Time
    till: Till


@pytest.fixture(params=["memory", "sqlite"])
async def workers(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Workers]:
    monkeypatch.setattr(charges, "PATIENCE_SECONDS", 0)
    time, till, memory = Time(), Till(), MemoryStore()
    settings: dict[str, Any] = {"prices": {"/plain": "1"}, "keep": lambda _: Forgetful(memory)}
    if request.param == "sqlite":
        settings.update(store=f"sqlite:///{tmp_path}/charges.db", keep=Forgetful)
    here, there = (Worker(time, till, settings) for _ in range(2))
    both = Workers(here, there, time, till)
    for each in (both.here, both.there):
        await each.visitor.get("/")  # opens its store
    yield both
    for each in (both.here, both.there):
        await each.app._close()


async def bought(workers: Workers, target: str) -> dict[str, str]:
    """The header of a credential that nobody has shown yet."""
    return payment(await workers.here.visitor.challenge("GET", target))


def granted(*answers: Exchange) -> int:
    return sum(answer.is_whole and answer.status == 200 for answer in answers if answer.messages)


def blocked_by(workers: Workers, seconds: float, then: Callable[[], Awaitable[None]]) -> None:
    """The endpoint here blocks its event loop for so long; what comes then, comes before the
    process has come to itself."""

    async def meanwhile() -> None:
        workers.time.now += seconds
        await then()

    workers.here.handler.meanwhile = meanwhile


@pytest.mark.parametrize("target", TARGETS)
async def test_who_was_taken_for_dead_sends_nothing_more(workers: Workers, target: str) -> None:
    headers = await bought(workers, target)
    answers: list[Exchange] = []

    async def take_over() -> None:
        answers.append(await workers.there.show(target, headers))

    blocked_by(workers, LIFE_SECONDS, take_over)
    late = await workers.here.show(target, headers)
    assert [answer.status for answer in answers] == [200]
    assert granted(late, *answers) == 1
    if target == "/stream":  # it had begun
        assert (late.status, late.is_whole) == (200, False)
    else:
        assert late.status == 409
        assert late.header("retry-after") is not None
        assert late.receipt is None
    for worker in (workers.here, workers.there):
        assert (await worker.show(target, headers)).status == 402
    assert workers.till.moves.total() == 1


@pytest.mark.parametrize("target", TARGETS)
async def test_a_heartbeat_gives_nothing_back(workers: Workers, target: str) -> None:
    """The timer is the first to wake up, and all seems well by then."""
    headers = await bought(workers, target)
    answers: list[Exchange] = []

    async def take_over_and_beat() -> None:
        answers.append(await workers.there.show(target, headers))
        await workers.here.beat()

    blocked_by(workers, LIFE_SECONDS, take_over_and_beat)
    answers.append(await workers.here.show(target, headers))
    assert granted(*answers) == 1


@pytest.mark.parametrize("target", TARGETS)
async def test_who_was_not_taken_for_dead_goes_on(workers: Workers, target: str) -> None:
    headers = await bought(workers, target)
    blocked_by(workers, HOUR, nothing)
    assert granted(await workers.here.show(target, headers)) == 1
    for worker in (workers.here, workers.there):
        assert (await worker.show(target, headers)).status == 402


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
@pytest.mark.parametrize("target", TARGETS)
async def test_a_clock_that_is_set(workers: Workers, target: str, seconds: int) -> None:
    """The other process sees the same clock, and takes the charge if it may."""
    headers = await bought(workers, target)
    answers: list[Exchange] = []

    async def show() -> None:
        answers.append(await workers.there.show(target, headers))

    blocked_by(workers, seconds, show)
    answers.append(await workers.here.show(target, headers))
    assert granted(*answers) == 1, answers
    for worker in (workers.here, workers.there):
        assert (await worker.show(target, headers)).status == 402
    assert workers.till.moves.total() == 1


async def test_a_process_lives_on_after_its_clock_was_set_back(workers: Workers) -> None:
    """Its last word was about a time that is an hour away; if it dies, nobody waits for that but in
    the first minute."""
    await workers.here.show("/", await bought(workers, "/"))
    workers.time.now -= HOUR
    await workers.here.beat()
    workers.time.now += STALE_SECONDS
    await workers.here.beat()
    headers = await bought(workers, "/")
    hangs = asyncio.Event()

    async def hang() -> None:
        hangs.set()
        await asyncio.Event().wait()

    workers.here.handler.meanwhile = hang
    dying = asyncio.create_task(workers.here.show("/", headers))
    await hangs.wait()
    assert (await workers.there.show("/", headers)).status == 409
    workers.time.now += LIFE_SECONDS
    assert (await workers.there.show("/", headers)).status == 200
    dying.cancel()
    await asyncio.wait([dying])


@pytest.mark.parametrize("target", TARGETS)
async def test_nothing_leaves_while_it_cannot_be_made_certain(
    workers: Workers, target: str
) -> None:
    headers = await bought(workers, target)

    async def fail() -> None:
        store = workers.here.store
        store.fail_at = range(len(store.calls), 10_000)

    blocked_by(workers, LIFE_SECONDS, fail)
    cut = await workers.here.show(target, headers)
    assert granted(cut) == 0
    assert cut.status == (200 if target == "/stream" else 503)
    workers.here.store.fail_at = range(0)
    again = [await worker.show(target, headers) for worker in (workers.here, workers.there)]
    assert granted(*again) == 1
    assert workers.till.moves.total() == 1


@pytest.mark.parametrize("taken_over", [False, True], ids=["alone", "taken over"])
@pytest.mark.parametrize("target", TARGETS)
async def test_left_at_any_turn_after_a_silence(
    monkeypatch: pytest.MonkeyPatch, target: str, taken_over: bool
) -> None:
    monkeypatch.setattr(charges, "PATIENCE_SECONDS", 0)
    whole = 0
    for at in range(100):
        time, till, memory = Time(), Till(), SlowStore(MemoryStore())
        settings = {"prices": {"/plain": "1"}, "keep": lambda _, memory=memory: Forgetful(memory)}
        here, there = (Worker(time, till, settings) for _ in range(2))
        workers = Workers(here, there, time, till)
        await there.visitor.get("/")
        headers = await bought(workers, target)
        answers: list[Exchange] = []
        silent = asyncio.Event()

        async def fall_silent(
            workers: Workers = workers,
            headers: dict[str, str] = headers,
            answers: list[Exchange] = answers,
            silent: asyncio.Event = silent,
        ) -> None:
            if taken_over:
                answers.append(await workers.there.show(target, headers))
            silent.set()

        blocked_by(workers, LIFE_SECONDS, fall_silent)
        line = Line([b""], None)
        line.leave_at_end = False
        scope = scope_of("GET", target, headers=headers)
        request = asyncio.ensure_future(here.app(scope, line.receive, line.send))
        await silent.wait()
        for _ in range(at):
            await asyncio.sleep(0)
        ended = request.done()
        request.cancel()
        await asyncio.wait([request])
        for each in (here, there):
            await each.drain()
        answers.append(line.exchange)
        whole += granted(line.exchange)
        answers.extend([await each.show(target, headers) for each in (there, here)])
        assert granted(*answers) == 1, (at, answers)
        assert till.moves.total() == 1
        for each in (here, there):
            await each.app._close()
        if ended:
            break
    assert at >= 4
    assert (whole > 0) is not taken_over


@pytest.mark.parametrize("target", TARGETS)
async def test_taken_over_at_any_moment_of_coming_to_oneself(workers: Workers, target: str) -> None:
    """The other process asks before or after any call with which the first makes sure."""
    for at in range(20):
        headers = await bought(workers, target)
        answers: list[Exchange] = []
        store = workers.here.store
        real, seen = store._call, 0

        async def call(
            name: str,
            operation: Callable[[], Awaitable[Any]],
            *,
            real: Any = real,
            at: int = at,
            headers: dict[str, str] = headers,
            answers: list[Exchange] = answers,
        ) -> Any:
            nonlocal seen
            if seen == at:
                answers.append(await workers.there.show(target, headers))
            seen += 1
            return await real(name, operation)

        async def listen(store: FailingStore = store, call: Any = call) -> None:
            store._call = call  # type: ignore[method-assign]

        blocked_by(workers, LIFE_SECONDS, listen)
        answers.append(await workers.here.show(target, headers))
        store._call = real  # type: ignore[method-assign]
        assert granted(*answers) == 1, (at, answers)
        assert (await workers.there.show(target, headers)).status == 402
        if at >= seen:
            break
    assert at >= 3


async def test_a_store_that_takes_its_time_makes_nothing_certain(workers: Workers) -> None:
    headers = await bought(workers, "/")
    store = workers.here.store
    real = store._call

    async def call(name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        workers.time.now += heart.SURE_SECONDS
        return await real(name, operation)

    async def slow() -> None:
        store._call = call  # type: ignore[method-assign]

    blocked_by(workers, LIFE_SECONDS, slow)
    assert (await workers.here.show("/", headers)).status == 503
    store._call = real  # type: ignore[method-assign]
    assert (await workers.here.show("/", headers)).status == 200


async def test_a_handshake_in_doubt_is_not_accepted(workers: Workers) -> None:
    asked = await open_socket(workers.here)
    headers = payment(asked.challenge)
    answers: list[Exchange] = []

    async def take_over() -> None:
        answers.append(await open_socket(workers.there, headers))

    blocked_by(workers, LIFE_SECONDS, take_over)
    late = await open_socket(workers.here, headers)
    assert answers[0].messages[0]["type"] == "websocket.accept"
    assert late.messages[0]["type"] == "websocket.http.response.start"
    assert late.status == 409


async def open_socket(worker: Worker, headers: dict[str, str] | None = None) -> Exchange:
    line = Line([], None)
    scope = scope_of("GET", "/socket", headers=headers or {}, kind="websocket")
    scope["extensions"] = {"websocket.http.response": {}}
    first = True

    async def receive() -> Any:
        nonlocal first
        if first:
            first = False
            return {"type": "websocket.connect"}
        return await line.receive()

    await worker.app(scope, receive, line.send)
    return line.exchange


# A process that is not silent


@pytest.fixture
def _quick_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's timer fires at every turn, so that heartbeats depend on the test's clock alone."""
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 0)


async def heard_of(worker: Worker) -> None:
    """Wait for a heartbeat that has begun and ended since."""
    calls = worker.store.calls
    after_next = calls.count("heartbeat") + 3
    async with asyncio.timeout(10):
        while calls.count("heartbeat") < after_next:  # noqa: ASYNC110 # the loop's own doing
            await asyncio.sleep(0)


@pytest.mark.usefixtures("_quick_timer")
@pytest.mark.parametrize("target", TARGETS)
async def test_a_long_delivery_is_nobody_elses(workers: Workers, target: str) -> None:
    """No lifespan event was ever seen, and the response takes a minute."""
    headers = await bought(workers, target)
    answers: list[Exchange] = []

    async def take_long() -> None:
        for _ in range(12):
            workers.time.now += 5
            await heard_of(workers.here)
            answers.append(await workers.there.show(target, headers))

    workers.here.handler.meanwhile = take_long
    served = await workers.here.show(target, headers)
    assert [answer.status for answer in answers] == [409] * 12
    assert granted(served) == 1


@pytest.mark.usefixtures("_quick_timer")
async def test_the_heart_rests_when_nothing_is_owned(workers: Workers) -> None:
    await workers.here.show("/", await bought(workers, "/"))
    calls = workers.here.store.calls
    for _ in range(50):
        await asyncio.sleep(0)
    rested = len(calls)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(calls) == rested
    await test_a_long_delivery_is_nobody_elses(workers, "/")  # and goes on when something is


@pytest.mark.usefixtures("_quick_timer")
async def test_it_goes_on_in_a_new_event_loop(workers: Workers) -> None:
    """A client for tests may have one for each request; the timer of the last is gone with it."""

    def in_a_loop_that_ends() -> None:
        asyncio.run(one_request())

    async def one_request() -> None:
        await workers.here.show("/", await bought(workers, "/"))

    await asyncio.to_thread(in_a_loop_that_ends)
    await test_a_long_delivery_is_nobody_elses(workers, "/")


async def test_a_process_that_ends_is_succeeded_at_once(workers: Workers) -> None:
    """It could not let go while its store was out of reach."""
    headers = await bought(workers, "/")
    store = workers.here.store

    async def fail() -> None:
        store.fail_at = range(len(store.calls), 10_000)
        raise ValueError

    workers.here.handler.meanwhile = fail
    with pytest.raises(ValueError):  # noqa: PT011 # what a server would log
        await workers.here.show("/", headers)
    store.fail_at = range(0)
    assert (await workers.there.show("/", headers)).status == 409
    await workers.here.app._close()
    assert (await workers.there.show("/", headers)).status == 200


async def test_a_process_that_is_made_to_end_keeps_what_is_under_way(workers: Workers) -> None:
    """The server did not wait for its requests. They count as alive until they are not."""
    headers = await bought(workers, "/")
    hangs = asyncio.Event()

    async def hang() -> None:
        hangs.set()
        await asyncio.Event().wait()

    workers.here.handler.meanwhile = hang
    hanging = asyncio.create_task(workers.here.show("/", headers))
    await hangs.wait()
    await workers.here.app._close()
    assert (await workers.there.show("/", headers)).status == 409
    workers.time.now += LIFE_SECONDS
    assert (await workers.there.show("/", headers)).status == 200
    hanging.cancel()
    await asyncio.wait([hanging])


@pytest.mark.usefixtures("_quick_timer")
async def test_the_heart_stops_with_the_lifespan(workers: Workers) -> None:
    async with running(workers.here.app):
        await heard_of(workers.here)
    calls = workers.here.store.calls
    stopped = len(calls)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(calls) == stopped


# What was delivered, and could not be written down


@pytest.mark.parametrize("target", TARGETS)
async def test_what_was_delivered_is_not_granted_again_here(workers: Workers, target: str) -> None:
    headers = await bought(workers, target)
    workers.here.store.forgets_deliveries = True
    assert granted(await workers.here.show(target, headers)) == 1
    for _ in range(20):
        workers.time.now += 60
        refused = await workers.here.show(target, headers)
        assert (refused.status, refused.problem) == (402, "invalid-challenge")
    assert workers.here.handler.runs == 1


@pytest.mark.usefixtures("_quick_timer")
async def test_nor_anywhere_once_the_store_is_back(workers: Workers) -> None:
    headers = await bought(workers, "/")
    workers.here.store.forgets_deliveries = True
    assert granted(await workers.here.show("/", headers)) == 1
    await heard_of(workers.here)
    assert (await workers.there.show("/", headers)).status == 409
    workers.here.store.forgets_deliveries = False
    async with asyncio.timeout(10):
        while workers.here.store.calls[-1] != "purge":  # noqa: ASYNC110 # the loop's own doing
            await asyncio.sleep(0)
    assert (await workers.there.show("/", headers)).status == 402


async def test_a_process_that_ends_writes_it_down_first(workers: Workers) -> None:
    headers = await bought(workers, "/")
    workers.here.store.forgets_deliveries = True
    assert granted(await workers.here.show("/", headers)) == 1
    workers.here.store.forgets_deliveries = False
    await workers.here.app._close()
    assert (await workers.there.show("/", headers)).status == 402
