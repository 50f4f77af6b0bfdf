"""Whatever fails meanwhile, what is earned is settled in the end, and once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.channel_watch import Seen
from mpp_asgi.stellar.guardian import LEASE
from mpp_asgi.stellar.guardian_duties import (
    FIRST_SECONDS,
    LONGEST_SECONDS,
    TRIES_LEFT,
    Duty,
    Reason,
    Retry,
    duty_of,
)
from mpp_asgi.stellar.network import LEDGER_SECONDS
from mpp_asgi.stellar.settlement import SettlementPolicy
from mpp_asgi.stores.channels import Channel
from mpp_asgi.stores.contract import StoreUnavailableError
from tests.methods.stores import FailingStore
from tests.session.watchtower import WAITING_PERIOD, Harbour, Process, make_harbour, until

READING = "getLedgerEntries"
SENDING = "sendTransaction"
SIMULATING = "simulateTransaction"
A_WEEK = 121_000
"""Ledgers; then what nobody used is archived."""


@pytest.fixture
def harbour() -> Harbour:
    return make_harbour()


@pytest.fixture
async def process(harbour: Harbour) -> AsyncIterator[Process]:
    async with harbour.process() as opened:
        yield opened


async def closing(harbour: Harbour, process: Process, cost: int = 30, **terms: Any) -> str:
    """A channel that its funder is closing, and that owes us something."""
    channel = await harbour.opened(process.store, **terms)
    await harbour.spend(process.store, channel, cost)
    harbour.close_start(channel)
    return channel


# The node


async def test_a_node_that_is_down_makes_the_guardian_late(
    harbour: Harbour, process: Process
) -> None:
    await process.guardian.round()
    await closing(harbour, process)
    harbour.node.silent = frozenset({"*"})
    for minute in range(1, 6):
        await harbour.sleep(60)
        report = await process.guardian.round()

        assert report is not None
        assert (report.channels, report.unread, report.is_full) == (1, 1, False)
        assert process.guardian.lateness == minute * 60
    harbour.node.silent = frozenset()
    report = await process.guardian.round()
    assert report is not None
    assert (report.settled, report.is_full) == (1, True)
    assert report.since_last is not None
    assert report.since_last >= 300
    assert harbour.earned() == 30


async def test_known_closings_are_tried_even_if_they_cannot_be_read(
    harbour: Harbour, process: Process
) -> None:
    await closing(harbour, process)
    harbour.node.silent = frozenset({SIMULATING})
    await process.guardian.round()
    harbour.node.silent = frozenset({"*"})
    await harbour.sleep(60)
    report = await process.guardian.round()

    assert report is not None
    assert (report.closing, report.unread, report.failed) == (1, 1, 1)
    assert harbour.earned() == 0


async def test_a_round_over_many_channels_is_given_up_if_the_node_is_down(
    harbour: Harbour, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpp_asgi.stellar.channel_watch.channels_a_call", lambda _: 2)
    for _ in range(20):
        await harbour.opened(process.store, amount=0)
    harbour.node.silent = frozenset({"*"})

    with pytest.raises(FaultError):
        await process.guardian.round()

    assert harbour.node.calls[READING] == 3
    assert process.guardian.report is None


async def test_one_answer_without_sense_does_not_hide_the_other_channels(
    harbour: Harbour, process: Process
) -> None:
    senseless = await harbour.opened(process.store, token=harbour.stage.sandbox.xlm, amount=5)
    good = [await closing(harbour, process) for _ in range(2)]
    sandbox = harbour.stage.sandbox

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        found = sandbox.rpc(request)
        if request["method"] == READING and len(request["params"]["keys"]) == 2:
            for entry in found["result"]["entries"]:
                entry["xdr"] = "AAAA"
        return found

    harbour.node._answer = answer
    report = await process.guardian.round()

    assert report is not None
    assert (report.channels, report.unread, report.closing) == (3, 1, 2)
    harbour.node._answer = sandbox.rpc
    await harbour.sleep(600)
    await process.guardian.round()
    assert [harbour.paid(each) for each in good] == [30, 30]
    assert harbour.paid(senseless) == 0


async def test_a_settlement_that_fails_is_tried_again_until_it_is_through(
    harbour: Harbour, process: Process
) -> None:
    await closing(harbour, process)
    harbour.node.silent = frozenset({SIMULATING})
    tries = []
    began = harbour.now()
    while harbour.now() < began + 200:
        before = harbour.node.calls[SIMULATING]
        await process.guardian.round()
        if harbour.node.calls[SIMULATING] > before:
            tries.append(harbour.now() - began)
        await harbour.sleep(1)

    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses[:3] == [5, 10, 20]
    assert max(pauses) <= (WAITING_PERIOD * LEDGER_SECONDS) / TRIES_LEFT + 1
    assert harbour.earned() == 0

    harbour.node.silent = frozenset()
    await harbour.sleep(100)
    report = await process.guardian.round()
    assert harbour.earned() == 30
    assert report is not None
    assert (report.settled, report.failed, report.put_off) == (1, 0, 0)


async def test_a_settlement_in_doubt_is_followed_and_not_repeated(
    harbour: Harbour, process: Process
) -> None:
    channel = await closing(harbour, process)
    since = harbour.ledger
    harbour.node.silent = frozenset({"getTransaction"})
    report = await process.guardian.round()
    assert report is not None
    assert report.failed == 1

    harbour.node.silent = frozenset()
    await harbour.sleep(10)
    await process.guardian.round()

    assert harbour.withdrawals(since) == [channel]
    assert harbour.node.calls[SENDING] == 1
    assert harbour.earned() == 30


async def test_a_submission_that_nobody_answered_is_followed(
    harbour: Harbour, process: Process
) -> None:
    channel = await closing(harbour, process)
    since = harbour.ledger
    harbour.node.silent = frozenset({SENDING})
    await process.guardian.round()
    assert harbour.earned() == 0

    harbour.node.silent = frozenset()
    for _ in range(3):
        await harbour.sleep(60)
        await process.guardian.round()

    assert harbour.withdrawals(since) == [channel]
    assert harbour.earned() == 30


async def test_the_most_urgent_is_tried_again_before_hundreds_of_others(
    harbour: Harbour, process: Process
) -> None:
    """A node that takes nothing is not asked for each of many channels in turn."""
    channels = [await closing(harbour, process, period=100 + each) for each in range(8)]
    harbour.node.silent = frozenset({SIMULATING})
    report = await process.guardian.round()
    assert report is not None
    assert report.failed == harbour.node.calls[SIMULATING] == 3
    assert report.put_off == 8

    harbour.node.silent = frozenset()
    since = harbour.ledger
    await harbour.sleep(10)
    await process.guardian.round()

    assert harbour.withdrawals(since) == channels


@pytest.mark.parametrize(
    ("ledger", "left"), [(None, 50), (90, 50), (100, 50), (130, 20), (151, -1)]
)
def test_the_time_that_is_left_is_by_the_newest_ledger_that_is_known(
    ledger: int | None, left: int
) -> None:
    """A record is not written when a younger ledger says the same."""
    channel = Channel("C1", "", "G1", "G2", "C2", 100, 10, 0, 100, 0, 150, 5, "ab" * 64, spent=5)
    duty = duty_of(Seen(channel, channel, ledger), SettlementPolicy(), 1_000)
    assert duty is not None
    assert (duty.reason, duty.ledgers_left) == (Reason.CLOSING, left)


@given(st.integers(0, 40), st.none() | st.integers(-1_000, 20_000))
def test_tries_come_often_enough_for_the_time_that_is_left(failures: int, left: int | None) -> None:
    channel = Channel("C1", "", "G1", "G2", "C2", 100, 10, 0, 1, 0)
    last = Retry(failures, 0) if failures else None
    retry = Retry.after(last, Duty(channel, Reason.CLOSING, left), 1_000)

    pause = retry.at - 1_000
    assert retry.failures == failures + 1
    assert FIRST_SECONDS <= pause <= LONGEST_SECONDS
    if left is None:
        assert pause == min(FIRST_SECONDS * 2**failures, LONGEST_SECONDS)
    elif left <= 0:
        assert pause == FIRST_SECONDS, "its funder may take what is left at any moment"
    elif left * LEDGER_SECONDS > TRIES_LEFT * FIRST_SECONDS:
        assert pause <= left * LEDGER_SECONDS / TRIES_LEFT


@pytest.mark.parametrize("looks_again", [False, True])
async def test_a_try_that_a_clock_ahead_has_put_off_is_made_once_that_is_put_right(
    harbour: Harbour, process: Process, *, looks_again: bool
) -> None:
    await closing(harbour, process)
    ahead = 2 * 24 * 3_600
    process.guardian._clock = lambda: harbour.now() + ahead
    harbour.node.silent = frozenset({SIMULATING})
    await process.guardian.round()

    harbour.node.silent = frozenset()
    ahead = 0
    await harbour.sleep(1)
    if looks_again:
        await process.guardian._look_again()
    else:
        await process.guardian.round()
    assert harbour.earned() == 30


async def test_what_is_noted_is_heard_once_a_clock_ahead_is_put_right(harbour: Harbour) -> None:
    """Another process guarded when the clock was ahead, and does no more."""
    policy = SettlementPolicy(amount=10)
    async with harbour.process(policy) as first, harbour.process(policy) as second:
        await first.guardian.round()
        ahead = 250
        second.guardian._clock = lambda: harbour.now() + ahead
        await first.store.lease(LEASE, owner="process 1", until=int(harbour.now()) + 350, now=0)
        assert await second.guardian.round() is None
        await first.guardian.aclose()
        ahead = 0
        assert await second.guardian.round() is not None
        channel = await harbour.opened(second.store)
        second.guardian.note(await harbour.spend(second.store, channel, 30))
        await second.guardian._look_again()
        await second.guardian.aclose()
    assert harbour.earned() == 30


# The store


@pytest.mark.parametrize("call", range(12))
@pytest.mark.parametrize("writes", [False, True])
async def test_a_store_that_fails_anywhere_costs_nothing_but_time(
    harbour: Harbour, call: int, *, writes: bool
) -> None:
    failing: list[FailingStore] = []

    def around(store: Any) -> FailingStore:
        failing.append(FailingStore(store, writes=writes))
        return failing[-1]

    async with harbour.process(around=around) as process:
        channel = await closing(harbour, process)
        since = harbour.ledger
        failing[0].calls.clear()
        failing[0].fail_at = range(call, call + 1)
        with suppress(StoreUnavailableError):
            await process.guardian.round()
        assert len(failing[0].calls) > call

        for _ in range(3):
            await harbour.sleep(60)
            await process.guardian.round()

        assert harbour.withdrawals(since) == [channel]
        assert harbour.earned() == 30
        found = await process.store.channel(channel)
        assert found is not None
        assert found.settled == 30


async def test_a_guardian_at_work_outlives_a_store_that_is_down(harbour: Harbour) -> None:
    failing: list[FailingStore] = []

    def around(store: Any) -> FailingStore:
        failing.append(FailingStore(store))
        return failing[-1]

    async with harbour.process(around=around, interval=0.01) as process:
        await closing(harbour, process)
        failing[0].fail_at = range(len(failing[0].calls), 10**9)
        asked = len(failing[0].calls)
        process.guardian.start()
        await until(lambda: len(failing[0].calls) > asked)
        failing[0].fail_at = range(0)
        async with asyncio.timeout(60):
            while harbour.earned() == 0:
                await harbour.sleep(1)
        await process.guardian.aclose()

    assert harbour.earned() == 30


# Processes that end


@pytest.mark.parametrize("step", range(14))
@pytest.mark.parametrize("is_done", [False, True])
async def test_another_process_finishes_what_one_was_killed_at(
    harbour: Harbour, step: int, *, is_done: bool
) -> None:
    """From some step on the store hears no more of it: not even that it lets go of its leases."""
    mortal: list[FailingStore] = []

    def around(store: Any) -> FailingStore:
        mortal.append(FailingStore(store, writes=is_done))
        return mortal[-1]

    async with harbour.process(around=around) as first:
        channel = await closing(harbour, first)
        since = harbour.ledger
        before = len(mortal[0].calls)
        mortal[0].fail_at = range(before + step, before + step + 1)
        with suppress(StoreUnavailableError):
            await until_killed(first, mortal[0], before + step)
        await first.die()
    killed = harbour.now()

    async with harbour.process() as second:
        while (await second.guardian.round()) is None or not harbour.earned():
            assert harbour.now() < killed + 600
            await harbour.sleep(30)
        await harbour.sleep(200)
        await second.guardian.round()
        found = await second.store.channel(channel)

    assert harbour.withdrawals(since) == [channel]
    assert harbour.earned() == 30
    assert found is not None
    assert found.settled == 30


async def until_killed(process: Process, store: FailingStore, call: int) -> None:
    """A round, up to a call of the store after which the process does nothing any more."""
    work = asyncio.create_task(process.guardian.round())
    real = store._call

    async def mortal_call(name: str, operation: Any) -> Any:
        try:
            return await real(name, operation)
        except StoreUnavailableError:
            await asyncio.Event().wait()

    store._call = mortal_call  # type: ignore[method-assign] # only here
    while not work.done() and len(store.calls) <= call:  # noqa: ASYNC110 # the store cannot tell
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    store.fail_at = range(10**9)  # whatever its end would still say
    store._writes = False
    store._call = real  # type: ignore[method-assign] # as above
    work.cancel()
    with suppress(asyncio.CancelledError, StoreUnavailableError):
        await work


@pytest.mark.parametrize("moment", range(3))
async def test_what_is_cut_off_is_finished_by_the_next_process(
    harbour: Harbour, moment: int
) -> None:
    """A settlement is cut off where it waits: for the ledger, or for the node to catch up."""
    sleeps = 0
    is_waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal sleeps
        sleeps += 1
        if sleeps > moment:
            is_waiting.set()
            await asyncio.Event().wait()
        await harbour.sleep(seconds)

    async with harbour.process(sleep=sleep) as first:
        channel = await closing(harbour, first)
        since = harbour.ledger
        work = asyncio.create_task(first.guardian.round())
        await is_waiting.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await first.die()

    async with harbour.process(SettlementPolicy()) as second:
        for _ in range(4):
            await harbour.sleep(100)
            await second.guardian.round()
        found = await second.store.channel(channel)

    assert harbour.withdrawals(since) == [channel]
    assert harbour.earned() == 30
    assert found is not None
    assert found.settled == 30


async def test_a_channel_that_the_node_does_not_show_is_settled_all_the_same(
    harbour: Harbour,
) -> None:
    """Some nodes do not show what was idle until it was archived."""
    sandbox = harbour.stage.sandbox
    is_hidden = True

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal is_hidden
        found = sandbox.rpc(request)
        is_hidden = is_hidden and request["method"] != SENDING
        if is_hidden and len(request.get("params", {}).get("keys", ())) == 2:
            found["result"]["entries"] = []
        return found

    async with harbour.process(SettlementPolicy(age=3_600)) as process:
        channel = await harbour.opened(process.store)
        await harbour.spend(process.store, channel, 30)
        await harbour.sleep(A_WEEK * LEDGER_SECONDS)
        harbour.node._answer = answer

        report = await process.guardian.round()

        assert report is not None
        assert (report.missing, report.unread, report.settled) == (1, 0, 1)
        assert harbour.earned() == 30
        found = await process.store.channel(channel)
        assert found is not None
        assert found.settled == 30
