"""Payment channels with channel accounts: who lends the number, who pays, and whose leave it is."""

from __future__ import annotations

import asyncio

from stellar_sdk import xdr

from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from tests.channels.market import DEPOSIT, Market
from tests.shop import RECIPIENT, SPONSOR


def transaction_of(market: Market, transaction_hash: str | None) -> xdr.FeeBumpTransaction:
    assert transaction_hash is not None
    envelope = market.ask("getTransaction", hash=transaction_hash)["envelopeXdr"]
    found = xdr.TransactionEnvelope.from_xdr(envelope).fee_bump
    assert found is not None
    return found.tx


async def test_opened_topped_up_settled_and_closed() -> None:
    market = Market(accounts=2)
    lenders = {key.xdr_muxed_account() for key in channel_accounts(SPONSOR, 2)}
    recipients_xlm = market.sandbox.balance(RECIPIENT.public_key, market.sandbox.xlm)
    async with market.process() as process:
        opened = await process.open(market.open_payload())
        held = await process.hold(opened.facts.id, 100)
        topped_up = await process.top_up(market.top_up_payload(held.id, 5_000), held)
        assert topped_up.facts.deposited == DEPOSIT + 5_000
        settled = await process.cashier.settle(await process.kept(held.id))
        assert market.earned() == 100
        other = await process.open(market.open_payload())
        closed = await process.cashier.close(await process.closing(other.facts.id, 70))
        assert market.earned() == 170
        for each in (opened.tx_hash, topped_up.tx_hash, settled, closed):
            bump = transaction_of(market, each)
            assert bump.fee_source == SPONSOR.xdr_muxed_account()
            inner = bump.inner_tx.v1
            assert inner is not None
            assert inner.tx.source_account in lenders
            call = inner.tx.operations[0].body.invoke_host_function_op
            assert call is not None
            kinds = {entry.credentials.type for entry in call.auth}
            # Nobody's leave is the source's: that is an account that has nothing to allow.
            assert kinds == {xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS}
    assert market.sandbox.balance(RECIPIENT.public_key, market.sandbox.xlm) == recipients_xlm


async def test_two_channels_are_opened_in_one_ledger() -> None:
    market = Market(accounts=2, settings={"close_interval": 5.0})
    async with market.process() as process:
        payloads = [market.open_payload() for _ in range(2)]
        opened = await asyncio.gather(*map(process.open, payloads))
        ledgers = {
            market.ask("getTransaction", hash=each.tx_hash or "")["ledger"] for each in opened
        }
        assert len(ledgers) == 1


async def test_a_recipient_without_a_sponsor_pays_for_itself() -> None:
    market = Market(sponsored=False)
    async with market.process() as process:
        channel = market.open()
        held = await process.hold(channel, 100)
        assert await process.cashier.settle(held) is not None
        assert market.earned() == 100
