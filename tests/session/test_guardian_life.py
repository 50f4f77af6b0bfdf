"""A guardian comes, is woken, and goes: with lifespan events or without, on whatever loop."""

import asyncio
import logging

import pytest

from mpp_asgi.stellar import clockwork, guardian
from mpp_asgi.stellar.clockwork import Clockwork
from mpp_asgi.stellar.settlement import SettlementPolicy
from tests.session.watchtower import Harbour, Process, make_harbour, until


@pytest.fixture
def harbour() -> Harbour:
    return make_harbour()


async def served(harbour: Harbour, process: Process, *costs: int) -> list[str]:
    """Channels that owe so much each."""
    channels = [await harbour.opened(process.store) for _ in costs]
    for channel, cost in zip(channels, costs, strict=True):
        await harbour.spend(process.store, channel, cost)
    return channels


# At work


async def test_it_looks_at_once_when_it_starts(harbour: Harbour) -> None:
    async with harbour.process() as process:
        (channel,) = await served(harbour, process, 30)
        harbour.close_start(channel)

        process.guardian.start()
        process.guardian.start()
        await until(lambda: process.guardian.report is not None)

        assert harbour.earned() == 30
        assert harbour.node.calls["sendTransaction"] == 1
        await process.guardian.aclose()


async def test_it_goes_on_by_itself(harbour: Harbour) -> None:
    async with harbour.process(interval=0.001) as process:
        (channel,) = await served(harbour, process, 30)
        process.guardian.start()
        await until(lambda: process.guardian.report is not None)
        assert harbour.earned() == 0

        harbour.close_start(channel)
        await harbour.sleep(1)
        await until(lambda: harbour.earned() == 30)
        await process.guardian.aclose()


async def test_it_tries_again_by_itself(harbour: Harbour) -> None:
    async with harbour.process(interval=0.001) as process:
        (channel,) = await served(harbour, process, 30)
        harbour.close_start(channel)
        harbour.node.silent = frozenset({"simulateTransaction"})
        process.guardian.start()
        await until(lambda: process.guardian.report is not None)
        assert process.guardian.report is not None
        assert process.guardian.report.failed == 1

        harbour.node.silent = frozenset()
        await harbour.sleep(5)
        await until(lambda: harbour.earned() == 30)
        await process.guardian.aclose()


async def test_a_spend_that_makes_a_channel_due_wakes_it(harbour: Harbour) -> None:
    async with harbour.process(SettlementPolicy(amount=50)) as process:
        (channel,) = await served(harbour, process, 49)
        process.guardian.start()
        await until(lambda: process.guardian.report is not None)

        process.guardian.note(await harbour.spend(process.store, channel, 1))
        await until(lambda: harbour.earned() == 50)

        assert process.guardian.report is not None
        assert process.guardian.report.settled == 0, "it was not waited for a round"
        await process.guardian.aclose()


async def test_a_spend_starts_it_where_no_lifespan_did(harbour: Harbour) -> None:
    async with harbour.process(SettlementPolicy(amount=50)) as process:
        (channel,) = await served(harbour, process, 20)
        process.guardian.note(await harbour.spend(process.store, channel, 30))
        await until(lambda: harbour.earned() == 50)
        await process.guardian.aclose()


async def test_a_spend_that_makes_nothing_due_wakes_nobody(harbour: Harbour) -> None:
    async with harbour.process(SettlementPolicy(amount=50)) as process:
        (channel,) = await served(harbour, process, 20)
        process.guardian.note(await harbour.spend(process.store, channel, 29))
        for _ in range(20):
            await asyncio.sleep(0)

        assert harbour.node.calls.total() == 0
        assert process.guardian.report is None


async def test_no_more_channels_wait_than_it_can_remember(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guardian, "MOST_NOTED", 2)
    async with harbour.process(SettlementPolicy(amount=10)) as process:
        channels = await served(harbour, process, 10, 20, 30)
        process.guardian.start()
        for channel in channels:
            found = await process.store.channel(channel)
            assert found is not None
            process.guardian.note(found)
            process.guardian.note(found)

        assert len(process.guardian._noted) == 2
        await until(lambda: harbour.earned() == 60)  # its round comes by all of them
        assert harbour.node.calls["sendTransaction"] == 3
        await process.guardian.aclose()


def test_it_works_on_whatever_loop_there_is(harbour: Harbour) -> None:
    """Some servers, and all test clients, have a loop for each request."""
    made: list[Process] = []

    async def first() -> None:
        process = await harbour.process().__aenter__()
        made.append(process)
        process.guardian.start()
        await until(lambda: process.guardian.report is not None)

    async def second() -> None:
        (process,) = made
        (channel,) = await served(harbour, process, 30)
        harbour.close_start(channel)
        await harbour.sleep(60)
        process.guardian.start()
        await until(lambda: harbour.earned() == 30)
        await process.guardian.aclose()
        await process.book.heart.stop()

    asyncio.run(first())
    asyncio.run(second())


# Coming to an end


async def test_settles_at_the_end_if_asked_the_largest_first(harbour: Harbour) -> None:
    async with harbour.process(SettlementPolicy(at_shutdown=True)) as process:
        small, large, middle = await served(harbour, process, 10, 30, 20)
        await served(harbour, process, 0)
        since = harbour.ledger
        await process.guardian.aclose()

        assert harbour.withdrawals(since) == [large, middle, small]
        assert harbour.earned() == 60


async def test_settles_nothing_at_the_end_if_not_asked(harbour: Harbour) -> None:
    async with harbour.process(SettlementPolicy(amount=100)) as process:
        await served(harbour, process, 30)
        process.guardian.start()
        await until(lambda: process.guardian.report is not None)
        await process.guardian.aclose()

        assert harbour.earned() == 0


async def test_does_not_wait_for_ever_at_the_end(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guardian, "STOP_SECONDS", 0.01)
    monkeypatch.setattr(guardian, "SHUTDOWN_SECONDS", 0.01)
    is_waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        del seconds
        is_waiting.set()
        await asyncio.Event().wait()

    policy = SettlementPolicy(at_shutdown=True)
    async with harbour.process(policy, sleep=sleep) as process:
        (channel,) = await served(harbour, process, 30)
        harbour.close_start(channel)
        since = harbour.ledger
        process.guardian.start()
        await is_waiting.wait()
        with caplog.at_level(logging.WARNING, "mpp_asgi.guardian"):
            await process.guardian.aclose()
        assert "at the end: 1" in caplog.text
        assert await harbour.memory.lease(guardian.LEASE, owner="another", until=0, now=0)

    async with harbour.process() as later:
        for _ in range(3):
            await harbour.sleep(100)
            await later.guardian.round()
        assert harbour.withdrawals(since) == [channel]
        assert harbour.earned() == 30


async def test_a_guardian_that_ended_stays_so(harbour: Harbour) -> None:
    async with harbour.process(SettlementPolicy(amount=10)) as process:
        (channel,) = await served(harbour, process, 30)
        await process.guardian.aclose()
        found = await process.store.channel(channel)
        assert found is not None

        process.guardian.start()
        process.guardian.note(found)
        await process.guardian.aclose()
        for _ in range(20):
            await asyncio.sleep(0)

        assert harbour.node.calls.total() == 0


# The clockwork


async def test_an_error_nobody_foresaw_does_not_stop_the_clockwork(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clockwork, "CRASH_SECONDS", 0)
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    runs = 0

    async def work() -> float:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ArithmeticError
        return 60

    works = Clockwork(work)
    works.start()
    await until(lambda: runs == 2)
    await works.stop(1)

    assert len(told) == 1


async def test_a_wake_while_it_works_is_not_lost() -> None:
    runs = 0
    go_on = asyncio.Event()

    async def work() -> float:
        nonlocal runs
        runs += 1
        await go_on.wait()
        return 60

    works = Clockwork(work)
    works.start()
    await until(lambda: runs == 1)
    works.wake()
    works.wake()
    go_on.set()
    await until(lambda: runs == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    await works.stop(1)

    assert runs == 2
