"""What a day's fees may cost, for one payer and in total, over all processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi import house
from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import Challenge
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.sponsor_budget import DAY_SECONDS, SponsorBudget, SponsorLimits
from mpp_asgi.stores.contract import Charge, State, StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.channels.market import Market
from tests.charge.bad_line import Plan, altered, failed, lost_after, shop_on_bad_line
from tests.methods.stores import StoreAround
from tests.shop import PRICE, SPONSOR, Payer, Shop, Time, open_shop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

FEW = Decimal("0.0075")
"""XLM: enough for three payments, and not for a fourth."""


async def pay(shop: Shop, payer: Payer, nonce: int) -> Any:
    challenge = (await shop.challenges())[0]
    return await shop.show(payer.sponsored(challenge, nonce=nonce))


def sponsored(answer: Any) -> list[bool]:
    """Of each challenge in an answer, whether we would pay the fee."""
    found = Challenge.all_from_headers(answer.headers.get_list("www-authenticate"))
    return [each.request_object()["methodDetails"]["feePayer"] for each in found]


async def drawn(shop: Shop, payer: Payer | None = None) -> int:
    budget = SponsorBudget(SPONSOR.public_key, SponsorLimits(), shop.store, clock=shop.time)
    return await budget.drawn(payer.address if payer else None)


@pytest.mark.parametrize("accounts", [0, 2])
async def test_a_payer_whose_budget_is_spent_pays_its_own_fees(accounts: int) -> None:
    async with open_shop(sponsor_accounts=accounts, sponsor_payer_budget=FEW) as shop:
        payer, other = shop.payer(1), shop.payer(2)
        answers = [await pay(shop, payer, nonce) for nonce in range(5)]
        paid = [answer.status_code for answer in answers].count(200)
        assert 2 <= paid < 5
        assert [answer.status_code for answer in answers] == [200] * paid + [402] * (5 - paid)
        assert answers[-1].json()["type"].endswith("/sponsorship-exhausted")
        assert sponsored(answers[-1]) == [False]
        assert (await pay(shop, other, 0)).status_code == 200
        (own,) = Challenge.all_from_headers(answers[-1].headers.get_list("www-authenticate"))
        assert (await shop.show(payer.unsponsored(own))).status_code == 200
        assert shop.earned() == (paid + 2) * PRICE
        shop.time.now += DAY_SECONDS
        assert (await pay(shop, payer, 9)).status_code == 200


async def test_what_is_counted_is_what_was_spent() -> None:
    async with open_shop(sponsor_budget=Decimal(1), sponsor_payer_budget=Decimal(1)) as shop:
        payer = shop.payer()
        challenge = (await shop.challenges())[0]
        before = shop.sponsor_funds()
        assert (await shop.show(payer.sponsored(challenge))).status_code == 200
        spent = before - shop.sponsor_funds()
        assert spent > 0
        assert await drawn(shop) == spent
        assert await drawn(shop, payer) == spent


async def test_the_total_is_exact_over_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However they race, no more is spent than allowed, and all of it is counted."""
    store = MemoryStore()  # a disk takes time that the clock of this test does not know
    monkeypatch.setattr(house, "store_from_url", lambda _: store)
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=5)
    settings: dict[str, Any] = {
        "sandbox": sandbox,
        "time": time,
        "sponsor_accounts": 4,
        "sponsor_budget": FEW * 4,
        "settle_seconds": 300,
    }
    async with open_shop(**settings) as one, open_shop(**settings) as two:
        shops = (one, two)
        payers = [shops[number % 2].payer(number) for number in range(20)]
        for shop in shops:
            await shop.challenges()
        before = one.sponsor_funds()
        answers = await asyncio.gather(
            *(pay(payer.shop, payer, number) for number, payer in enumerate(payers))
        )
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {200, 402}
        assert one.earned() == statuses[200] * PRICE
        spent = before - one.sponsor_funds()
        assert await drawn(one) == await drawn(two) == spent <= FEW * 4 * 10**7


async def test_what_was_never_sent_is_not_counted() -> None:
    async with shop_on_bad_line(sponsor_budget=Decimal(1)) as (shop, line):
        payer = shop.payer()
        challenge = (await shop.challenges())[0]
        line.follow(Plan("sendTransaction", 0, altered(status="ERROR"), more=9))
        line.sandbox.freeze()
        line.sandbox.refuse_next_submit("ERROR", times=9)
        answer = await shop.show(payer.sponsored(challenge))
        assert answer.status_code == 503
        assert await drawn(shop) == 0


async def test_what_nobody_saw_the_end_of_counts_in_full() -> None:
    async with shop_on_bad_line(sponsor_budget=Decimal(1), settle_seconds=3) as (shop, line):
        payer = shop.payer()
        credential = payer.sponsored((await shop.challenges())[0])
        before = shop.sponsor_funds()
        line.follow(
            Plan("sendTransaction", 0, lost_after, more=99),
            Plan("getTransaction", 0, failed, more=999),
            Plan("getTransactions", 0, failed, more=999),
        )
        assert (await shop.show(credential)).status_code == 503
        line.follow()
        assert (await shop.show(credential)).status_code == 200
        assert await drawn(shop) >= before - shop.sponsor_funds() > 0


class Unsure(StoreAround):
    """Carries out the first write of what is submitted, and does not get to say so."""

    is_sure = False

    async def write(self, charge: Charge, proofs: Sequence[str] = (), *, owner: str) -> None:
        await self._store.write(charge, proofs, owner=owner)
        if charge.state is State.SUBMITTED and not self.is_sure:
            self.is_sure = True
            raise StoreUnavailableError("no answer")

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        return await operation()


async def test_what_may_be_on_record_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent later on, by whoever finds the record."""
    monkeypatch.setattr(house, "store_from_url", lambda _: Unsure(MemoryStore()))
    async with open_shop(sponsor_budget=Decimal(1), settle_seconds=9) as shop:
        payer = shop.payer()
        credential = payer.sponsored((await shop.challenges())[0])
        before = shop.sponsor_funds()
        assert (await shop.show(credential)).status_code == 503
        assert (await shop.show(credential)).status_code == 200
        assert await drawn(shop) >= before - shop.sponsor_funds() > 0


async def test_openings_count_and_closings_are_done_whatever_is_left() -> None:
    market = Market()
    async with market.process() as process:
        sponsor = process.counter.sponsor
        assert sponsor is not None

        def limited(total: int) -> SponsorBudget:
            limits = SponsorLimits(total=total)
            return SponsorBudget(sponsor.address, limits, market.store, clock=market.time)

        before = market.fees_left()
        sponsor.budget = limited(10**9)
        opened = await process.open(market.open_payload())
        first = before - market.fees_left()
        assert await sponsor.budget.drawn() == first > 0
        sponsor.budget = limited(first + 1_000)
        with pytest.raises(RefusalError, match="No more fees here"):
            await process.open(market.open_payload())
        closing = await process.closing(opened.facts.id, 10)
        assert await process.cashier.close(closing) is not None
        assert await sponsor.budget.drawn() == before - market.fees_left() > first + 1_000
