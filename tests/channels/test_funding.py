"""Opening channels and adding to them: by us, with or without paying the fee, and by the payer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.channels.market import DEPOSIT, FUNDER, KEY, Market

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.channels.market import Process


@pytest.fixture(params=[True, False], ids=["sponsored", "unsponsored"])
def market(request: pytest.FixtureRequest) -> Market:
    return Market(sponsored=request.param)


@pytest.fixture
async def process(market: Market) -> AsyncIterator[Process]:
    async with market.process() as running:
        yield running


async def test_opening(market: Market, process: Process) -> None:
    before = market.funder_has()
    payload = market.open_payload()
    funded = await process.open(payload)
    assert funded.facts.id == payload["channelId"]
    assert funded.facts.funder == FUNDER.public_key
    assert funded.facts.key == KEY.raw_public_key().hex()
    assert funded.facts.deposited == DEPOSIT
    assert market.funder_has() == before - DEPOSIT
    assert funded.tx_hash is not None
    assert market.ask("getTransaction", hash=funded.tx_hash)["status"] == "SUCCESS"


async def test_topping_up(market: Market, process: Process) -> None:
    channel = market.open()
    held = await process.hold(channel, 100)
    funded = await process.top_up(market.top_up_payload(channel, 5_000), held)
    assert funded.facts.deposited == DEPOSIT + 5_000
    assert funded.tx_hash is not None
    assert market.ask("getTransaction", hash=funded.tx_hash)["status"] == "SUCCESS"
