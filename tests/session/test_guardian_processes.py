"""Several processes on one store: one of them guards, and when it is gone another does."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mpp_asgi.stellar.guardian import LEASE, LEASE_SECONDS
from mpp_asgi.stellar.settlement import SettlementPolicy
from tests.session.watchtower import INTERVAL, Harbour, Process, make_harbour, until


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return make_harbour(tmp_path / "records.db")


async def three(harbour: Harbour, all_of_them: AsyncExitStack) -> list[Process]:
    policy = SettlementPolicy(amount=10, at_shutdown=True)
    return [await all_of_them.enter_async_context(harbour.process(policy)) for _ in range(3)]


async def test_one_of_them_works(harbour: Harbour) -> None:
    async with AsyncExitStack() as all_of_them:
        processes = await three(harbour, all_of_them)
        channel = await harbour.opened(processes[0].store)
        await harbour.spend(processes[1].store, channel, 30)
        harbour.node.calls.clear()

        reports = [await each.guardian.round() for each in processes]

        assert [report is not None for report in reports] == [True, False, False]
        assert harbour.node.calls["sendTransaction"] == 1
        assert harbour.earned() == 30


async def test_one_of_them_works_when_all_begin_at_once(harbour: Harbour) -> None:
    async with AsyncExitStack() as all_of_them:
        processes = await three(harbour, all_of_them)
        channels = [await harbour.opened(processes[0].store) for _ in range(4)]
        for channel in channels:
            await harbour.spend(processes[1].store, channel, 30)
            harbour.close_start(channel)
        since = harbour.ledger

        reports = await asyncio.gather(*(each.guardian.round() for each in processes))

        assert sum(report is not None for report in reports) == 1
        assert sorted(harbour.withdrawals(since)) == sorted(channels)
        assert harbour.earned() == 120


async def test_it_is_harmless_if_two_of_them_work(harbour: Harbour) -> None:
    """As they may for a moment when the first one was silent for long."""
    async with AsyncExitStack() as all_of_them:
        first, second, _ = await three(harbour, all_of_them)
        channels = [await harbour.opened(first.store) for _ in range(4)]
        for channel in channels:
            await harbour.spend(first.store, channel, 30)
            harbour.close_start(channel)
        since = harbour.ledger

        work = asyncio.create_task(first.guardian.round())
        await until(lambda: harbour.node.calls["sendTransaction"] > 0)
        await first.store.release_lease(LEASE, owner="process 1")
        await asyncio.gather(work, second.guardian.round())
        for process in (first, second, second):
            await harbour.sleep(INTERVAL)
            await process.guardian.round()

        assert sorted(harbour.withdrawals(since)) == sorted(channels)
        assert harbour.earned() == 120


async def test_another_follows_one_that_died(harbour: Harbour) -> None:
    async with AsyncExitStack() as all_of_them:
        first, second, _ = await three(harbour, all_of_them)
        await first.guardian.round()
        await first.die()
        channel = await harbour.opened(second.store)
        await harbour.spend(second.store, channel, 30)
        harbour.close_start(channel)
        gone = harbour.now()

        while (report := await second.guardian.round()) is None:
            await harbour.sleep(INTERVAL)

        assert harbour.earned() == 30
        assert report.ended_at - report.seconds - gone <= 2 * INTERVAL + LEASE_SECONDS


async def test_another_follows_at_once_one_that_ended(harbour: Harbour) -> None:
    async with AsyncExitStack() as all_of_them:
        first, second, _ = await three(harbour, all_of_them)
        assert await first.guardian.round() is not None
        assert await second.guardian.round() is None
        await first.guardian.aclose()

        assert await second.guardian.round() is not None


async def test_a_spend_at_another_process_is_left_to_the_one_that_guards(harbour: Harbour) -> None:
    async with AsyncExitStack() as all_of_them:
        first, second, _ = await three(harbour, all_of_them)
        channel = await harbour.opened(first.store)
        await first.guardian.round()
        await second.guardian.round()

        second.guardian.note(await harbour.spend(second.store, channel, 30))
        await second.guardian.aclose()
        assert harbour.earned() == 0

        await first.guardian.round()
        assert harbour.earned() == 30


async def test_only_the_one_that_guards_settles_at_the_end(harbour: Harbour) -> None:
    async with AsyncExitStack() as all_of_them:
        first, second, _ = await three(harbour, all_of_them)
        await first.guardian.round()
        channel = await harbour.opened(first.store)
        await harbour.spend(first.store, channel, 5)

        await second.guardian.aclose()
        assert harbour.earned() == 0
        await first.guardian.aclose()
        assert harbour.earned() == 5


async def test_a_clock_that_was_ahead_keeps_nobody_from_guarding(harbour: Harbour) -> None:
    """It is put right, and the process is started anew: the lease of before says a month hence."""
    async with harbour.process() as first:
        channel = await harbour.opened(first.store)
        await harbour.spend(first.store, channel, 30)
        first.guardian._clock = lambda: harbour.now() + 30 * 24 * 3_600
        assert await first.guardian.round() is not None
        await first.die()
    async with harbour.process() as second:
        harbour.close_start(channel)
        assert await second.guardian.round() is not None
        assert harbour.earned() == 30
