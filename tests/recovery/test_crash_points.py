"""A process dies at any call that claiming, submitting, settling, delivering, accepting, spending
and closing make, just before its effect or just after it. Others go on, with nobody coming back at
first. In the end:

- nothing is stuck;
- what the ledger has is what was bought, once;
- the same credential is served if it was paid and not sent, and refused if it was not paid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stores.channels import ChannelStatus
from tests.recovery.deaths import Moment, Seller, Worker
from tests.session.drawer import CALL, DEPOSIT, Funder, problem_of, session_challenge
from tests.shop import MODES, PRICE, Shop, Time

if TYPE_CHECKING:
    from mpp_asgi.protocol import Credential

MOST_CALLS = 60
MOMENTS: tuple[Moment, ...] = ("before", "after")
AGAIN = (409, 503)

pytestmark = pytest.mark.parametrize("moment", MOMENTS)


def new_seller(patch: pytest.MonkeyPatch) -> Seller:
    time = Time()
    return Seller(patch, Sandbox(clock=time, close_interval=0.1), time)


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
async def test_a_charge(
    monkeypatch: pytest.MonkeyPatch, mode: str, path: str, moment: Moment
) -> None:
    for call in range(MOST_CALLS):
        seller = new_seller(monkeypatch)
        async with seller.worker() as dying:
            shop = dying.shop
            credential = shop.payer().in_mode(mode, await shop.challenges(path))
            dying.life.end_at(call, moment)
            if not await dying.dies(shop.show(credential, path)):
                assert call > 4
                return
            where = f"{moment} {dying.life.calls[-1]}, call {call}"
            has_left = shop.left[-1] == 200
            async with seller.worker() as heir:
                await check_charge(seller, heir, credential, path, has_left, where)
    raise AssertionError("a payment takes more calls than were tried")


async def check_charge(
    seller: Seller, heir: Worker, credential: Credential, path: str, has_left: bool, where: str
) -> None:
    sponsored = credential.challenge.request_object()["methodDetails"]["feePayer"]
    await heir.tidy_up()
    assert await seller.stuck() == 0, where
    earned = heir.shop.earned()
    assert earned in (0, PRICE), where
    status = await show_until_it_ends(heir.shop, credential, path)
    was_noted = has_left and where.startswith("after")
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
    monkeypatch: pytest.MonkeyPatch, mode: str, moment: Moment
) -> None:
    """In time: it is served for one price, whatever was done before."""
    for call in range(MOST_CALLS):
        seller = new_seller(monkeypatch)
        async with seller.worker() as dying:
            shop = dying.shop
            credential = shop.payer().in_mode(mode, await shop.challenges())
            dying.life.end_at(call, moment)
            if not await dying.dies(shop.show(credential)):
                return
            where = f"{moment} {dying.life.calls[-1]}, call {call}"
            was_noted = shop.left[-1] == 200 and moment == "after"
            seller.time.now += LIFE_SECONDS + 1
            async with seller.worker() as heir:
                await heir.house._recovery.round()
                status = await show_until_it_ends(heir.shop, credential)
                assert status == (402 if was_noted else 200), where
                assert heir.shop.earned() == PRICE, where
                assert await show_until_it_ends(heir.shop, credential) == 402, where
                assert heir.shop.earned() == PRICE, where
                assert await seller.stuck() == 0, where
    raise AssertionError("a payment takes more calls than were tried")


async def test_recovery_itself(monkeypatch: pytest.MonkeyPatch, moment: Moment) -> None:
    """Who takes over may die as well."""
    for call in range(MOST_CALLS):
        seller = new_seller(monkeypatch)
        async with seller.worker() as dying:
            shop = dying.shop
            credential = shop.payer().sponsored((await shop.challenges())[0])
            dying.life.end_at(None)
            await shop.show(credential)
            sent = dying.life.calls.index("sendTransaction")
        seller = new_seller(monkeypatch)
        async with seller.worker() as dying:
            shop = dying.shop
            credential = shop.payer().sponsored((await shop.challenges())[0])
            dying.life.end_at(sent, "after")
            assert await dying.dies(shop.show(credential))
            seller.time.now += LIFE_SECONDS + 1
            async with seller.worker() as second:
                second.life.end_at(call, moment)
                if not await second.dies(second.house._recovery.round()):
                    assert call > 5
                    return
                where = f"{moment} {second.life.calls[-1]}, call {call}"
                seller.time.now += LIFE_SECONDS + 1
                async with seller.worker() as heir:
                    await check_charge(seller, heir, credential, "/paid", False, where)
                    assert heir.shop.earned() == PRICE, where
    raise AssertionError("a round takes more calls than were tried")


# --- sessions -------------------------------------------------------------------------------------


async def open_channel(worker: Worker) -> Funder:
    funder = Funder(worker.shop, 1)
    challenge = session_challenge(await worker.shop.challenges())
    answer = await worker.shop.show(funder.open(challenge, CALL))
    assert answer.status_code == 200, answer.text
    return funder


async def test_an_opening(monkeypatch: pytest.MonkeyPatch, moment: Moment) -> None:
    """Accept and spend are in it, too: an opening pays for its request."""
    for call in range(MOST_CALLS):
        seller = new_seller(monkeypatch)
        async with seller.worker() as dying:
            shop = dying.shop
            funder = Funder(shop, 1)
            had = funder.balance()
            credential = funder.open(session_challenge(await shop.challenges()), CALL)
            dying.life.end_at(call, moment)
            if not await dying.dies(shop.show(credential)):
                assert call > 8
                return
            where = f"{moment} {dying.life.calls[-1]}, call {call}"
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
    raise AssertionError("an opening takes more calls than were tried")


def is_spent(answer: object) -> bool:
    return problem_of(answer) == (402, "session/insufficient-balance")  # type: ignore[arg-type]


async def test_a_voucher(monkeypatch: pytest.MonkeyPatch, moment: Moment) -> None:
    """It is accepted and spent from, or neither; once it is accepted it is never lost."""
    for call in range(MOST_CALLS):
        seller = new_seller(monkeypatch)
        async with seller.worker() as dying:
            shop = dying.shop
            funder = await open_channel(dying)
            voucher = funder.voucher(session_challenge(await shop.challenges()), 2 * CALL)
            before = shop.left.count(200)
            dying.life.end_at(call, moment)
            if not await dying.dies(shop.show(voucher)):
                assert call > 0
                return
            where = f"{moment} {dying.life.calls[-1]}, call {call}"
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
    raise AssertionError("a voucher takes more calls than were tried")


async def test_a_top_up(monkeypatch: pytest.MonkeyPatch, moment: Moment) -> None:
    for call in range(MOST_CALLS):
        seller = new_seller(monkeypatch)
        async with seller.worker() as dying:
            shop = dying.shop
            funder = await open_channel(dying)
            had = funder.balance()
            credential = funder.top_up(session_challenge(await shop.challenges()), 3 * CALL)
            dying.life.end_at(call, moment)
            if not await dying.dies(shop.show(credential)):
                assert call > 6
                return
            where = f"{moment} {dying.life.calls[-1]}, call {call}"
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
    raise AssertionError("a top-up takes more calls than were tried")


@pytest.mark.parametrize("kind", ["settle", "close"])
async def test_a_payout(monkeypatch: pytest.MonkeyPatch, kind: str, moment: Moment) -> None:
    """What is settled or closed is paid by one transaction, whoever finishes it."""
    for call in range(MOST_CALLS):
        seller = new_seller(monkeypatch)
        async with seller.worker() as dying:
            shop = dying.shop
            funder = await open_channel(dying)
            had = funder.balance()
            challenge = session_challenge(await shop.challenges())
            closing = funder.voucher(challenge, CALL, action="close")
            before = seller.transactions(shop)
            dying.life.end_at(call, moment)
            work = dying.settle(funder.channel) if kind == "settle" else shop.show(closing)
            if not await dying.dies(work):
                assert call > 8
                return
            where = f"{moment} {dying.life.calls[-1]}, call {call}"
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
    raise AssertionError("a payout takes more calls than were tried")
