"""A balance that is not shown, or not to be had at the moment, is no reason to let a deposit go."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi.stellar.channel_facts import ChannelFacts
from mpp_asgi.stellar.observation import deposited, is_over
from mpp_asgi.stores.channels import Channel, ChannelStatus
from tests.session.watchtower import DEPOSIT, LEDGER_SECONDS, WAITING_PERIOD, make_harbour

if TYPE_CHECKING:
    from tests.session.watchtower import Harbour, Process

A_MONTH = 17_280 * 31
"""Ledgers; then what nobody used is archived."""


class Hiding:
    """A node that shows nothing of what is archived, as long as it `hides`."""

    def __init__(self, harbour: Harbour) -> None:
        self._sandbox = harbour.stage.sandbox
        self.hides = True
        harbour.node._answer = self

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        found = self._sandbox.rpc(request)
        if self.hides and request["method"] == "getLedgerEntries":
            result = found["result"]
            latest = result["latestLedger"]
            result["entries"] = [
                entry
                for entry in result["entries"]
                if entry.get("liveUntilLedgerSeq", latest) >= latest
            ]
        return found


async def idle_for_a_month(harbour: Harbour, process: Process) -> str:
    """A channel of which 30 were spent, and that its funder is closing since: which brings the
    contract back, and not its balance."""
    channel = await harbour.opened(process.store)
    await harbour.spend(process.store, channel, 30)
    await harbour.sleep(A_MONTH * LEDGER_SECONDS)
    harbour.close_start(channel)
    return channel


async def test_a_channel_whose_balance_is_archived_is_settled_in_time() -> None:
    harbour = make_harbour()
    async with harbour.process() as process:
        await idle_for_a_month(harbour, process)
        Hiding(harbour)
        report = await process.guardian.round()
        assert report is not None
        assert (report.missing, report.unread, report.settled) == (1, 0, 1)
        assert harbour.earned() == 30


async def test_it_is_kept_until_the_node_shows_what_is_in_it() -> None:
    harbour = make_harbour()
    async with harbour.process() as process:
        channel = await idle_for_a_month(harbour, process)
        harbour.pass_ledgers(WAITING_PERIOD + 1)
        node = Hiding(harbour)
        harbour.node.silent = frozenset({"simulateTransaction"})
        for _ in range(3):
            await process.guardian.round()
            await harbour.sleep(60)
            found = await process.store.channel(channel)
            assert found is not None
            assert (found.status, found.deposited) == (ChannelStatus.OPEN, DEPOSIT)
        node.hides = False
        harbour.node.silent = frozenset()
        await harbour.sleep(600)
        await process.guardian.round()
        assert harbour.earned() == 30


async def test_a_refund_that_is_shown_is_the_end_of_it() -> None:
    harbour = make_harbour()
    async with harbour.process() as process:
        channel = await idle_for_a_month(harbour, process)
        harbour.pass_ledgers(WAITING_PERIOD)
        harbour.refund(channel)
        Hiding(harbour)
        report = await process.guardian.round()
        assert report is not None
        assert (report.lost, report.missing) == ({harbour.stage.usdc: 30}, 0)
        found = await process.store.channel(channel)
        assert found is not None
        assert found.status is ChannelStatus.CLOSED


async def test_a_channel_that_was_given_up_is_paid_once_there_is_something_in_it() -> None:
    """What is on record of its deposit may be wrong; the ledger says."""
    harbour = make_harbour()
    async with harbour.process() as process:
        channel = await harbour.opened(process.store)
        await harbour.spend(process.store, channel, 30)
        harbour.close_start(channel)
        harbour.pass_ledgers(WAITING_PERIOD)
        await process.store.observe(
            channel,
            ledger=harbour.ledger,
            deposited=0,
            settled=0,
            closes_at=harbour.ledger,
            closed=True,
            now=int(harbour.now()),
        )
        await process.guardian.round()
        assert harbour.earned() == 30


async def test_a_closed_channel_that_owes_nothing_is_not_looked_at() -> None:
    harbour = make_harbour()
    async with harbour.process() as process:
        channel = await harbour.opened(process.store)
        await harbour.spend(process.store, channel, 30)
        harbour.channels.close(channel, 30)
        await process.guardian.round()
        await harbour.sleep(3_600)
        report = await process.guardian.round()
        assert report is not None
        assert report.calls == 0


RECORD = Channel("C1", "", "G1", "G2", "C2", 100, 1_000, 100, 1, 0, accepted=300, spent=300)
FACTS = ChannelFacts(
    id="C1",
    wasm_hash="",
    token="C2",
    funder="G1",
    recipient="G2",
    key="",
    waiting_period=100,
    balance=0,
    withdrawn=100,
    closes_at=5,
    ledger=9,
)
HIDDEN = replace(FACTS, shows_balance=False)


@pytest.mark.parametrize(
    ("channel", "facts", "over"),
    [
        (RECORD, FACTS, True),
        (RECORD, replace(FACTS, closes_at=10), False),
        (RECORD, replace(FACTS, balance=1), False),
        (RECORD, replace(FACTS, frozen=1), False),
        (RECORD, HIDDEN, False),
        (RECORD, replace(HIDDEN, withdrawn=300), True),
        (RECORD._replace(deposited=100), HIDDEN, True),
        (RECORD._replace(closing_amount=100), HIDDEN, True),
        (RECORD._replace(closing_amount=101), HIDDEN, False),
    ],
)
def test_what_is_over(channel: Channel, facts: ChannelFacts, *, over: bool) -> None:
    assert is_over(channel, facts) == over


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (FACTS, 100),
        (replace(FACTS, balance=5), 105),
        (replace(FACTS, frozen=5), 100),
        (HIDDEN, 1_000),
        (replace(HIDDEN, withdrawn=1_200), 1_200),
    ],
)
def test_what_is_deposited(facts: ChannelFacts, expected: int) -> None:
    assert deposited(RECORD, facts) == expected
