"""A process stops at any step of what it does with a channel; another one, or it, goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.stellar.cashier import LEASE_SECONDS
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from tests.channels.errands import ERRANDS
from tests.channels.market import Market
from tests.charge.mortal import Moment, MortalRpc, Process, stopped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.stores.contract import Store

MOST_STEPS = 60


class StepStore:
    """A store whose calls are steps."""

    def __init__(self, mortal: Process, store: Store) -> None:
        self._mortal = mortal
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        operation = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._mortal.step(lambda: operation(*args, **kwargs))

        return call


@pytest.mark.parametrize("sponsored", [True, False], ids=["sponsored", "unsponsored"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", ERRANDS)
async def test_killed_at_any_step(name: str, moment: Moment, *, sponsored: bool) -> None:
    for step in range(MOST_STEPS):
        market = Market(sponsored=sponsored)
        errand = ERRANDS[name](market)
        async with market.process() as heir:
            await errand.prepare(heir)
            errand.begin()
            mortal = Process()
            dying = market.doomed_process(
                store=StepStore(mortal, market.store),
                rpc=MortalRpc(mortal, InProcessRpc(market.line.rpc)),
            )
            mortal.stop_at(step, moment, killed=True)
            killed = await stopped(errand.do(dying), mortal)
            await dying.counter.book.heart.stop()
            if killed:
                market.time.now += max(LIFE_SECONDS, LEASE_SECONDS) + 1
            await errand.do_until_done(heir)
            await errand.assert_done(heir)
            errand.assert_one_transaction()
        if not killed:
            assert step > 8
            return
    raise AssertionError("it takes more steps than were tried")


@pytest.mark.parametrize("sponsored", [True, False], ids=["sponsored", "unsponsored"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", ERRANDS)
async def test_left_at_any_step(name: str, moment: Moment, *, sponsored: bool) -> None:
    """The request is cancelled, the process lives, and is asked again."""
    for step in range(MOST_STEPS):
        market = Market(sponsored=sponsored)
        errand = ERRANDS[name](market)
        mortal = Process()
        async with market.process(
            store=StepStore(mortal, market.store),
            rpc=MortalRpc(mortal, InProcessRpc(market.line.rpc)),
        ) as process:
            await errand.prepare(process)
            errand.begin()
            mortal.stop_at(step, moment, killed=False)
            left = await stopped(errand.do(process), mortal)
            mortal.goes_on.set()
            await errand.do_until_done(process)
            await errand.assert_done(process)
            errand.assert_one_transaction()
        if not left:
            assert step > 8
            return
    raise AssertionError("it takes more steps than were tried")
