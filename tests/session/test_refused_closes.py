"""A close that does not come off: whether the channel sells again, and that nothing is sold that
another close, on its way at that time, leaves without cover."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.channels import ChannelStatus
from tests.charge.bad_line import Plan, altered, shop_on_bad_line
from tests.session.drawer import CALL, Funder, problem_of
from tests.shop import RECIPIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpp_asgi.protocol import Challenge
    from tests.charge.bad_line import Answer, BadLine, Request
    from tests.shop import Shop

SIMULATING = "simulateTransaction"
REVERTED = "HostError: Error(Contract, #4)\n\nDebugInfo not available"
TROUBLE = "could not read the snapshot"


@asynccontextmanager
async def shop_with_a_channel() -> AsyncIterator[tuple[Shop, BadLine, Funder, Challenge]]:
    """A channel of which one call was paid."""
    async with shop_on_bad_line(recipient_secret=RECIPIENT.secret) as (shop, line):
        funder = Funder(shop, 1)
        challenge = await funder.challenge()
        assert (await shop.show(funder.open(challenge, CALL))).status_code == 200
        yield shop, line, funder, challenge


def wrong_about(error: str, *, behind: int = 0, more: int = 0) -> Plan:
    """Simulations that fail, of a node that is so many ledgers behind."""

    def answer(line: BadLine, request: Request) -> Answer:
        latest = line.sandbox.rpc(request)["result"]["latestLedger"]
        found = altered(error=error, latestLedger=latest - behind)(line, request)
        found["result"].pop("restorePreamble", None)
        return found

    return Plan(SIMULATING, 0, answer, more)


async def test_a_close_that_the_ledger_refuses_leaves_the_channel_open() -> None:
    async with shop_with_a_channel() as (shop, line, funder, challenge):
        line.follow(wrong_about(REVERTED))
        refused = await shop.show(funder.voucher(challenge, CALL, action="close"))
        assert problem_of(refused) == (409, "session/transaction-reverted")
        assert (await funder.record()).status is ChannelStatus.OPEN
        assert (await funder.pay(challenge, 2 * CALL)).status_code == 200


@pytest.mark.parametrize(
    "plan",
    [wrong_about(TROUBLE), wrong_about(REVERTED, behind=10_000)],
    ids=["in trouble", "behind"],
)
async def test_a_node_in_trouble_says_nothing_of_the_close(plan: Plan) -> None:
    """It is our fault, and the channel goes on closing."""
    async with shop_with_a_channel() as (shop, line, funder, challenge):
        closing = funder.voucher(challenge, CALL, action="close")
        line.follow(plan)
        failed = await shop.show(closing)
        assert failed.status_code == 503
        assert "retry-after" in failed.headers
        assert (await funder.record()).status is ChannelStatus.CLOSING
        assert problem_of(await funder.pay(challenge, 2 * CALL)) == (
            410,
            "session/channel-finalized",
        )
        line.follow()
        assert (await shop.show(closing)).status_code == 204
        assert shop.earned() == CALL


async def test_nothing_is_sold_if_the_ledger_cannot_be_asked_after_a_refusal() -> None:
    """The refusal may be the funder's doing, whose refund came first."""
    async with shop_with_a_channel() as (shop, line, funder, challenge):

        def refuse_and_vanish(line: BadLine, request: Request) -> Answer:
            line.follow(Plan("getLedgerEntries", 0, altered(entries="no"), more=1_000))
            return altered(error=REVERTED)(line, request)

        line.follow(Plan(SIMULATING, 0, refuse_and_vanish))
        failed = await shop.show(funder.voucher(challenge, CALL, action="close"))
        assert failed.status_code == 503
        assert (await funder.record()).status is ChannelStatus.CLOSING


async def test_nothing_is_sold_on_a_channel_that_is_not_there_any_more() -> None:
    async with shop_with_a_channel() as (shop, line, funder, challenge):
        line.follow(
            Plan("getLedgerEntries", 0, altered(entries=[]), more=1_000), wrong_about(REVERTED)
        )
        refused = await shop.show(funder.voucher(challenge, CALL, action="close"))
        assert problem_of(refused) == (410, "session/channel-not-found")
        assert (await funder.record()).status is ChannelStatus.CLOSING


@pytest.mark.parametrize("error", [REVERTED, TROUBLE])
async def test_of_two_closes_at_once_none_goes_out_while_the_channel_sells(error: str) -> None:
    """One of them is refused, and its payer goes on while the other is at it."""
    async with shop_with_a_channel() as (shop, line, funder, challenge):
        line.follow(wrong_about(error))
        closing = funder.voucher(challenge, CALL, action="close")
        closes = [asyncio.ensure_future(shop.show(closing)) for _ in range(2)]
        while "sendTransaction" not in line.calls:  # noqa: ASYNC110 # the line cannot tell
            await asyncio.sleep(0)
        for number in range(2, 11):
            sold = await funder.pay(challenge, number * CALL)
            assert problem_of(sold) == (410, "session/channel-finalized")
        statuses = {each.status_code for each in await asyncio.gather(*closes)}
        assert statuses == {204, 409 if error == REVERTED else 503}
        assert shop.earned() == CALL * len(shop.runs) == CALL
