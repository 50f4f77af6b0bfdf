"""A process that falls silent while it delivers: one credential is granted once all the same.

Nobody can tell a process that is silent from one that is dead. So its charges may be taken over,
and what it does when it comes to itself again is what these tests are about.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mpp_asgi import heart, turns
from mpp_asgi.heart import LIFE_SECONDS, STALE_SECONDS
from mpp_asgi.stores.memory.store import MemoryStore
from tests.charge.delivering import (
    HOUR,
    TARGETS,
    Forgetful,
    Worker,
    Workers,
    blocked_by,
    bought,
    granted,
    nothing,
)
from tests.methods.nod import Till
from tests.methods.stall import Exchange, Line, Time, payment, scope_of
from tests.methods.stores import FailingStore, SlowStore


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
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0)
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
