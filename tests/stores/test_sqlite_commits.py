"""Writes that meet before the store's thread share its transaction, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from mpp_asgi.stores.channels import SpendOutcome
from mpp_asgi.stores.contract import Charge, Outcome, State, StoreUnavailableError
from mpp_asgi.stores.sqlite import commits as sqlite_commits
from mpp_asgi.stores.sqlite.commits import MOST_TOGETHER
from mpp_asgi.stores.sqlite.store import SqliteStore


def spend(store, channel_id="channel", amount=100, cost=1):
    return store.spend(
        channel_id, amount=amount, signature="s", cost=cost, units=1, min_delta=0, now=1
    )


@contextlib.asynccontextmanager
async def thread_held_up(store):
    """Whatever is called meanwhile waits for its turn."""
    gate = threading.Event()
    store._thread.submit(gate.wait)
    try:
        yield
        for _ in range(3):
            await asyncio.sleep(0)  # let what was called get to the queue
    finally:
        gate.set()


async def commits(store, calls):
    """How many transactions the calls take, all waiting at one time; and their results."""
    loop = asyncio.get_running_loop()
    statements: list[str] = []

    def trace(callback):
        store._connection.set_trace_callback(callback)

    await loop.run_in_executor(store._thread, trace, statements.append)
    async with thread_held_up(store):
        tasks = [asyncio.create_task(call) for call in calls]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await loop.run_in_executor(store._thread, trace, None)
    return statements.count("COMMIT"), results


@contextlib.asynccontextmanager
async def commits_noted(store):
    """Whether each commit from here on waits for the disk."""
    loop = asyncio.get_running_loop()
    noted: list[bool] = []
    # Said when it changes, so what it is now has to be asked.
    waits = await loop.run_in_executor(
        store._thread, lambda: store._connection.execute("PRAGMA synchronous").fetchone()[0]
    )
    settings = {"PRAGMA synchronous = FULL": 2, "PRAGMA synchronous = NORMAL": 1}

    def note(statement):
        nonlocal waits
        waits = settings.get(statement, waits)
        if statement == "COMMIT":
            noted.append(waits == 2)

    def trace(callback):
        store._connection.set_trace_callback(callback)

    await loop.run_in_executor(store._thread, trace, note)
    try:
        yield noted
    finally:
        await loop.run_in_executor(store._thread, trace, None)


async def test_a_charge_waits_for_the_disk_where_forgetting_it_would_cost(sqlite_store):
    claimed = Charge("id", "credential", State.CLAIMED, 1_000, "us")
    submitted = claimed._replace(state=State.SUBMITTED, reference="hash", envelope="AAAA")
    settled = submitted.settled("receipt", "payer", "hash", 2_000)
    async with commits_noted(sqlite_store) as waited:
        await sqlite_store.claim(claimed, ("nonce",), now=1)
        await sqlite_store.write(submitted, owner="us")
        await sqlite_store.write(settled, owner="us")
        await sqlite_store.write(settled.delivered(), owner="us")
    assert waited == [False, True, False, True]


async def test_a_charge_that_failed_waits_for_the_disk(sqlite_store):
    claimed = Charge("id", "credential", State.CLAIMED, 1_000, "us")
    await sqlite_store.claim(claimed, (), now=1)
    async with commits_noted(sqlite_store) as waited:
        await sqlite_store.write(claimed._replace(state=State.FAILED, problem="p"), owner="us")
    assert waited == [True]


async def test_every_spend_waits_for_the_disk(sqlite_store, new_channel):
    await sqlite_store.add_channel(new_channel())
    async with commits_noted(sqlite_store) as waited:
        await spend(sqlite_store)  # with a voucher
        await spend(sqlite_store)  # on its headroom
    assert waited == [True, True]


async def test_reading_changes_nothing_about_the_waiting(sqlite_store, new_channel):
    await sqlite_store.add_channel(new_channel())
    statements: list[str] = []
    loop = asyncio.get_running_loop()

    def trace(callback):
        sqlite_store._connection.set_trace_callback(callback)

    await loop.run_in_executor(sqlite_store._thread, trace, statements.append)
    for _ in range(2):
        await spend(sqlite_store)
        await sqlite_store.channel("channel")
    await loop.run_in_executor(sqlite_store._thread, trace, None)
    assert not [each for each in statements if each.startswith("PRAGMA synchronous")]


async def test_whoever_has_to_wait_for_the_disk_does_so_in_any_company(sqlite_store, new_channel):
    await sqlite_store.add_channel(new_channel())
    claims = [
        sqlite_store.claim(Charge(str(n), "c", State.CLAIMED, 1_000, "us"), (), now=1)
        for n in range(3)
    ]
    async with commits_noted(sqlite_store) as waited:
        async with thread_held_up(sqlite_store):
            tasks = [asyncio.create_task(call) for call in (*claims, spend(sqlite_store))]
        await asyncio.gather(*tasks)
    assert waited == [True]


async def test_spends_that_wait_have_one_transaction(sqlite_store, new_channel):
    for name in "ab":
        await sqlite_store.add_channel(new_channel(name))
    count, spends = await commits(
        sqlite_store, [spend(sqlite_store, "ab"[n % 2]) for n in range(50)]
    )
    assert count == 1
    assert [each.channel.spent for each in spends] == [n // 2 + 1 for n in range(50)]
    assert [each.channel.id for each in spends] == ["a", "b"] * 25


async def test_each_spend_has_its_own_outcome(sqlite_store, new_channel):
    await sqlite_store.add_channel(new_channel())
    calls = [
        spend(sqlite_store, cost=60),
        spend(sqlite_store, cost=60),
        spend(sqlite_store, "unknown"),
        spend(sqlite_store, cost=40),
        spend(sqlite_store, amount=99),
    ]
    count, spends = await commits(sqlite_store, calls)
    assert count == 1
    assert [each.outcome for each in spends] == [
        SpendOutcome.SPENT,
        SpendOutcome.INSUFFICIENT,
        SpendOutcome.UNKNOWN,
        SpendOutcome.SPENT,
        SpendOutcome.LOWER,
    ]


async def test_a_transaction_is_shared_by_so_many_and_no_more(sqlite_store, new_channel):
    await sqlite_store.add_channel(new_channel(deposited=10_000))
    many = MOST_TOGETHER + 1
    count, spends = await commits(
        sqlite_store, [spend(sqlite_store, amount=10_000) for _ in range(many)]
    )
    assert count == 2
    assert {each.channel.spent for each in spends} == set(range(1, many + 1))


async def test_a_spend_cancelled_before_its_turn_never_happens(sqlite_store, new_channel):
    await sqlite_store.add_channel(new_channel())
    async with thread_held_up(sqlite_store):
        tasks = [asyncio.create_task(spend(sqlite_store, cost=cost)) for cost in (1, 10, 20)]
        await asyncio.sleep(0)
        tasks[1].cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ends[1], asyncio.CancelledError)
    assert (await sqlite_store.channel("channel")).spent == 21


async def test_if_the_transaction_fails_none_of_them_has_spent(
    another_connection, sqlite_store, file, new_channel
):
    kept = await sqlite_store.add_channel(new_channel())
    with another_connection(file) as connection:
        connection.execute("BEGIN IMMEDIATE")
        count, ends = await commits(sqlite_store, [spend(sqlite_store) for _ in range(5)])
        connection.execute("ROLLBACK")
    assert count == 0
    for end in ends:
        with pytest.raises(StoreUnavailableError, match="locked for too long"):
            raise end
    assert await sqlite_store.channel(kept.id) == kept
    assert (await spend(sqlite_store)).outcome is SpendOutcome.SPENT


async def test_what_goes_wrong_in_one_is_its_own(sqlite_store, new_channel):
    kept = await sqlite_store.add_channel(new_channel())
    too_many = sqlite_store.spend(
        kept.id, amount=100, signature="s", cost=0, units=2**63, min_delta=0, now=1
    )
    count, (spent, failed, spent_too) = await commits(
        sqlite_store, [spend(sqlite_store), too_many, spend(sqlite_store)]
    )
    assert count == 1
    assert [type(failed), spent.outcome, spent_too.outcome] == [
        OverflowError,
        SpendOutcome.SPENT,
        SpendOutcome.SPENT,
    ]
    assert (await sqlite_store.channel(kept.id)).spent == 2


async def test_charges_and_channels_share_a_transaction(sqlite_store, new_channel):
    charge = Charge(id="c", credential="x", state=State.CLAIMED, keep_until=9, owner="v")
    count, _ = await commits(
        sqlite_store,
        [
            sqlite_store.add_channel(new_channel()),
            sqlite_store.claim(charge, (), now=1),
            sqlite_store.heartbeat("v", alive_until=9),
        ],
    )
    assert count == 1
    assert await sqlite_store.get("c") == charge


def test_a_loop_that_ends_takes_no_other_with_it(sqlite_store, new_channel):
    """The store belongs to no event loop: work of one that ended at once is done or not, and that
    of the next is."""

    async def asked_and_gone():
        asyncio.get_running_loop().create_task(sqlite_store.add_channel(new_channel("a")))
        await asyncio.sleep(0)

    async def go_on():
        await sqlite_store.add_channel(new_channel("b"))
        return await sqlite_store.channel("b")

    asyncio.run(asked_and_gone())
    assert asyncio.run(go_on()) is not None


class SaidItWasOpen(asyncio.SelectorEventLoop):
    """Ended right after it was asked whether it has: loops end on threads of their own."""

    is_asked_too_early = False

    def is_closed(self):
        return super().is_closed() and not self.is_asked_too_early


async def test_loops_that_end_just_then_keep_nobody_elses_caller_waiting(sqlite_store):
    """However many: whoever is told last is told."""
    ended = [SaidItWasOpen() for _ in range(8)]

    def ask_and_go():
        for loop in ended:
            loop.set_exception_handler(lambda *_: None)  # who asked is told nothing any more
            loop.call_soon(loop.create_task, sqlite_store.heartbeat("gone", alive_until=1))
            loop.call_soon(loop.call_soon, loop.stop)
            loop.run_forever()
            loop.close()
            loop.is_asked_too_early = True

    async with thread_held_up(sqlite_store):
        await asyncio.to_thread(ask_and_go)
        heartbeat = asyncio.create_task(sqlite_store.heartbeat("here", alive_until=1))
    try:
        await asyncio.wait_for(heartbeat, 10)
    finally:
        for loop in ended:
            loop.is_asked_too_early = False


async def test_spends_wait_for_nobody_who_is_gone(sqlite_store, new_channel):
    """All of them cancelled, the next has its turn."""
    await sqlite_store.add_channel(new_channel())
    async with thread_held_up(sqlite_store):
        task = asyncio.create_task(spend(sqlite_store))
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await spend(sqlite_store)).channel.spent == 1


# how long, and how many


class Clock:
    """Goes as it is told."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def waiting_store(file, clock):
    """Waits for 5 seconds of that clock."""
    store = SqliteStore(file, monotonic=clock)
    await store.open()
    yield store
    await store.close()


TOO_LATE = "The SQLite store failed: another process kept it locked for too long."


@pytest.mark.parametrize(("seconds", "is_late"), [(5, False), (5.001, True)])
async def test_a_call_whose_turn_comes_too_late_never_happens(
    waiting_store, clock, new_charge, seconds, is_late
):
    async with thread_held_up(waiting_store):
        calls = [
            asyncio.create_task(call)
            for call in (waiting_store.claim(new_charge("a"), [], now=0), waiting_store.get("a"))
        ]
        await asyncio.sleep(0)
        clock.now += seconds
        later = asyncio.create_task(waiting_store.claim(new_charge("b"), [], now=0))
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(end, StoreUnavailableError) for end in ends] == [is_late] * 2
    assert [str(end) == TOO_LATE for end in ends] == [is_late] * 2
    assert (await waiting_store.get("a") is None) == is_late
    assert (await later).outcome is Outcome.NEW


async def test_who_asked_first_gives_up_first_and_the_others_go_on(
    another_connection, waiting_store, file, clock, new_charge
):
    with another_connection(file) as connection:
        connection.execute("BEGIN IMMEDIATE")
        async with thread_held_up(waiting_store):
            first = asyncio.create_task(waiting_store.claim(new_charge("a"), ["p"], now=0))
            await asyncio.sleep(0)
            clock.now += 3
            second = asyncio.create_task(waiting_store.claim(new_charge("b"), ["p"], now=0))
        clock.now += 2
        with pytest.raises(StoreUnavailableError, match="locked for too long"):
            await first
        assert not second.done()
        connection.execute("ROLLBACK")
    assert (await second).outcome is Outcome.NEW
    assert await waiting_store.get("a") is None


async def test_reading_goes_on_while_writers_wait_for_another_process(
    another_connection, waiting_store, file, new_charge
):
    with another_connection(file) as connection:
        connection.execute("BEGIN IMMEDIATE")
        async with thread_held_up(waiting_store):
            claim = asyncio.create_task(waiting_store.claim(new_charge("a"), [], now=0))
        assert await asyncio.wait_for(waiting_store.get("a"), 60) is None
        async with asyncio.timeout(60):
            assert await asyncio.gather(*map(waiting_store.get, "abc")) == [None] * 3
        assert not claim.done()
        connection.execute("ROLLBACK")
    assert (await claim).outcome is Outcome.NEW
    assert await waiting_store.get("a") == new_charge("a")


async def test_where_too_many_wait_the_next_fails_at_once(monkeypatch, sqlite_store, new_charge):
    monkeypatch.setattr(sqlite_commits, "MOST_WAITING", 4)
    async with thread_held_up(sqlite_store):
        calls = [
            asyncio.create_task(call)
            for name in "ab"
            for call in (sqlite_store.claim(new_charge(name), [], now=0), sqlite_store.get("c"))
        ]
        await asyncio.sleep(0)
        for call in (sqlite_store.claim(new_charge("c"), [], now=0), sqlite_store.get("c")):
            with pytest.raises(StoreUnavailableError) as caught:
                await asyncio.wait_for(call, 60)
            assert str(caught.value) == "The SQLite store failed: too much is waiting for it."
    await asyncio.gather(*calls)
    assert await sqlite_store.get("b") == new_charge("b")
    assert await sqlite_store.get("c") is None
