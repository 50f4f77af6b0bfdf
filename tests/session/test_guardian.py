"""The guardian sees that a channel is being pulled away, and settles it in time."""

import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mpp_asgi.intents import RefusalError
from mpp_asgi.stellar.settlement import NothingToSettleError, SettlementPolicy
from mpp_asgi.stores.channels import ChannelStatus, CloseOutcome, SpendOutcome
from tests.session.watchtower import (
    DEPOSIT,
    INTERVAL,
    WAITING_PERIOD,
    Harbour,
    Process,
    make_harbour,
)


@pytest.fixture
def harbour() -> Harbour:
    return make_harbour()


@pytest.fixture
async def process(harbour: Harbour) -> AsyncIterator[Process]:
    async with harbour.process() as opened:
        yield opened


# A funder that pulls its money away


async def test_settles_as_soon_as_the_funder_begins_to_close(
    harbour: Harbour, process: Process
) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    await process.guardian.round()
    assert harbour.earned() == 0

    harbour.close_start(channel)
    report = await process.guardian.round()

    assert harbour.earned() == harbour.paid(channel) == 30
    assert report is not None
    assert (report.closing, report.settled, report.failed) == (1, 1, 0)
    assert report.at_risk == {harbour.stage.usdc: 30}
    assert report.fewest_ledgers is not None
    assert WAITING_PERIOD - 3 <= report.fewest_ledgers <= WAITING_PERIOD


async def test_takes_the_headroom_with_what_is_earned_when_the_channel_closes(
    harbour: Harbour, process: Process
) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30, ahead=50)
    harbour.close_start(channel)

    await process.guardian.round()

    assert harbour.earned() == 80


async def test_takes_nothing_where_nothing_is_earned(harbour: Harbour, process: Process) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 0, ahead=50)
    harbour.close_start(channel)

    report = await process.guardian.round()

    assert harbour.earned() == 0
    assert report is not None
    assert (report.settled, report.at_risk) == (0, {harbour.stage.usdc: 50})


async def test_nothing_is_sold_on_a_channel_that_is_seen_to_close(
    harbour: Harbour, process: Process
) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    harbour.close_start(channel)
    await process.guardian.round()

    spend = await process.store.spend(
        channel,
        amount=60,
        signature=harbour.channels.sign(channel, 60).hex(),
        cost=30,
        units=1,
        min_delta=0,
        now=int(harbour.now()),
    )

    assert spend.outcome is SpendOutcome.CLOSING


async def test_money_is_saved_after_an_outage_through_most_of_the_waiting_period(
    tmp_path: Path,
) -> None:
    harbour = make_harbour(tmp_path / "records.db")
    async with harbour.process() as before:
        channel = await harbour.opened(before.store)
        await before.guardian.round()
        await harbour.spend(before.store, channel, 120)
        await before.die()
    funds = harbour.stage.usdc_of(harbour.stage.payer)
    harbour.close_start(channel)
    harbour.pass_ledgers(WAITING_PERIOD - 20)

    async with harbour.process() as after:
        report = await after.guardian.round()

        assert harbour.earned() == 120
        assert report is not None
        assert report.fewest_ledgers is not None
        assert 15 <= report.fewest_ledgers <= 20
        harbour.pass_ledgers(20)
        harbour.refund(channel)
        report = await after.guardian.round()

    assert harbour.stage.usdc_of(harbour.stage.payer) == funds + DEPOSIT - 120
    assert report is not None
    assert (report.channels, report.lost, report.failed) == (0, {}, 0)


async def test_is_paid_late_as_long_as_the_funder_has_not_taken_its_money(
    harbour: Harbour, process: Process
) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    harbour.close_start(channel)
    harbour.pass_ledgers(WAITING_PERIOD + 10)

    report = await process.guardian.round()

    assert harbour.earned() == 30
    assert report is not None
    assert report.fewest_ledgers is not None
    assert report.fewest_ledgers < 0


async def test_is_paid_from_a_channel_that_is_on_record_as_closed(
    harbour: Harbour, process: Process
) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    harbour.close_start(channel)
    harbour.pass_ledgers(WAITING_PERIOD)
    await process.store.observe(
        channel,
        ledger=harbour.ledger,
        deposited=DEPOSIT,
        settled=0,
        closes_at=harbour.ledger,
        closed=True,
        now=int(harbour.now()),
    )

    await process.guardian.round()

    assert harbour.earned() == 30


async def test_says_what_is_lost_once_the_funder_has_taken_it(
    harbour: Harbour, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    harbour.close_start(channel)
    harbour.pass_ledgers(WAITING_PERIOD)
    harbour.refund(channel)

    with caplog.at_level(logging.ERROR, "mpp_asgi.guardian"):
        report = await process.guardian.round()
        again = await process.guardian.round()

    assert report is not None
    assert again is not None
    assert (report.lost, report.settled, report.failed) == ({harbour.stage.usdc: 30}, 0, 0)
    assert again.lost == {}
    assert harbour.node.calls["sendTransaction"] == 0
    assert len(caplog.records) == 1
    assert channel in caplog.text
    found = await process.store.channel(channel)
    assert found is not None
    assert found.status is ChannelStatus.CLOSED


async def test_a_channel_without_debts_closes_without_a_word(
    harbour: Harbour, process: Process
) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    harbour.channels.settle(channel, 30)
    harbour.close_start(channel)
    harbour.pass_ledgers(WAITING_PERIOD)
    harbour.refund(channel)

    report = await process.guardian.round()

    assert report is not None
    assert (report.lost, report.settled) == ({}, 0)


async def test_the_most_urgent_come_first(harbour: Harbour, process: Process) -> None:
    periods = (300, 50, 150)
    channels = [await harbour.opened(process.store, period=period) for period in periods]
    for channel in channels:
        await harbour.spend(process.store, channel, 30)
        harbour.close_start(channel)
    since = harbour.ledger

    await process.guardian.round()

    assert harbour.withdrawals(since) == [channels[1], channels[2], channels[0]]


async def test_what_cannot_wait_comes_before_what_is_only_due(harbour: Harbour) -> None:
    async with harbour.process(SettlementPolicy(amount=10)) as process:
        due, dearer, closing = [await harbour.opened(process.store) for _ in range(3)]
        await harbour.spend(process.store, due, 100)
        await harbour.spend(process.store, dearer, 200)
        await harbour.spend(process.store, closing, 1)
        harbour.close_start(closing)
        since = harbour.ledger

        await process.guardian.round()

    assert harbour.withdrawals(since) == [closing, dearer, due]


async def test_takes_no_more_than_the_payer_closes_with(harbour: Harbour) -> None:
    """Whoever asks us to close is owed its headroom, also if we were about to settle it."""
    async with harbour.process(SettlementPolicy(amount=10)) as process:
        channel = await harbour.opened(process.store)
        await harbour.spend(process.store, channel, 30, ahead=200)
        signature = harbour.channels.sign(channel, 30).hex()
        now = int(harbour.now())

        def answer(request: dict[str, Any]) -> dict[str, Any]:
            """Its payer closes in the midst of our simulation, which a store in memory takes."""
            if request["method"] == "simulateTransaction" and harbour.now() < now + 100:
                closing = harbour.memory.begin_close(
                    channel, amount=30, signature=signature, now=now
                )
                with suppress(StopIteration):
                    closing.send(None)
            return harbour.stage.sandbox.rpc(request)

        harbour.node._answer = answer
        await process.guardian.round()
        assert harbour.earned() == 0

        await harbour.sleep(300)
        await process.guardian.round()
        assert harbour.earned() == 30
        found = await process.store.channel(channel)
        assert found is not None
        assert found.status is ChannelStatus.CLOSED


# What else happens to channels


async def test_follows_what_others_put_into_a_channel(harbour: Harbour, process: Process) -> None:
    channel = await harbour.opened(process.store)
    harbour.top_up(channel, 250)

    await process.guardian.round()

    found = await process.store.channel(channel)
    assert found is not None
    assert found.deposited == DEPOSIT + 250
    await harbour.spend(process.store, channel, DEPOSIT + 250)


async def test_follows_what_was_settled_by_another_hand(harbour: Harbour, process: Process) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    harbour.channels.settle(channel, 30)

    report = await process.guardian.round()

    assert report is not None
    assert report.at_risk == {harbour.stage.usdc: 0}


async def test_finishes_a_close_that_a_process_died_at(harbour: Harbour, process: Process) -> None:
    funds = harbour.stage.usdc_of(harbour.stage.payer)
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30, ahead=40)
    begun = await process.store.begin_close(
        channel,
        amount=30,
        signature=harbour.channels.sign(channel, 30).hex(),
        now=int(harbour.now()),
    )
    assert begun.outcome is CloseOutcome.BEGUN

    await process.guardian.round()
    assert harbour.earned() == 0, "whoever has begun may be at it still"
    await harbour.sleep(300)
    await process.guardian.round()

    assert harbour.earned() == 30
    assert harbour.stage.usdc_of(harbour.stage.payer) == funds - 30
    found = await process.store.channel(channel)
    assert found is not None
    assert found.status is ChannelStatus.CLOSED


async def test_a_channel_that_the_node_does_not_show_is_counted(
    harbour: Harbour, process: Process
) -> None:
    channel = await harbour.opened(process.store)
    found = await process.store.channel(channel)
    assert found is not None
    await process.store.add_channel(found._replace(id=harbour.channels.factory))

    report = await process.guardian.round()

    assert report is not None
    assert (report.channels, report.missing, report.unread, report.is_full) == (2, 1, 0, True)


async def test_closed_channels_are_forgotten_after_a_month(
    harbour: Harbour, process: Process
) -> None:
    channel = await harbour.opened(process.store)
    harbour.channels.close(channel, 0)
    await process.guardian.round()
    assert await process.store.channel(channel) is not None

    await harbour.sleep(31 * 24 * 3600)
    await process.guardian.round()

    assert await process.store.channel(channel) is None


# Routine


async def test_settles_when_the_policy_says_so(harbour: Harbour) -> None:
    async with harbour.process(SettlementPolicy(amount=100)) as process:
        channel = await harbour.opened(process.store)
        await harbour.spend(process.store, channel, 99)
        await process.guardian.round()
        assert harbour.earned() == 0

        await harbour.spend(process.store, channel, 1)
        await process.guardian.round()
        assert harbour.earned() == 100

        await process.guardian.round()
        assert harbour.node.calls["sendTransaction"] == 1


async def test_what_is_settled_is_good_for_the_rest_of_its_headroom(harbour: Harbour) -> None:
    async with harbour.process(SettlementPolicy(amount=50)) as process:
        channel = await harbour.opened(process.store)
        await harbour.spend(process.store, channel, 60, ahead=90)
        await process.guardian.round()
        assert harbour.earned() == 0, "the payer may want its headroom back"

        await harbour.spend(process.store, channel, 40)
        await process.guardian.round()
        assert harbour.earned() == 150

        # With a higher voucher: everybody can read the one that was settled.
        found = await harbour.spend(process.store, channel, 50, ahead=1)
        assert (found.accepted, found.spent, found.settled) == (151, 150, 150)


# Reporting


async def test_its_lateness_is_measured(harbour: Harbour, process: Process) -> None:
    await harbour.opened(process.store)
    assert process.guardian.lateness is None
    await process.guardian.round()
    assert process.guardian.lateness == 0
    await harbour.sleep(70)

    assert process.guardian.lateness == 70
    report = await process.guardian.round()
    assert report is not None
    assert report.since_last == 70
    assert process.guardian.report is report


async def test_money_at_risk_is_told_by_token(harbour: Harbour, process: Process) -> None:
    xlm = harbour.stage.sandbox.xlm
    for token, cost in ((harbour.stage.usdc, 10), (harbour.stage.usdc, 5), (xlm, 7)):
        channel = await harbour.opened(process.store, token=token)
        await harbour.spend(process.store, channel, cost)

    report = await process.guardian.round()

    assert report is not None
    assert report.at_risk == {harbour.stage.usdc: 15, xlm: 7}
    assert report.calls == 2


async def test_a_round_is_one_line_without_secrets(
    harbour: Harbour, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    channel = await harbour.opened(process.store)
    found = await harbour.spend(process.store, channel, 30)
    harbour.close_start(channel)

    with caplog.at_level(logging.DEBUG, "mpp_asgi"):
        await process.guardian.round()

    lines = [each.getMessage() for each in caplog.records if "guarded" in each.getMessage()]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    pairs = dict(pair.split("=") for pair in lines[0].removeprefix("guarded ").split())
    assert pairs["channels"] == pairs["closing"] == pairs["settled"] == pairs["calls"] == "1"
    assert pairs["at_risk"] == f"{harbour.stage.usdc}:30"
    assert found.signature not in caplog.text
    assert harbour.stage.seller.secret not in caplog.text


# On demand


async def test_settles_on_demand(harbour: Harbour, process: Process) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30, ahead=10)

    tx_hash = await process.guardian.settle_now(channel)

    assert tx_hash is not None
    assert harbour.stage.rpc("getTransaction", hash=tx_hash)["status"] == "SUCCESS"
    assert harbour.earned() == 40
    with pytest.raises(NothingToSettleError):
        await process.guardian.settle_now(channel)
    with pytest.raises(NothingToSettleError):
        await process.guardian.settle_now(harbour.channels.factory)


async def test_says_on_demand_why_it_cannot_settle(harbour: Harbour, process: Process) -> None:
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    harbour.close_start(channel)
    harbour.pass_ledgers(WAITING_PERIOD)
    harbour.refund(channel)

    with pytest.raises(RefusalError):
        await process.guardian.settle_now(channel)


# Many


@pytest.mark.repeating
async def test_a_thousand_channels_cost_ten_calls_a_round(
    harbour: Harbour, process: Process
) -> None:
    await harbour.record(process.store, *harbour.open_empty(999))
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    harbour.node.calls.clear()

    began = harbour.now()
    report = await process.guardian.round()
    assert report is not None
    assert (report.channels, report.calls, report.is_full) == (1_000, 10, True)
    assert harbour.node.calls == {"getLedgerEntries": 10}
    assert harbour.now() - began < INTERVAL

    harbour.close_start(channel)
    report = await process.guardian.round()
    assert report is not None
    assert (report.calls, report.settled) == (10, 1)
    assert harbour.earned() == 30


async def test_no_channels_cost_nothing(harbour: Harbour, process: Process) -> None:
    report = await process.guardian.round()

    assert report is not None
    assert report.calls == sum(harbour.node.calls.values()) == 0
