"""Whatever happens in whatever order: a channel that was guarded in time has paid what it owed."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from random import Random
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.intents import FaultError, PendingError, RefusalError
from mpp_asgi.stellar.settlement import NothingToSettleError, SettlementPolicy, earned, headroom
from mpp_asgi.stores.channels import ChannelStatus, SpendOutcome
from tests.session.watchtower import INTERVAL, Harbour, Process, make_harbour

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from mpp_asgi.stores.contract import Store

LIMIT = 60
STEPS = 120


class Wanderer:
    """Two processes, some channels, and chance."""

    def __init__(self, harbour: Harbour, seed: int, all_of_them: AsyncExitStack) -> None:
        self.harbour = harbour
        self.random = Random(seed)
        self._all_of_them = all_of_them
        self.processes: list[Process] = []
        self.channels: list[str] = []
        self.closing: set[str] = set()
        self.guarded: set[str] = set()
        """Those that a round came by, with nothing in its way, while they were closing."""
        self.refunded: set[str] = set()

    async def begin(self) -> None:
        self.processes = [await self.new_process() for _ in range(2)]
        for _ in range(4):
            period = self.random.randint(40, 120)
            self.channels.append(await self.harbour.opened(self.store, period=period))

    async def new_process(self) -> Process:
        made = self.harbour.process(SettlementPolicy(amount=LIMIT))
        return await self._all_of_them.enter_async_context(made)

    @property
    def store(self) -> Store:
        return self.random.choice(self.processes).store

    async def step(self) -> None:
        channel = self.random.choice(self.channels)
        await self.random.choice(self.steps)(channel)

    @property
    def steps(self) -> list[Callable[[str], Awaitable[None]]]:
        """What may happen next; some things more often."""
        often = [self.serve, self.serve, self.serve, self.guard, self.guard, self.wait, self.wait]
        return [*often, *(self.top_up, self.settle, self.pull, self.refund, self.die, self.trouble)]

    async def serve(self, channel: str) -> None:
        found = await self.store.channel(channel)
        cost, ahead = self.random.randint(1, 30), self.random.choice([0, 0, 20])
        amount = max(found.accepted, found.spent + cost + ahead)
        spend = await self.store.spend(
            channel,
            amount=amount,
            signature=self.harbour.channels.sign(channel, amount).hex(),
            cost=cost,
            units=1,
            min_delta=0,
            now=int(self.harbour.now()),
        )
        if spend.outcome is SpendOutcome.SPENT and channel in self.closing:
            self.guarded.discard(channel)

    async def guard(self, _: str) -> None:
        closing = set(self.closing)
        try:
            report = await self.random.choice(self.processes).guardian.round()
        except FaultError:
            return
        if report is not None and report.is_full and not report.put_off:
            self.guarded |= closing

    async def wait(self, _: str) -> None:
        self.harbour.pass_ledgers(self.random.randint(1, 30))

    async def top_up(self, channel: str) -> None:
        if channel not in self.closing:
            self.harbour.top_up(channel, 50)

    async def settle(self, channel: str) -> None:
        with suppress(NothingToSettleError, FaultError, PendingError, RefusalError):
            await self.random.choice(self.processes).guardian.settle_now(channel)

    async def pull(self, channel: str) -> None:
        if channel not in self.closing and self.random.random() < 0.5:
            self.harbour.close_start(channel)
            self.closing.add(channel)

    async def refund(self, _: str) -> None:
        """Funders take their money as soon as they may, if a guardian had the time to see it."""
        for channel in sorted(self.guarded - self.refunded):
            found = await self.store.channel(channel)
            if found.closes_at is not None and self.harbour.ledger >= found.closes_at:
                assert self.harbour.paid(channel) >= found.spent
                self.harbour.refund(channel)
                self.refunded.add(channel)

    async def die(self, _: str) -> None:
        gone = self.random.randrange(2)
        await self.processes[gone].die()
        self.processes[gone] = await self.new_process()

    async def trouble(self, _: str) -> None:
        methods = ["getLedgerEntries", "simulateTransaction", "sendTransaction", "getTransaction"]
        silent = self.random.sample(methods, self.random.choice([0, 0, 1, 2]))
        self.harbour.node.silent = frozenset(silent)

    async def end(self) -> None:
        """Everything works again, and some time goes by."""
        self.harbour.node.silent = frozenset()
        for _ in range(8):
            await self.harbour.sleep(3 * INTERVAL)
            for process in self.processes:
                await process.guardian.round()


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_that_was_guarded_is_lost(tmp_path: Path, seed: int) -> None:
    harbour = make_harbour(tmp_path / "records.db")
    async with AsyncExitStack() as all_of_them:
        wanderer = Wanderer(harbour, seed, all_of_them)
        await wanderer.begin()
        for _ in range(STEPS):
            await wanderer.step()
        await wanderer.end()

        found = [await wanderer.store.channel(channel) for channel in wanderer.channels]

    paid = {channel.id: harbour.paid(channel.id) for channel in found}
    assert harbour.earned() == sum(paid.values())
    for channel in found:
        assert channel.settled == paid[channel.id] <= channel.accepted
        if channel.id in wanderer.closing:
            assert earned(channel) == 0
        elif channel.status is ChannelStatus.OPEN:
            assert earned(channel) < (2 * LIMIT if headroom(channel) else LIMIT)
