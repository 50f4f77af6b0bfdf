"""What was paid for and did not arrive can be had for as long as the seller says, and once."""

from __future__ import annotations

import pytest

from mpp_asgi.stellar.admissions import CLOCK_SECONDS, PUSH_SECONDS, RECORD_SECONDS
from tests.shop import MODES, PRICE, START, Shop, Time, open_shop

HOUR = 3_600


def kind(answer: object) -> str:
    return str(answer.json()["type"]).rpartition("/")[2]  # type: ignore[attr-defined]


async def purge(shop: Shop) -> None:
    """As is done all the time."""
    while await shop.store.purge(now=int(shop.time.now), limit=100):
        pass


@pytest.mark.parametrize("mode", MODES)
async def test_a_payment_is_good_until_its_time_is_over(mode: str) -> None:
    async with open_shop(redelivery_seconds=50 * HOUR) as shop:
        credential = shop.payer().in_mode(mode, await shop.challenges("/flaky"))
        assert (await shop.show(credential, "/flaky")).status_code == 500  # paid, not delivered
        shop.time.now += 50 * HOUR - 1
        await purge(shop)
        assert (await shop.show(credential, "/flaky")).status_code == 200
        assert shop.earned() == PRICE


@pytest.mark.parametrize("mode", MODES)
async def test_a_payment_buys_once_whatever_has_been_forgotten(mode: str) -> None:
    async with open_shop(redelivery_seconds=HOUR) as shop:
        credential = shop.payer().in_mode(mode, await shop.challenges())
        assert (await shop.show(credential)).status_code == 200
        shop.sandbox.set_close_interval(600)
        for _ in range(80):
            shop.time.now += HOUR
            await purge(shop)
            assert (await shop.show(credential)).status_code == 402
        assert await shop.store.get(credential.challenge.id) is None
        assert (shop.earned(), shop.runs) == (PRICE, ["/paid"])


async def test_a_pushed_payment_is_remembered_while_it_could_be_shown() -> None:
    """For another challenge, as often as one likes; a clock may be slow."""
    async with open_shop(redelivery_seconds=HOUR) as shop:
        payer = shop.payer()
        challenge = (await shop.challenges())[1]
        hash_ = payer.push(payer.transfer(challenge))
        assert (await shop.show(payer.signed_hash(challenge, hash_))).status_code == 200
        shop.sandbox.set_close_interval(600)
        used = []
        while shop.time.now < START + PUSH_SECONDS + CLOCK_SECONDS:
            await purge(shop)
            fresh = payer.signed_hash((await shop.challenges())[1], hash_)
            answer = await shop.show(fresh)
            assert answer.status_code == 402
            used.append(kind(answer))
            shop.time.now += HOUR
        assert used[:24] == ["invalid-challenge"] * 24
        assert shop.runs == ["/paid"]


@pytest.mark.parametrize("mode", MODES)
async def test_other_authorizations_of_forgotten_payments_do_not_count(mode: str) -> None:
    """The very payment, shown for a fresh challenge after its record is gone."""
    async with open_shop(redelivery_seconds=HOUR) as shop:
        credential = shop.payer().in_mode(mode, await shop.challenges())
        assert (await shop.show(credential)).status_code == 200
        shop.sandbox.set_close_interval(600)
        for _ in range(30):
            shop.time.now += HOUR
            await purge(shop)
            for fresh in await shop.challenges():
                again = shop.payer().credential(fresh, **dict(credential.payload))
                assert (await shop.show(again)).status_code in (400, 402)
        assert (shop.earned(), shop.runs) == (PRICE, ["/paid"])


async def test_what_is_not_decided_is_kept_however_short_redelivery_is() -> None:
    time = Time()
    async with open_shop(time=time, redelivery_seconds=HOUR, settle_seconds=2) as shop:
        credential = shop.payer().sponsored((await shop.challenges())[0])
        shop.sandbox.freeze()
        assert (await shop.show(credential)).status_code == 503
        record = await shop.store.get(credential.challenge.id)
        assert record is not None
        assert record.keep_until >= START + RECORD_SECONDS
        shop.sandbox.thaw()
        assert (await shop.show(credential)).status_code == 200
        record = await shop.store.get(credential.challenge.id)
        assert record is not None
        assert record.keep_until <= int(time.now) + PUSH_SECONDS + CLOCK_SECONDS
