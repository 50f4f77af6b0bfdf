"""Vouchers, settlements, top-ups and closings in any order, by several processes, on a bad line."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.intents import FaultError, PendingError
from mpp_asgi.stores.channels import ChannelStatus
from tests.channels.errands import MOST_TRIES
from tests.channels.market import DEPOSIT, Market, Process
from tests.charge.bad_line import ANY_METHOD, SUBMITTING, Plan

STEPS = st.one_of(
    st.tuples(st.just("sell"), st.integers(1, DEPOSIT // 8)),
    st.tuples(st.just("settle"), st.integers(0, 1)),
    st.tuples(st.just("settle at once"), st.integers(0, 1)),
    st.tuples(st.just("top up"), st.integers(1_000, 50_000)),
    st.tuples(st.just("deposit by hand"), st.integers(1, 50_000)),
    st.tuples(st.just("wait"), st.integers(1, 70)),
    st.tuples(st.just("fault"), st.integers(0, 10**6)),
)
FAULTS = [
    *(
        (method, fault)
        for method in ("getLedgerEntries", "simulateTransaction", "getTransaction")
        for fault in ANY_METHOD.values()
    ),
    *(("sendTransaction", fault) for fault in {**ANY_METHOD, **SUBMITTING}.values()),
]


@dataclass
class Walk:
    """One channel, and what there should be in it."""

    market: Market
    processes: tuple[Process, Process]
    channel: str
    sold: int = 0
    deposited: int = field(default=DEPOSIT)

    async def take(self, name: str, value: int) -> None:
        match name:
            case "sell":
                self.sold = min(self.sold + value, DEPOSIT - 1)
                await self.sell(cost=0)
            case "settle":
                with suppress(FaultError, PendingError):
                    await self.settle(value)
            case "settle at once":
                done = await asyncio.gather(*map(self.settle, (0, 1)), return_exceptions=True)
                assert all(
                    each is None or isinstance(each, str | FaultError | PendingError)
                    for each in done
                )
            case "top up":
                await self.top_up(value)
            case "deposit by hand":
                self.market.top_up(self.channel, value)
                self.deposited += value
            case "wait":
                self.mend()
                self.market.time.now += value
            case "fault":
                method, fault = FAULTS[value % len(FAULTS)]
                self.market.line.follow(Plan(method, value % 3, fault))

    async def sell(self, *, cost: int) -> None:
        await self.market.store.spend(
            self.channel,
            amount=self.sold,
            signature=self.market.voucher(self.channel, self.sold),
            cost=cost,
            units=1,
            min_delta=0,
            now=int(self.market.time()),
        )

    async def settle(self, number: int) -> str | None:
        process = self.processes[number]
        return await process.cashier.settle(await process.kept(self.channel))

    async def top_up(self, amount: int) -> None:
        self.mend()
        process = self.processes[0]
        payload, quote = self.market.top_up_payload(self.channel, amount), process.quote()
        for _ in range(MOST_TRIES):
            try:
                await process.top_up(payload, await process.kept(self.channel), quote=quote)
            except FaultError as fault:  # the sponsor's account may have to wait for a settlement
                self.market.time.now += fault.retry_after
            else:
                self.deposited += amount
                return
        raise AssertionError("the top-up does not end")

    def mend(self) -> None:
        self.market.line.follow()
        self.market.sandbox.thaw()

    async def check(self) -> None:
        facts = await self.processes[0].facts(self.channel)
        kept = await self.processes[0].kept(self.channel)
        assert facts.withdrawn == self.market.earned()
        assert kept.settled <= facts.withdrawn <= kept.accepted == self.sold
        assert facts.deposited == self.deposited


@given(st.lists(STEPS, max_size=14), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_order(steps: list[tuple[str, int]], sponsored: bool) -> None:
    asyncio.run(walk(steps, sponsored=sponsored))


async def walk(steps: list[tuple[str, int]], *, sponsored: bool) -> None:
    market = Market(sponsored=sponsored)
    async with market.process() as one, market.process() as two:
        walking = Walk(market, (one, two), market.open())
        await one.hold(walking.channel, 0)
        for name, value in steps:
            await walking.take(name, value)
        walking.mend()
        market.time.now += 300  # whatever was on its way has arrived, or never will
        await walking.check()
        walking.sold += 1  # a voucher that was settled buys nothing any more
        await walking.sell(cost=walking.sold)
        closing = await one.closing(walking.channel, walking.sold)
        for _ in range(MOST_TRIES):
            with suppress(FaultError, PendingError):
                await two.cashier.close(closing)
                break
            market.time.now += 5
    assert market.earned() == walking.sold
    assert market.funder_has() == 10**9 - walking.sold
    final = await one.kept(walking.channel)
    assert (final.settled, final.status) == (walking.sold, ChannelStatus.CLOSED)
