"""Settling and closing: what is taken, what is written down, and what the ledger will not pay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.channels import ChannelStatus
from tests.channels.market import DEPOSIT, Market

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.channels.market import Process


@pytest.fixture(params=[True, False], ids=["sponsored", "paid by the recipient"])
def market(request: pytest.FixtureRequest) -> Market:
    return Market(sponsored=request.param)


@pytest.fixture
async def process(market: Market) -> AsyncIterator[Process]:
    async with market.process() as running:
        yield running


async def test_settling_takes_what_the_voucher_is_worth(market: Market, process: Process) -> None:
    channel = market.open()
    held = await process.hold(channel, 300, spent=200, units=7)
    hash_ = await process.cashier.settle(held)
    assert hash_ is not None
    assert market.ask("getTransaction", hash=hash_)["status"] == "SUCCESS"
    assert market.earned() == 300
    kept = await process.kept(channel)
    assert (kept.settled, kept.deposited, kept.settled_units) == (300, DEPOSIT, 7)
    assert kept.status is ChannelStatus.OPEN
    assert kept.available == 100


async def test_closing(market: Market, process: Process) -> None:
    before = market.funder_has()
    channel = market.open()
    hash_ = await process.cashier.close(await process.closing(channel, 300))
    assert hash_ is not None
    assert market.earned() == 300
    assert market.funder_has() == before - 300
    kept = await process.kept(channel)
    assert (kept.settled, kept.status) == (300, ChannelStatus.CLOSED)
