"""Channels that a payer says are there: what counts is what the ledger says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stellar_sdk import Keypair

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.sandbox.contracts.registry import CHANNEL_WASM_HASH, CONTRACTS
from mpp_asgi.sandbox.host.native import Function
from mpp_asgi.sandbox.wire.values import Val, i128_val
from mpp_asgi.stellar.channel_calls import TopUp
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.transfer import Transfer, transfer_call
from tests.channels.market import DEPOSIT, FUNDER, WAITING_PERIOD, Market
from tests.charge.bad_line import Plan, altered, behind
from tests.charge.forgery import THIEF
from tests.shop import SPONSOR

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.guest import Guest

LYING_CODE = b"\x11" * 32
NO_HASH = "00" * 32


def _a_million(_guest: Guest) -> Val:
    return i128_val(10**6)


def lying_market() -> Market:
    """There is code on its ledger that looks like a channel in everything but its hash."""
    true = CONTRACTS.by_wasm[CHANNEL_WASM_HASH]
    lying = {**true, "balance": Function((), _a_million), "deposited": Function((), _a_million)}
    return Market(settings={"contracts": CONTRACTS.with_wasm(LYING_CODE, lying)})


async def shown(market: Market, channel: str, transaction_hash: str = NO_HASH) -> str:
    """What a channel is refused for that was opened elsewhere; empty if it is not."""
    async with market.process() as process:
        payload = {
            "channelId": channel,
            "type": "hash",
            "hash": transaction_hash,
            "cumulativeAmount": "100",
            "signature": market.voucher(channel, 100),
        }
        try:
            funded = await process.open(payload)
        except RefusalError as refusal:
            return f"{refusal.problem.slug}: {refusal.problem.detail}"
        assert funded.facts.id == channel
        assert funded.tx_hash is None
        return ""


async def test_a_channel_that_its_payer_opened() -> None:
    market = Market()
    opening = market.opening()
    hash_ = market.perform(opening.call(TESTNET.passphrase))
    assert await shown(market, opening.channel(TESTNET.passphrase), hash_) == ""


async def test_that_it_is_there_is_enough() -> None:
    """The transaction may be older than what the node remembers."""
    market = Market()
    assert await shown(market, market.open()) == ""


async def test_code_that_only_looks_like_a_channel() -> None:
    market = lying_market()
    channel = market.open(factory=None, wasm_hash=LYING_CODE.hex())
    assert "code is not among" in await shown(market, channel)


async def test_a_funder_cannot_have_us_deploy_such_code() -> None:
    market = lying_market()
    opening = market.opening(factory=None, wasm_hash=LYING_CODE.hex())
    async with market.process() as process:
        with pytest.raises(RefusalError, match="code is not among"):
            await process.open(market.open_payload(opening))


async def test_channels_on_other_terms() -> None:
    market = Market()
    market.sandbox.fund(THIEF.public_key, usdc=1)
    refused = {
        "another recipient": market.open(recipient=THIEF.public_key),
        "another token": market.open(token=market.sandbox.xlm),
        "waiting period": market.open(waiting_period=WAITING_PERIOD - 1),
        "none that can sign": market.open(key=bytes(32)),
    }
    for reason, channel in refused.items():
        answer = await shown(market, channel)
        assert answer.startswith("verification-failed")
        assert reason in answer


async def test_channels_that_close() -> None:
    market = Market()
    channel = market.open()
    market.close_start(channel)
    assert (await shown(market, channel)).startswith("session/channel-finalized")
    market.sandbox.close_ledger(WAITING_PERIOD)
    market.refund(channel)
    assert (await shown(market, channel)).startswith("session/channel-finalized")


async def test_tokens_and_accounts_and_nothing_are_no_channels() -> None:
    market = Market()
    market.sandbox.fund(SPONSOR.public_key, usdc=1)
    transfer = Transfer(market.sandbox.usdc, FUNDER.public_key, SPONSOR.public_key, 5)
    hash_ = market.perform(transfer_call(transfer))
    market.sandbox.close_ledger()
    for contract in (market.sandbox.usdc, market.sandbox.channel_factory):
        assert (await shown(market, contract, hash_)).startswith("verification-failed")
    assert "not on the ledger" in await shown(market, market.opening().channel(TESTNET.passphrase))


async def test_a_node_that_is_behind() -> None:
    """It may be there, for all that is known: that is no refusal."""
    market = Market()
    channel = market.open()
    async with market.process() as process:
        market.line.follow(Plan("getTransaction", 0, behind(1_000), more=10**6))
        payload = market.open_payload(market.opening(), type="hash", hash="ab" * 32)
        with pytest.raises(FaultError):
            await process.open(payload)
        payload = {**payload, "channelId": channel, "signature": market.voucher(channel, 100)}
        assert (await process.open(payload)).facts.deposited == DEPOSIT


async def test_somebody_else_may_be_first_with_a_salt() -> None:
    """Then the channel is his, and the payer's vouchers are none of it: so says its key."""
    market = Market()
    market.sandbox.fund(THIEF.public_key, usdc=1)
    key = Keypair.from_raw_ed25519_seed(bytes(31) + b"x")
    opening = market.opening()
    payload = market.open_payload(opening)
    taken = market.opening(
        salt=opening.salt, funder=THIEF.public_key, key=key.raw_public_key(), amount=1
    )
    market.perform(taken.call(TESTNET.passphrase), signer=THIEF)
    before, fees = market.funder_has(), market.fees_left()
    async with market.process() as process:
        funded = await process.open(payload)
    assert funded.facts.key == key.raw_public_key().hex()
    assert funded.tx_hash is None
    assert (market.funder_has(), market.fees_left()) == (before, fees)


async def test_a_top_up_that_its_payer_made() -> None:
    market = Market()
    channel = market.open()
    async with market.process() as process:
        held = await process.hold(channel, 100)
        call = TopUp(channel=channel, amount=7_000).call(
            token=market.sandbox.usdc, funder=FUNDER.public_key
        )
        payload = {"type": "hash", "hash": market.perform(call), "additionalDeposit": "7000"}
        funded = await process.top_up(payload, held)
        assert (funded.facts.deposited, funded.tx_hash) == (DEPOSIT + 7_000, None)
        noted = held._replace(deposited=DEPOSIT + 7_000)
        assert (await process.top_up(payload, noted)).facts == funded.facts
        with pytest.raises(FaultError, match="not show the deposit yet"):
            await process.top_up({**payload, "hash": "cd" * 32}, noted)


async def test_a_transaction_that_failed_on_the_ledger() -> None:
    market = Market()
    hash_ = market.perform(market.opening().call(TESTNET.passphrase))
    market.line.follow(Plan("getTransaction", 0, altered(status="FAILED"), more=10**6))
    other = market.opening().channel(TESTNET.passphrase)
    assert (await shown(market, other, hash_)).startswith("session/transaction-reverted")


async def test_a_node_whose_entries_are_behind_its_transactions() -> None:
    """What it has of the channel is older than the transaction: that is not waited for."""
    market = Market()
    channel = market.open()
    async with market.process() as process:
        held = await process.hold(channel, 100)
        call = TopUp(channel=channel, amount=7_000).call(
            token=market.sandbox.usdc, funder=FUNDER.public_key
        )
        payload = {"type": "hash", "hash": market.perform(call), "additionalDeposit": "7000"}
        market.line.follow(Plan("getTransaction", 0, altered(ledger=10**6)))
        with pytest.raises(FaultError, match="not show the deposit yet"):
            await process.top_up(payload, held._replace(deposited=DEPOSIT + 7_000))
        assert (await process.top_up(payload, held)).facts.deposited == DEPOSIT + 7_000
