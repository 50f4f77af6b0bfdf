"""A sponsor with little left warns, and one with nothing left sponsors nothing."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from stellar_sdk import Account, Asset, TransactionBuilder

from mpp_asgi.protocol import Challenge
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.sponsor_funds import LOOK_SECONDS
from tests.charge.bad_line import shop_on_bad_line
from tests.shop import PRICE, SPONSOR, Payer, Shop, open_shop

if TYPE_CHECKING:
    import pytest

RESERVE = 15_000_000
"""Of an account with one trustline, in stroops."""


def leave(shop: Shop, stroops: int) -> None:
    """Have the sponsor send away all that it could spend but for so much."""
    payer = Payer(shop, SPONSOR)
    fee = 100
    amount = shop.sponsor_funds() - RESERVE - stroops - fee
    account = Account(SPONSOR.public_key, payer.sequence(SPONSOR))
    envelope = (
        TransactionBuilder(account, TESTNET.passphrase, fee)
        .append_payment_op(shop.payer(9).address, Asset.native(), str(Decimal(amount).scaleb(-7)))
        .set_timeout(0)
        .build()
    )
    envelope.sign(SPONSOR)
    assert shop.ask("sendTransaction", transaction=envelope.to_xdr())["status"] == "PENDING"
    shop.time.now += 2
    assert shop.sponsor_funds() == RESERVE + stroops


async def offers(shop: Shop, path: str = "/paid") -> list[tuple[str, bool]]:
    """Intent and sponsorship of each challenge, once the balance was looked at."""
    await shop.challenges(path)
    for _ in range(5):
        await asyncio.sleep(0)
    found = await shop.challenges(path)
    return [(each.intent, each.request_object()["methodDetails"]["feePayer"]) for each in found]


async def test_only_unsponsored_offers_remain_and_come_back() -> None:
    async with open_shop(recipient=None, recipient_secret=None, sponsor_accounts=2) as shop:
        all_offers = [("charge", True), ("charge", False), ("session", True)]
        assert await offers(shop) == all_offers
        in_hand = (await shop.challenges())[0]
        leave(shop, 10)
        shop.time.now += LOOK_SECONDS
        assert await offers(shop) == [("charge", False), ("session", False)]
        payer = shop.payer()
        answer = await shop.show(payer.sponsored(in_hand))
        assert answer.status_code == 402
        assert answer.json()["type"].endswith("/sponsorship-exhausted")
        own = Challenge.all_from_headers(answer.headers.get_list("www-authenticate"))[0]
        assert (await shop.show(payer.unsponsored(own))).status_code == 200
        shop.sandbox.fund(SPONSOR.public_key, xlm=1)
        shop.time.now += LOOK_SECONDS
        assert await offers(shop) == all_offers


async def test_a_session_that_runs_goes_on_when_the_sponsor_is_dry() -> None:
    """What a voucher pays takes no transaction, so its challenge stays as good as it was."""
    async with open_shop(recipient=None, recipient_secret=None) as shop:
        challenge = next(c for c in await shop.challenges() if c.intent == "session")
        assert challenge.request_object()["methodDetails"]["feePayer"] is True
        leave(shop, 10)
        shop.time.now += LOOK_SECONDS
        assert ("session", False) in await offers(shop)
        answer = await shop.show(Payer(shop, SPONSOR).credential(challenge, action="voucher"))
        assert answer.status_code == 402
        assert answer.json()["type"].endswith("/invalid-payload")  # and not that terms changed


async def test_there_is_a_warning_before(caplog: pytest.LogCaptureFixture) -> None:
    async with open_shop(sponsor_alarm=Decimal(5)) as shop:
        await offers(shop)
        assert not warnings(caplog)
        leave(shop, 49_999_999)
        shop.time.now += LOOK_SECONDS
        await offers(shop)
        (warning,) = warnings(caplog)
        assert warning.sponsor == SPONSOR.public_key
        assert warning.spendable_stroops == 49_999_999
        assert warning.alarm_stroops == 50_000_000
        assert warning.is_dry is False
        shop.time.now += LOOK_SECONDS
        await offers(shop)
        assert len(warnings(caplog)) == 1
        shop.time.now += 3_600
        await offers(shop)
        assert len(warnings(caplog)) == 2


async def test_nobody_waits_for_the_balance() -> None:
    async with shop_on_bad_line() as (shop, line):
        await shop.challenges()
        shop.time.now += LOOK_SECONDS
        line.follow()
        for _ in range(20):
            await shop.challenges()
        assert line.calls.count("getLedgerEntries") <= 1
        payer = shop.payer()
        assert (await shop.show(payer.sponsored((await shop.challenges())[0]))).status_code == 200
        assert shop.earned() == PRICE


def warnings(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [
        record
        for record in caplog.records
        if record.name == "mpp_asgi.sponsor" and record.levelno == logging.WARNING
    ]
