"""What was begun against a challenge goes on when that has expired; nothing else begins."""

from __future__ import annotations

from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi import price
from mpp_asgi.protocol import Credential
from mpp_asgi.stores.contract import Charge, State
from tests.charge.bad_line import Plan, lost_before, shop_on_bad_line
from tests.session.drawer import CALL, DEPOSIT, Funder, problem_of, receipt_of
from tests.shop import RECIPIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpp_asgi.protocol import Challenge
    from tests.charge.bad_line import BadLine
    from tests.shop import Shop

LIFE = 600
"""Seconds that a challenge of a session is good."""
LATER = LIFE + 100
ACTIONS = ("open", "topUp", "close")
SILENCE = (
    Plan("getTransaction", 0, lost_before, 10_000),
    Plan("getTransactions", 0, lost_before, 10_000),
)
"""A node that tells of no transaction."""


@asynccontextmanager
async def open_harbour(**settings: Any) -> AsyncIterator[tuple[Shop, BadLine, Funder]]:
    settings = {"recipient_secret": RECIPIENT.secret, "session_seconds": LIFE, **settings}
    async with shop_on_bad_line(**settings) as (shop, line):
        yield shop, line, Funder(shop, 1)


async def wanted(funder: Funder, action: str, path: str = "/paid") -> Credential:
    """A credential of which the challenge is fresh, for a channel that is open if need be."""
    challenge = await funder.challenge(path)
    if action == "open":
        return funder.open(challenge, CALL)
    opened = await funder.shop.show(funder.open(challenge, CALL))
    assert opened.status_code == 200, opened.text
    return await again(funder, action, await funder.challenge(path))


async def again(funder: Funder, action: str, challenge: Challenge) -> Credential:
    if action == "topUp":
        return funder.top_up(challenge, DEPOSIT)
    return funder.voucher(challenge, CALL, action="close")


async def in_doubt(shop: Shop, line: BadLine, credential: Credential, path: str = "/paid") -> None:
    """Show it while the node is silent: it reaches the ledger, and nobody here knows."""
    line.follow(*SILENCE)
    answer = await shop.show(credential, path)
    assert answer.status_code == 503
    line.follow()
    shop.time.now += LATER


@pytest.mark.parametrize("action", ACTIONS)
async def test_what_was_begun_is_finished(action: str) -> None:
    async with open_harbour() as (shop, line, funder):
        credential = await wanted(funder, action)
        before = funder.balance()
        await in_doubt(shop, line, credential)
        moved = before - funder.balance()
        assert moved
        answer = await shop.show(credential)
        assert answer.status_code == (200 if action == "open" else 204), answer.text
        assert len(str(receipt_of(answer)["txHash"])) == 64
        record = await funder.record()
        assert record.spent == CALL
        left = {"open": DEPOSIT, "topUp": 2 * DEPOSIT, "close": CALL}
        assert record.deposited == left[action]
        assert before - funder.balance() == moved


async def test_an_opening_that_was_finished_is_a_voucher_like_any_other() -> None:
    async with open_harbour() as (shop, line, funder):
        credential = await wanted(funder, "open")
        await in_doubt(shop, line, credential)
        assert (await shop.show(credential)).status_code == 200
        assert problem_of(await shop.show(credential)) == (402, "payment-expired")
        assert (await funder.record()).spent == CALL


@pytest.mark.parametrize("by_hash", [True, False])
@pytest.mark.parametrize("action", ACTIONS)
async def test_nothing_begins(action: str, by_hash: bool) -> None:
    async with open_harbour() as (shop, line, funder):
        credential = await wanted(funder, action)
        if by_hash and action != "close":
            changed = {**credential.payload, "type": "hash", "hash": "00" * 32}
            credential = Credential(credential.challenge, changed)
        shop.time.now += LATER
        line.follow()
        before = shop.sponsor_funds(), funder.balance()
        answer = await shop.show(credential)
        assert problem_of(answer) == (402, "payment-expired")
        assert "www-authenticate" in answer.headers
        assert (shop.sponsor_funds(), funder.balance()) == before
        assert "getLedgerEntries" not in line.calls


async def test_what_is_only_claimed_has_not_begun() -> None:
    """By a process that died before it submitted anything."""
    async with open_harbour() as (shop, _, funder):
        credential = await wanted(funder, "open")
        fingerprint = sha256(str(credential.payload["transaction"]).encode()).hexdigest()
        record = Charge(f"open:{funder.channel}", fingerprint, State.CLAIMED, 2**40, "dead")
        await shop.store.claim(record, (), now=0)
        shop.time.now += LATER
        assert problem_of(await shop.show(credential)) == (402, "payment-expired")
        assert await shop.store.channel(funder.channel) is None


async def test_another_opening_of_the_same_channel_does_not_go_on() -> None:
    async with open_harbour() as (shop, line, funder):
        challenge = await funder.challenge()
        credential, other = (funder.open(challenge, CALL) for _ in range(2))
        await in_doubt(shop, line, credential)
        assert problem_of(await shop.show(other)) == (402, "payment-expired")
        assert (await shop.show(credential)).status_code == 200


async def test_a_close_goes_on_with_the_voucher_that_it_was_begun_with() -> None:
    async with open_harbour() as (shop, line, funder):
        credential = await wanted(funder, "close")
        await in_doubt(shop, line, credential)
        for amount in (CALL - 1, CALL + 1):
            other = funder.voucher(credential.challenge, amount, action="close")
            assert problem_of(await shop.show(other)) == (402, "payment-expired")
        assert (await shop.show(credential)).status_code == 204


async def test_whatever_costs_something_else_by_now_is_not_served_at_the_old_price() -> None:
    """The channel is open all the same, and buys it against a fresh challenge."""
    async with open_harbour() as (shop, line, funder):
        prices = ["0.01"]

        @shop.app.get("/today")
        @price(lambda _: prices[0])
        async def today() -> dict[str, str]:
            shop.runs.append("/today")
            return {}

        credential = await wanted(funder, "open", "/today")
        await in_doubt(shop, line, credential, "/today")
        prices[0] = "0.02"
        refused = await shop.show(credential, "/today")
        assert problem_of(refused) == (402, "payment-expired")
        assert ((await funder.record()).spent, shop.runs) == (0, [])
        fresh = await funder.challenge("/today")
        assert (await funder.pay(fresh, 2 * CALL, "/today")).status_code == 200


async def test_the_dialect_finishes_what_was_begun() -> None:
    async with open_harbour(intents=["session", "channel"]) as (shop, line, funder):
        assert (await shop.show(await wanted(funder, "open"))).status_code == 200
        headers = {"Payment-Session": funder.channel}
        offered = await shop.challenges(headers=headers)
        (challenge,) = [each for each in offered if each.intent == "channel"]
        payload = {"action": "close", "amount": str(CALL), "signature": funder.sign(CALL)}
        late = Credential(challenge, {**payload, "amount": "1", "signature": funder.sign(1)})
        await in_doubt(shop, line, Credential(challenge, payload))
        assert problem_of(await shop.show(late)) == (402, "payment-expired")
        assert (await shop.show(Credential(challenge, payload))).status_code == 204
