"""A process that delivers and is not silent: nobody takes its charges, and what it could not write
down it remembers."""

import asyncio

import pytest

from mpp_asgi import heart
from mpp_asgi.heart import LIFE_SECONDS
from tests.charge.delivering import TARGETS, Worker, Workers, bought, granted
from tests.methods.stall import Exchange, running


@pytest.fixture
def _quick_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's timer fires at every turn, so that heartbeats depend on the test's clock alone."""
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 0)


async def heard_of(worker: Worker) -> None:
    """Wait for a heartbeat that has begun and ended since."""
    calls = worker.store.calls
    after_next = calls.count("heartbeat") + 3
    async with asyncio.timeout(60):
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
    async with asyncio.timeout(60):
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
