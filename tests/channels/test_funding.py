"""Opening channels and adding to them: by us, with or without paying the fee, and by the payer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.intents import RefusalError
from mpp_asgi.stellar.transfer import Transfer, transfer_call
from mpp_asgi.stores.channels import ChannelStatus
from tests.channels.market import DEPOSIT, FUNDER, KEY, Market
from tests.charge.bad_line import Plan
from tests.shop import SPONSOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.channels.market import Process
    from tests.charge.bad_line import Answer, BadLine, Request


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


async def test_what_was_deposited_is_read_from_a_ledger_that_has_it(
    market: Market, process: Process
) -> None:
    """A node behind another one shows the channel as it was before."""
    channel = market.open()
    held = await process.hold(channel, 100)
    older: list[Answer] = []

    def keep(line: BadLine, request: Request) -> Answer:
        older.append(line.sandbox.rpc(request))
        return older[0]

    def repeat(line: BadLine, request: Request) -> Answer:
        if len(request["params"]["keys"]) < 2:  # of an account
            return line.sandbox.rpc(request)
        return {**older[0], "id": request["id"]}

    market.line.follow(Plan("getLedgerEntries", 0, keep))
    await process.facts(channel)
    market.line.follow(Plan("getLedgerEntries", 0, repeat, more=3))
    funded = await process.top_up(market.top_up_payload(channel, 5_000), held)
    assert funded.facts.deposited == DEPOSIT + 5_000
    assert market.line.calls.count("getLedgerEntries") > 4


async def test_a_funder_may_deploy_the_channel(market: Market, process: Process) -> None:
    code = market.sandbox.channel_wasm_hash
    payload = market.open_payload(market.opening(factory=None, wasm_hash=code))
    funded = await process.open(payload)
    assert (funded.facts.wasm_hash, funded.facts.deposited) == (code, DEPOSIT)


async def test_opening_again_changes_nothing(market: Market, process: Process) -> None:
    payload, quote = market.open_payload(), process.quote()
    first = await process.open(payload, quote=quote)
    funds, fees = market.funder_has(), market.fees_left()
    market.time.now += 10_000  # the challenge is over, and so is everybody's patience
    again = await process.open(payload, quote=quote)
    assert again.tx_hash == first.tx_hash
    async with market.process() as other:
        assert (await other.open(payload, quote=quote)).tx_hash == first.tx_hash
    assert (market.funder_has(), market.fees_left()) == (funds, fees)


async def test_topping_up_again_changes_nothing(market: Market, process: Process) -> None:
    held = await process.hold(market.open(), 100)
    payload, quote = market.top_up_payload(held.id, 5_000), process.quote()
    first = await process.top_up(payload, held, quote=quote)
    funds, fees = market.funder_has(), market.fees_left()
    async with market.process() as other:
        again = await other.top_up(payload, held, quote=quote)
    assert (again.tx_hash, again.facts.deposited) == (first.tx_hash, DEPOSIT + 5_000)
    assert (market.funder_has(), market.fees_left()) == (funds, fees)


@pytest.mark.parametrize("processes", [1, 2])
async def test_the_same_opening_many_times_at_once(market: Market, processes: int) -> None:
    async with market.process() as one, market.process() as two:
        payload, before = market.open_payload(), market.funder_has()
        quote, sequence = one.quote(), market.sequence(SPONSOR if market.sponsored else FUNDER)
        shown = [(one, two)[number % processes].open(payload, quote=quote) for number in range(6)]
        funded = await asyncio.gather(*shown)
        assert len({each.tx_hash for each in funded}) == 1
        assert market.funder_has() == before - DEPOSIT
        assert market.sequence(SPONSOR if market.sponsored else FUNDER) == sequence + 1


async def test_more_than_the_funder_has_by_then() -> None:
    """It spends the money between our simulation and the ledger that takes the transaction."""
    market = Market()
    payload = market.open_payload(market.opening(amount=600_000_000))

    def simulate_then_spend(line: BadLine, request: Request) -> Answer:
        answer = line.sandbox.rpc(request)
        spent = Transfer(market.sandbox.usdc, FUNDER.public_key, SPONSOR.public_key, 500_000_000)
        market.sandbox.fund(SPONSOR.public_key, usdc=1)
        market.perform(transfer_call(spent), signer=FUNDER)
        return answer

    async with market.process() as process:
        quote = process.quote()
        market.line.follow(Plan("simulateTransaction", 0, simulate_then_spend))
        with pytest.raises(RefusalError) as refused:
            await process.open(payload, quote=quote)
        assert refused.value.problem.slug == "session/transaction-reverted"
        fees = market.fees_left()
        market.line.follow()
        market.sandbox.fund(FUNDER.public_key, usdc=1_000)
        with pytest.raises(
            RefusalError
        ) as refused:  # or the sponsor pays for one failure after another
            await process.open(payload, quote=quote)
        assert refused.value.problem.slug == "session/transaction-reverted"
        assert market.fees_left() == fees


async def test_nothing_is_added_to_a_channel_that_closes(market: Market, process: Process) -> None:
    """The money would only come back, at the sponsor's cost."""
    channel = market.open()
    payload, fees = market.top_up_payload(channel, 5_000), market.fees_left()
    held = await process.closing(channel, 100)
    wished = held._replace(status=ChannelStatus.OPEN, closes_at=market.sandbox.sequence + 9)
    for closing in (held, wished, held._replace(status=ChannelStatus.CLOSED)):
        with pytest.raises(RefusalError) as refused:
            await process.top_up(payload, closing)
        assert refused.value.problem.slug == "session/channel-finalized"
    assert market.fees_left() == fees
