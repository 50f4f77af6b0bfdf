"""What a sponsor pays for openings and top-ups, and what it does not pay for."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from stellar_sdk import xdr

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.sponsor_fees import INCLUSION_FEE
from tests.channels.market import DEPOSIT, MAX_FEE, Market
from tests.charge.bad_line import Plan, altered, ledger_stands_still
from tests.charge.forgery import changed
from tests.shop import SPONSOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.channels.market import Process


@pytest.fixture
def market() -> Market:
    return Market()


@pytest.fixture
async def process(market: Market) -> AsyncIterator[Process]:
    async with market.process() as running:
        yield running


async def test_the_fee_is_what_the_simulation_says(market: Market, process: Process) -> None:
    fees = market.fees_left()
    funded = await process.open(market.open_payload())
    transaction = transaction_of(market, funded.tx_hash)
    assert transaction.source_account == SPONSOR.xdr_muxed_account()
    resources = transaction.ext.soroban_data
    assert resources is not None
    assert transaction.fee.uint32 == INCLUSION_FEE + resources.resource_fee.int64
    assert 0 < fees - market.fees_left() <= transaction.fee.uint32


async def test_resources_of_the_payers_choosing_do_not_matter(
    market: Market, process: Process
) -> None:
    honest = market.open_payload()
    modest = await process.open(market.open_payload())
    payload = {**honest, "transaction": changed(honest["transaction"], with_resources, with_fee)}
    greedy = await process.open(payload)
    fees = [transaction_of(market, each.tx_hash).fee.uint32 for each in (modest, greedy)]
    assert abs(fees[0] - fees[1]) < 1_000


async def test_fees_are_capped(market: Market, process: Process) -> None:
    payload, quote = market.open_payload(), process.quote()
    market.line.follow(Plan("simulateTransaction", 0, altered(minResourceFee=str(MAX_FEE))))
    fees = market.fees_left()
    with pytest.raises(FaultError, match="fee is too high"):
        await process.open(payload, quote=quote)
    market.time.now += 3
    assert market.fees_left() == fees
    assert (await process.open(payload, quote=quote)).facts.deposited == DEPOSIT


@pytest.mark.parametrize("kind", ["nothing", "more"])
async def test_the_deposit_has_to_be_all_that_happens(
    market: Market, process: Process, kind: str
) -> None:
    payload, quote = market.open_payload(), process.quote()
    envelope = payload["transaction"]
    events = market.ask("simulateTransaction", transaction=envelope)["events"]
    transfers = [event for event in events if b"transfer" in base64.b64decode(event)]
    assert transfers
    shown = [] if kind == "nothing" else [*events, *transfers]
    market.line.follow(Plan("simulateTransaction", 0, altered(events=shown)))
    with pytest.raises(RefusalError, match="deposit's effect and no other"):
        await process.open(payload, quote=quote)
    assert (await process.open(payload, quote=quote)).facts.deposited == DEPOSIT


async def test_senseless_events_are_our_fault(market: Market, process: Process) -> None:
    market.line.follow(Plan("simulateTransaction", 0, altered(events=["AAAA"])))
    with pytest.raises(FaultError, match="senseless"):
        await process.open(market.open_payload())


async def test_one_leave_is_good_for_one_transaction(market: Market, process: Process) -> None:
    """The payer shows the same authorization in two envelopes, the first of which is in doubt."""
    held = await process.hold(market.open(), 100)
    payload, quote = market.top_up_payload(held.id, 5_000), process.quote()
    other = {**payload, "transaction": changed(payload["transaction"], with_fee)}
    market.line.follow(Plan("sendTransaction", 0, ledger_stands_still))
    with pytest.raises(FaultError):
        await process.top_up(payload, held, quote=quote)
    with pytest.raises(RefusalError, match="used before"):
        await process.top_up(other, held, quote=quote)
    market.line.follow()
    market.sandbox.thaw()
    market.time.now += 2
    assert (await process.top_up(payload, held, quote=quote)).facts.deposited == DEPOSIT + 5_000


async def test_another_transaction_for_a_channel_that_is_being_opened(
    market: Market, process: Process
) -> None:
    """Once the channel is there, it does not matter which of them opened it."""
    opening, quote = market.opening(), process.quote()
    first, second = market.open_payload(opening), market.open_payload(opening)
    market.line.follow(Plan("sendTransaction", 0, ledger_stands_still))
    with pytest.raises(FaultError):
        await process.open(first, quote=quote)
    with pytest.raises(RefusalError, match="used before"):
        await process.open(second, quote=quote)
    market.line.follow()
    market.sandbox.thaw()
    market.time.now += 2
    opened = await process.open(second, quote=quote)
    assert opened.tx_hash == (await process.open(first, quote=quote)).tx_hash
    assert market.funder_has() == 10**9 - DEPOSIT


async def test_no_sponsor_any_more() -> None:
    market = Market(sponsored=False)
    payload_of = Market()
    async with market.process() as process:
        payload = payload_of.open_payload(market.opening())
        with pytest.raises(RefusalError, match="not sponsored any more"):
            await process.open(payload, sponsored=True)


async def test_a_deposit_by_the_sponsor_itself_is_never_made(market: Market) -> None:
    """Not even if all else were right: its own account is no payer."""
    async with market.process() as process:
        market.sandbox.fund(SPONSOR.public_key, usdc=100)
        channel = market.opening(funder=SPONSOR.public_key)
        market.perform(channel.call(TESTNET.passphrase), signer=SPONSOR)
        held = await process.hold(channel.channel(TESTNET.passphrase), 100)
        payload = market.top_up_payload(held.id, 5_000)
        with pytest.raises(RefusalError):
            await process.top_up(payload, held)
        stolen = replace(channel, salt=b"\2" * 32)
        with pytest.raises(RefusalError, match="must not be from the server"):
            await process.open(market.open_payload(stolen))


def transaction_of(market: Market, transaction_hash: str | None) -> xdr.Transaction:
    assert transaction_hash is not None
    envelope = market.ask("getTransaction", hash=transaction_hash)["envelopeXdr"]
    found = xdr.TransactionEnvelope.from_xdr(envelope).v1
    assert found is not None
    return found.tx


def with_fee(transaction: xdr.Transaction) -> None:
    transaction.fee = xdr.Uint32(2**32 - 1)


def _resources() -> xdr.SorobanTransactionData:
    most = xdr.Uint32(100_000_000)
    footprint = xdr.LedgerFootprint([], [])
    return xdr.SorobanTransactionData(
        xdr.SorobanTransactionDataExt(0),
        xdr.SorobanResources(footprint, most, most, most),
        xdr.Int64(2**40),
    )


def with_resources(transaction: xdr.Transaction) -> None:
    transaction.ext = xdr.TransactionExt(1, _resources())
