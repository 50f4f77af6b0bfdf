"""A process dies at any call that claiming, submitting, settling, delivering, accepting, spending
and closing make, just before its effect or just after it. Others go on, with nobody coming back at
first. In the end:

- nothing is stuck;
- what the ledger has is what was bought, once;
- the same credential is served if it was paid and not sent, and refused if it was not paid.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.stores.channels import ChannelStatus
from tests.recovery.deaths import Attempt, Moment, Worker, attempts
from tests.session.drawer import CALL, DEPOSIT, Funder, problem_of, session_challenge
from tests.shop import MODES, PRICE, Shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mpp_asgi.protocol import Credential

    Deaths = Callable[..., AsyncIterator[Attempt]]

AGAIN = (409, 503)


@pytest.fixture(params=["before", "after"])
def moment(request: pytest.FixtureRequest) -> Moment:
    """Of the last call: whether it has its effect."""
    return request.param


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch, moment: Moment) -> Deaths:
    """At every call, one after the other, at that moment of it."""
    return partial(attempts, monkeypatch, moment)


async def show_until_it_ends(shop: Shop, credential: Credential, path: str = "/paid") -> int:
    for _ in range(20):
        answer = await shop.show(credential, path)
        if answer.status_code not in AGAIN:
            return int(answer.status_code)
        shop.time.now += max(1, int(answer.headers["retry-after"]))
    raise AssertionError(f"no end: {answer.status_code} {answer.text}")


# --- charges --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/paid", "/after"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_charge(deaths: Deaths, mode: str, path: str) -> None:
    async for attempt in deaths(least=5):
        shop = attempt.shop
        credential = shop.payer().in_mode(mode, await shop.challenges(path))
        if await attempt.dies(shop.show(credential, path)):
            has_left = shop.left[-1] == 200
            async with attempt.seller.worker() as heir:
                await check_charge(attempt, heir, credential, path, has_left=has_left)


async def check_charge(
    attempt: Attempt, heir: Worker, credential: Credential, path: str, *, has_left: bool
) -> None:
    where, seller = attempt.where, attempt.seller
    sponsored = credential.challenge.request_object()["methodDetails"]["feePayer"]
    await heir.tidy_up()
    assert await seller.stuck() == 0, where
    earned = heir.shop.earned()
    assert earned in (0, PRICE), where
    status = await show_until_it_ends(heir.shop, credential, path)
    was_noted = has_left and attempt.moment == "after"
    if earned:
        assert status == (402 if was_noted else 200), where
    else:
        assert status == 402, where  # it has expired meanwhile
    assert heir.shop.earned() == earned, where
    assert await show_until_it_ends(heir.shop, credential, path) == 402, where
    assert heir.shop.earned() == earned, where
    assert seller.transactions(heir.shop) == (1 if earned and sponsored else 0), where


@pytest.mark.parametrize("mode", MODES)
async def test_a_charge_that_is_shown_again_while_it_is_recovered(
    deaths: Deaths, mode: str
) -> None:
    """In time: it is served for one price, whatever was done before."""
    async for attempt in deaths(least=5):
        shop = attempt.shop
        credential = shop.payer().in_mode(mode, await shop.challenges())
        if not await attempt.dies(shop.show(credential)):
            continue
        where, seller = attempt.where, attempt.seller
        was_noted = shop.left[-1] == 200 and attempt.moment == "after"
        seller.time.now += LIFE_SECONDS + 1
        async with seller.worker() as heir:
            await heir.house._recovery.round()
            status = await show_until_it_ends(heir.shop, credential)
            assert status == (402 if was_noted else 200), where
            assert heir.shop.earned() == PRICE, where
            assert await show_until_it_ends(heir.shop, credential) == 402, where
            assert heir.shop.earned() == PRICE, where
            assert await seller.stuck() == 0, where


async def test_recovery_itself(deaths: Deaths) -> None:
    """Who takes over may die as well."""
    async for attempt in deaths(least=6):
        shop, first = attempt.shop, attempt.dying
        credential = shop.payer().sponsored((await shop.challenges())[0])
        first.life.end_at("sendTransaction")
        assert await first.dies(shop.show(credential))
        attempt.seller.time.now += LIFE_SECONDS + 1
        async with attempt.seller.worker() as second:
            attempt.dying = second
            if not await attempt.dies(second.house._recovery.round()):
                continue
            attempt.seller.time.now += LIFE_SECONDS + 1
            async with attempt.seller.worker() as heir:
                await check_charge(attempt, heir, credential, "/paid", has_left=False)
                assert heir.shop.earned() == PRICE, attempt.where


# --- sessions -------------------------------------------------------------------------------------


async def open_channel(worker: Worker) -> Funder:
    funder = Funder(worker.shop, 1)
    challenge = session_challenge(await worker.shop.challenges())
    answer = await worker.shop.show(funder.open(challenge, CALL))
    assert answer.status_code == 200, answer.text
    return funder


async def test_an_opening(deaths: Deaths) -> None:
    """Accept and spend are in it, too: an opening pays for its request."""
    async for attempt in deaths(least=9):
        funder = Funder(attempt.shop, 1)
        had = funder.balance()
        credential = funder.open(session_challenge(await attempt.shop.challenges()), CALL)
        if not await attempt.dies(attempt.shop.show(credential)):
            continue
        where, seller = attempt.where, attempt.seller
        async with seller.worker() as heir:
            await heir.tidy_up()
            assert await seller.stuck() == 0, where
            deposited = had - funder.balance()
            assert deposited in (0, DEPOSIT), where
            fresh = await heir.shop.show(credential)
            while fresh.status_code in AGAIN:
                seller.time.now += 1
                fresh = await heir.shop.show(credential)
            channel = await seller.store.channel(funder.channel)
            if deposited == 0:
                assert fresh.status_code == 402, where  # too late to begin
                assert channel is None, where
            else:
                assert channel is not None, where
                assert (channel.deposited, channel.accepted) == (DEPOSIT, CALL), where
                assert channel.spent == CALL, where
                assert fresh.status_code == 200 or is_spent(fresh), where
            assert had - funder.balance() == deposited, where
            assert seller.transactions(heir.shop) == (1 if deposited else 0), where


def is_spent(answer: object) -> bool:
    return problem_of(answer) == (402, "session/insufficient-balance")  # type: ignore[arg-type]


async def test_a_voucher(deaths: Deaths) -> None:
    """It is accepted and spent from, or neither; once it is accepted it is never lost."""
    async for attempt in deaths(least=1):
        shop, seller = attempt.shop, attempt.seller
        funder = await open_channel(attempt.dying)
        voucher = funder.voucher(session_challenge(await shop.challenges()), 2 * CALL)
        before = shop.left.count(200)
        if not await attempt.dies(shop.show(voucher)):
            continue
        where = attempt.where
        sent = shop.left.count(200) - before
        async with seller.worker() as heir:
            await heir.tidy_up()
            assert await seller.stuck() == 0, where
            channel = await seller.store.channel(funder.channel)
            assert channel is not None
            assert (channel.accepted, channel.spent) in ((CALL, CALL), (2 * CALL, 2 * CALL))
            if sent:
                assert channel.spent == 2 * CALL, where
            answer = await heir.shop.show(voucher)
            if channel.spent == CALL:
                assert answer.status_code == 200, where
            else:
                assert is_spent(answer), where
            await heir.settle(funder.channel)
            assert heir.shop.earned() == 2 * CALL, where


async def test_a_top_up(deaths: Deaths) -> None:
    async for attempt in deaths(least=7):
        shop, seller = attempt.shop, attempt.seller
        funder = await open_channel(attempt.dying)
        had = funder.balance()
        credential = funder.top_up(session_challenge(await shop.challenges()), 3 * CALL)
        if not await attempt.dies(shop.show(credential)):
            continue
        where = attempt.where
        async with seller.worker() as heir:
            await heir.tidy_up()
            assert await seller.stuck() == 0, where
            deposited = had - funder.balance()
            assert deposited in (0, 3 * CALL), where
            channel = await seller.store.channel(funder.channel)
            assert channel is not None
            assert channel.deposited == DEPOSIT + deposited, where
            status = await show_until_it_ends(heir.shop, credential)
            assert status == (204 if deposited else 402), where
            assert had - funder.balance() == deposited, where


@pytest.mark.parametrize("kind", ["settle", "close"])
async def test_a_payout(deaths: Deaths, kind: str) -> None:
    """What is settled or closed is paid by one transaction, whoever finishes it."""
    async for attempt in deaths(least=9):
        shop, seller, dying = attempt.shop, attempt.seller, attempt.dying
        funder = await open_channel(dying)
        had = funder.balance()
        challenge = session_challenge(await shop.challenges())
        closing = funder.voucher(challenge, CALL, action="close")
        before = seller.transactions(shop)
        work = dying.settle(funder.channel) if kind == "settle" else shop.show(closing)
        if not await attempt.dies(work):
            continue
        where = attempt.where
        seller.time.now += 1
        async with seller.worker() as heir:
            await heir.tidy_up()
            assert await seller.stuck() == 0, where
            channel = await seller.store.channel(funder.channel)
            assert channel is not None
            if kind == "close":
                if channel.status is ChannelStatus.OPEN:  # nobody had noted the wish
                    status = await show_until_it_ends(heir.shop, closing)
                    assert status in (204, 402), where
                else:
                    assert channel.status is ChannelStatus.CLOSED, where
                    assert heir.shop.earned() == CALL, where
                    assert funder.balance() == had + DEPOSIT - CALL, where
            elif heir.shop.earned() == 0:
                await heir.settle(funder.channel)
            assert seller.transactions(heir.shop) - before <= 1, where
            if kind == "settle":
                assert heir.shop.earned() == CALL, where
                assert seller.transactions(heir.shop) - before == 1, where
