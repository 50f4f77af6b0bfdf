"""A store that does not answer costs nobody anything: a spend counts once, or not at all."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi import house, refunds
from mpp_asgi.stellar.spending import AGAIN_WITHIN
from mpp_asgi.stores.channels import KEPT_ENTRIES, RETURNED, SpendOutcome
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.methods.stores import StoreAround
from tests.session.drawer import CALL, DEPOSIT, Drawer, open_session_shop
from tests.shop import Time, payment_middleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mpp_asgi.charges import ChargeBook


class Whimsical(StoreAround):
    """Answers as it was told to: ``right`` in the end, or ``before`` or ``after`` it was done, or
    as ``late`` as `catch_up` says."""

    def __init__(self, store: MemoryStore, time: Time) -> None:
        super().__init__(store)  # type: ignore[arg-type] # by its names
        self.whims: dict[str, list[str]] = {}
        self.calls: list[str] = []
        self._late: list[Callable[[], Awaitable[Any]]] = []
        self._time = time

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        self.calls.append(name)
        whims = self.whims.get(name, [])
        whim = whims.pop(0) if whims else "right"
        if whim == "slow":
            self._time.now += AGAIN_WITHIN
        if whim == "late":
            self._late.append(operation)
        if whim in ("before", "late", "slow"):
            raise StoreUnavailableError(name)
        result = await operation()
        if whim == "after":
            raise StoreUnavailableError(name)
        return result

    async def catch_up(self) -> list[Any]:
        """Do what was asked for long ago."""
        return [await operation() for operation in self._late]


class Customer(Drawer):
    """Has a voucher for one call, and a second one."""

    store: Whimsical

    @property
    def book(self) -> ChargeBook:
        opened = payment_middleware(self.shop.app)._house
        assert opened is not None
        return opened._book

    async def call(self, amount: int = CALL, path: str = "/paid") -> int:
        return (await self.pay(await self.challenge(), amount, path)).status_code

    async def spent(self) -> tuple[int, int]:
        found = await self.record()
        return found.spent, found.units


@pytest.fixture
def time() -> Time:
    return Time()


@asynccontextmanager
async def serving(
    monkeypatch: pytest.MonkeyPatch, time: Time, **whims: list[str]
) -> AsyncIterator[Customer]:
    store = Whimsical(MemoryStore(), time)
    monkeypatch.setattr(house, "store_from_url", lambda _: store)
    async with open_session_shop(time=time) as shop:
        drawer = await Drawer.on_record(shop)
        customer = Customer(shop, drawer.key, drawer.channel, drawer.funder)
        customer.store = store
        store.whims = whims
        yield customer


async def idle() -> None:
    """Let what is left for later begin, though not go on after its first sleep or so."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("whim", ["before", "after"])
async def test_an_answer_that_got_lost_is_asked_for_again_and_the_payer_does_not_notice(
    monkeypatch, time, whim
):
    async with serving(monkeypatch, time, spend=[whim]) as customer:
        assert await customer.call() == 200
        assert await customer.spent() == (CALL, 1)
        assert customer.store.calls.count("spend") == 2
        assert not customer.book.refunds.owed


@pytest.mark.parametrize("first", ["before", "after"])
@pytest.mark.parametrize("second", ["before", "after"])
async def test_a_spend_without_an_answer_is_given_back_before_the_payer_comes_again(
    monkeypatch, time, first, second
):
    async with serving(monkeypatch, time, spend=[first, second]) as customer:
        answer = await customer.pay(await customer.challenge(), CALL)
        assert answer.status_code == 503
        assert "www-authenticate" not in answer.headers
        assert await customer.call() == 200
        assert await customer.spent() == (CALL, 1)
        assert await customer.call() == 402  # it was for one call
        assert await customer.call(2 * CALL) == 200


async def test_nobody_is_told_to_pay_while_something_is_owed(monkeypatch, time):
    """Not even if the store does everything but give it back."""
    async with serving(
        monkeypatch, time, spend=["after", "before"], give_back=["before"] * 8
    ) as customer:
        for _ in range(3):
            assert await customer.call() == 503
        assert await customer.spent() == (CALL, 1)
        assert customer.store.calls.count("spend") == 2
        customer.store.whims.clear()
        assert await customer.call() == 200
        assert await customer.spent() == (CALL, 1)


async def test_whoever_comes_as_the_store_gets_well_is_not_turned_away_for_an_attempt_before(
    monkeypatch, time
):
    """An attempt to give back is under way that fails only then: it says nothing of the next."""
    async with serving(monkeypatch, time, spend=["after", "before"]) as customer:
        give_back, begun, over = customer.store.give_back, asyncio.Event(), asyncio.Event()
        attempts = 0

        async def hung_at_first(*args: Any, **terms: Any) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                begun.set()
                await over.wait()
                raise StoreUnavailableError("It was not well then.")
            await give_back(*args, **terms)

        monkeypatch.setattr(customer.store, "give_back", hung_at_first, raising=False)
        assert await customer.call() == 503
        await begun.wait()
        calls = [asyncio.create_task(customer.call()) for _ in range(3)]
        await idle()
        over.set()
        assert sorted(await asyncio.gather(*calls)) == [200, 402, 402]  # it was for one call
        assert attempts == 2


@pytest.mark.parametrize("begins", [True, False], ids=["who began it", "who waits, too"])
async def test_whoever_leaves_does_not_stop_what_is_being_given_back(monkeypatch, time, begins):
    async with serving(monkeypatch, time) as customer:
        owed, store = customer.book.refunds, customer.store
        give_back, begun, go_on = store.give_back, asyncio.Event(), asyncio.Event()
        voucher = {"amount": DEPOSIT, "signature": "s", "min_delta": 0, "now": 0}
        await store.spend(customer.channel, **voucher, cost=CALL, units=1)
        ends: list[str] = []

        async def slowly(*args: Any, **terms: Any) -> None:
            begun.set()
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise
            await give_back(*args, **terms)
            ends.append("given")

        monkeypatch.setattr(store, "give_back", slowly, raising=False)
        entry = owed.new_entry()
        owed._add(refunds.Refund(customer.channel, entry, CALL, 1, certain=True))
        first = asyncio.ensure_future(owed.settle(customer.channel))
        await begun.wait()
        second = asyncio.ensure_future(owed.settle(customer.channel))
        await idle()
        (leaves, stays) = (first, second) if begins else (second, first)
        leaves.cancel()
        await asyncio.wait([leaves])
        go_on.set()
        await stays
        assert ends == ["given"]
        assert await customer.spent() == (0, 0)


async def test_other_channels_are_spent_from_meanwhile(monkeypatch, time):
    async with serving(
        monkeypatch, time, spend=["after", "before"], give_back=["before"] * 8
    ) as customer:
        assert await customer.call() == 503
        other = await Drawer.on_record(customer.shop, 2)
        assert (await other.pay(await other.challenge(), CALL)).status_code == 200


async def test_beyond_so_many_refunds_nothing_is_spent_at_all(monkeypatch, time):
    monkeypatch.setattr(refunds, "MOST_OWED", 1)
    async with serving(
        monkeypatch, time, spend=["after", "before"], give_back=["before"] * 100
    ) as customer:
        assert await customer.call() == 503
        other = await Drawer.on_record(customer.shop, 2)
        challenge = await other.challenge()
        assert (await other.pay(challenge, CALL)).status_code == 503
        assert (await other.record()).spent == 0
        customer.store.whims.clear()
        await customer.book.tidy()
        assert (await other.pay(challenge, CALL)).status_code == 200


async def others_spend(customer: Customer, count: int) -> None:
    """At another process, which shares the store."""
    others = refunds.Refunds(customer.book, sleep=asyncio.sleep)
    voucher = {"amount": DEPOSIT, "signature": "s", "min_delta": 0, "now": 0}
    for _ in range(count):
        entry = others.new_entry()
        spent = await customer.store._store.spend(
            customer.channel, **voucher, cost=1, units=1, entry=entry
        )
        assert spent.outcome is SpendOutcome.SPENT


@pytest.mark.parametrize("spends", [True, False], ids=["spends", "fails"])
@pytest.mark.parametrize(
    ("before", "meanwhile", "is_told"),
    [
        (0, KEPT_ENTRIES - 2, True),
        (0, KEPT_ENTRIES, False),
        (KEPT_ENTRIES, KEPT_ENTRIES - 2, True),
        (KEPT_ENTRIES, KEPT_ENTRIES, False),
    ],
)
async def test_a_spend_that_the_channel_may_have_forgotten_is_not_asked_for_as_if_it_were_new(
    monkeypatch, time, before, meanwhile, is_told, spends
):
    """If it counted the first time, it would count twice; so it is in doubt."""
    async with serving(monkeypatch, time) as customer:
        await others_spend(customer, before)
        assert await customer.call(DEPOSIT) == 200
        ask = customer.store._call

        async def crowded(name: str, operation: Any) -> Any:
            if name != "spend":
                return await ask(name, operation)
            monkeypatch.setattr(customer.store, "_call", ask)
            if spends:
                await operation()
            await others_spend(customer, meanwhile)
            raise StoreUnavailableError(name)

        monkeypatch.setattr(customer.store, "_call", crowded)
        assert await customer.call(DEPOSIT) == (200 if is_told else 503)
        await customer.book.drain()
        mine = (await customer.spent())[0] - before - meanwhile
        assert mine == CALL * (1 + is_told) + CALL * (spends and not is_told)


async def test_a_spend_that_is_found_is_found_among_however_many(monkeypatch, time):
    """Nothing is known of before, and the memory is full; but there it is."""
    async with serving(monkeypatch, time, spend=["after"]) as customer:
        await others_spend(customer, KEPT_ENTRIES)
        spend, asked = customer.store._store.spend, 0

        async def crowded(*args: Any, **terms: Any) -> Any:
            nonlocal asked
            asked += 1
            result = await spend(*args, **terms)
            if asked == 1:
                monkeypatch.setattr(customer.store._store, "spend", spend)
                await others_spend(customer, 1)
            return result

        monkeypatch.setattr(customer.store._store, "spend", crowded)
        assert await customer.call(DEPOSIT) == 200
        assert await customer.spent() == (CALL + KEPT_ENTRIES + 1, KEPT_ENTRIES + 2)


async def test_nobody_is_told_to_sign_for_more_because_of_a_spend_that_was_forgotten(
    monkeypatch, time
):
    async with serving(monkeypatch, time) as customer:
        ask = customer.store._call

        async def crowded(name: str, operation: Any) -> Any:
            if name != "spend":
                return await ask(name, operation)
            monkeypatch.setattr(customer.store, "_call", ask)
            await operation()
            await others_spend(customer, KEPT_ENTRIES)
            await customer.store._store.spend(
                customer.channel,
                amount=DEPOSIT,
                signature="s",
                cost=DEPOSIT - CALL - KEPT_ENTRIES,
                units=1,
                min_delta=0,
                now=0,
            )
            raise StoreUnavailableError(name)

        monkeypatch.setattr(customer.store, "_call", crowded)
        assert await customer.call(DEPOSIT) == 503


async def test_a_store_that_takes_long_is_not_asked_again(monkeypatch, time):
    """The payer has waited long enough."""
    async with serving(monkeypatch, time, spend=["slow"]) as customer:
        assert await customer.call() == 503
        assert customer.store.calls.count("spend") == 1
        assert await customer.call() == 200


async def test_what_the_store_does_only_later_does_not_count(monkeypatch, time):
    """After it was given back, and after it was asked for again."""
    async with serving(monkeypatch, time, spend=["late", "late"]) as customer:
        assert await customer.call() == 503
        assert await customer.call() == 200
        outcomes = [spend.outcome for spend in await customer.store.catch_up()]
        assert outcomes == [SpendOutcome.VOID] * 2
        assert await customer.spent() == (CALL, 1)
        customer.store.whims["spend"] = ["late"]
        assert await customer.call(2 * CALL) == 200
        await customer.store.catch_up()
        assert await customer.spent() == (2 * CALL, 2)


async def test_a_refusal_that_comes_second_leaves_nothing_to_come_late(monkeypatch, time):
    async with serving(monkeypatch, time) as customer:
        assert await customer.call() == 200
        customer.store.whims["spend"] = ["late"]
        assert await customer.call() == 402
        await customer.book.drain()
        await customer.shop.store.give_back(customer.channel, cost=CALL, units=1)
        (late,) = await customer.store.catch_up()
        assert late.outcome is SpendOutcome.VOID
        assert await customer.spent() == (0, 0)


@pytest.mark.parametrize("whim", ["before", "after"])
async def test_what_an_endpoint_fails_to_deliver_is_given_back_once(monkeypatch, time, whim):
    async with serving(monkeypatch, time, give_back=[whim] * 3) as customer:
        assert await customer.call(path="/flaky") == 500
        await customer.book.drain()
        assert await customer.spent() == (0, 0)
        assert customer.store.calls.count("give_back") == 4
        assert await customer.call(path="/flaky") == 200
        assert await customer.spent() == (CALL, 1)


async def test_of_many_that_fail_at_once_each_is_given_back_once(monkeypatch, time):
    """And asked for once, where the store answers; whoever spends meanwhile waits for it."""
    async with serving(monkeypatch, time) as customer:
        owed = customer.book.refunds
        voucher = {"amount": DEPOSIT, "signature": "s", "min_delta": 0, "now": 0}
        await customer.store.spend(customer.channel, **voucher, cost=9 * CALL, units=9)
        refunded = [
            refunds.Refund(customer.channel, owed.new_entry(), CALL, 1, certain=True)
            for _ in range(5)
        ]
        await asyncio.gather(*map(owed.give, refunded), *(customer.call(DEPOSIT) for _ in "ab"))
        assert await customer.spent() == (6 * CALL, 6)
        assert customer.store.calls.count("give_back") == 5


async def test_what_comes_to_be_owed_later_is_tried_soon_as_well(monkeypatch, time):
    async with serving(monkeypatch, time) as customer:
        owed = customer.book.refunds
        voucher = {"amount": DEPOSIT, "signature": "s", "min_delta": 0, "now": 0}
        for _ in range(2):
            await customer.store.spend(customer.channel, **voucher, cost=CALL, units=1)
            customer.store.whims["give_back"] = ["before"] * 2
            refund = refunds.Refund(customer.channel, owed.new_entry(), CALL, 1, certain=True)
            await owed.give(refund)
            assert len(owed) == 1
            await customer.book.drain()
            assert await customer.spent() == (0, 0)


@pytest.mark.parametrize("done", ["never", "before it leaves", "after it left"])
@pytest.mark.parametrize("whim", ["right", "before", "after"])
async def test_whoever_leaves_before_there_is_an_answer_pays_nothing(monkeypatch, time, whim, done):
    """A store that is given up may be through with it, or may go on in a thread or a server."""
    async with serving(monkeypatch, time) as customer:
        challenge = await customer.challenge()
        asked, go_on = asyncio.Event(), asyncio.Event()
        spend = customer.store._store.spend

        async def work(*args: Any, **terms: Any) -> Any:
            if done == "before it leaves":
                result = await spend(*args, **terms)
                asked.set()
                await go_on.wait()
                return result
            asked.set()
            await go_on.wait()
            return await spend(*args, **terms)

        async def slowly(*args: Any, **terms: Any) -> Any:
            working = customer.book.spawn(work(*args, **terms))
            return await (working if done == "never" else asyncio.shield(working))

        customer.store._store.spend = slowly  # type: ignore[method-assign]
        customer.store.whims["spend"] = [whim]
        paying = asyncio.ensure_future(customer.pay(challenge, CALL))
        await asked.wait()
        paying.cancel()
        if done == "after it left":
            await asyncio.wait([paying])
        go_on.set()
        await asyncio.wait([paying])
        await customer.book.drain()
        assert await customer.spent() == (0, 0)
        assert not customer.book.refunds.owed
        assert customer.shop.runs == []


async def test_what_is_owed_is_tried_for_a_while_and_then_at_every_heartbeat(monkeypatch, time):
    async with serving(
        monkeypatch, time, spend=["after", "before"], give_back=["before"] * refunds.ATTEMPTS
    ) as customer:
        book = customer.book
        assert await customer.call() == 503
        before = time.now
        await book.drain()
        assert customer.store.calls.count("give_back") == refunds.ATTEMPTS
        assert time.now - before == 0.5 + 1 + 2 + 4
        assert len(book.refunds) == 1
        assert book.heart.is_beating()
        assert book.heart._is_needed()
        await book.tidy()
        assert not book.refunds.owed
        assert await customer.spent() == (0, 0)


async def test_a_process_that_ends_gives_back_first(monkeypatch, time):
    async with serving(
        monkeypatch, time, spend=["after", "before"], give_back=["before"] * (refunds.ATTEMPTS + 3)
    ) as customer:
        assert await customer.call() == 503
        store = customer.store._store
    found = await store.channel(customer.channel)
    assert (found.spent, found.units) == (0, 0)
    assert found.recent.startswith(RETURNED)


async def test_what_cannot_be_given_back_is_told(monkeypatch, time, caplog):
    async with serving(
        monkeypatch, time, spend=["after", "before"], give_back=["before"] * 100
    ) as customer:
        assert await customer.call() == 503
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.CRITICAL]
    assert told == [f"{CALL} base units could not be given back to channel {customer.channel}"]


async def test_a_session_is_closed_for_what_was_delivered(monkeypatch, time):
    async with serving(
        monkeypatch, time, spend=["right", "after", "before"], give_back=["before"] * 100
    ) as customer:
        challenge = await customer.challenge()
        assert (await customer.pay(challenge, 2 * CALL)).status_code == 200
        assert (await customer.pay(challenge, 2 * CALL)).status_code == 503
        closing = customer.voucher(challenge, CALL, action="close")
        assert (await customer.shop.show(closing)).status_code == 503  # it is not known yet
        assert "begin_close" not in customer.store.calls
        customer.store.whims.clear()
        answer = await customer.shop.show(closing)
        assert "begin_close" in customer.store.calls
        assert answer.status_code == 410  # as there is no such channel on the ledger
        assert await customer.spent() == (CALL, 1)


async def test_no_entry_is_made_twice():
    class Nobody:
        pass

    names = iter(["ab" * 15, "cd" * 15])
    some = [
        refunds.Refunds(Nobody(), sleep=asyncio.sleep, draw=lambda _: next(names)) for _ in "ab"
    ]  # type: ignore[arg-type]
    entries = [each.new_entry() for each in some for _ in range(100)]
    assert len(set(entries)) == 200
    assert {len(entry) for entry in entries} == {15}
    assert set("".join(entries)) <= set("0123456789abcdef")
