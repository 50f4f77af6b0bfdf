"""Every check on an opening and a top-up, and the attack that only this check stops.

One row, one attack: it is refused for its own reason, nothing moves, no fee is paid, nothing is
kept of it, and what is as it should be is carried out afterwards.
"""

from __future__ import annotations

import pytest

from mpp_asgi.intents import RefusalError
from tests.channels.deposit_case import Attack, Case
from tests.channels.market import DEPOSIT, Market
from tests.channels.opening_attacks import COMMON, PAYLOADS, SPONSORED, UNSPONSORED
from tests.channels.top_up_attacks import TOP_UPS, top_up

OPENINGS = [
    *((attack, True) for attack in (*PAYLOADS, *COMMON, *SPONSORED)),
    *((attack, False) for attack in (*COMMON, *UNSPONSORED)),
]


@pytest.mark.parametrize(
    ("attack", "sponsored"),
    OPENINGS,
    ids=[f"{'sponsored' if sponsored else 'unsponsored'}: {each}" for each, sponsored in OPENINGS],
)
async def test_an_opening_is_refused(attack: Attack, *, sponsored: bool) -> None:
    market = Market(sponsored=sponsored)
    case = Case(market)
    async with market.process() as process:
        payload = {key: val for key, val in attack.forge(case).items() if val is not None}
        before, fees = market.funder_has(), market.fees_left()
        with pytest.raises(RefusalError) as refused:
            await process.open(payload, **attack.terms(case))
        assert attack.says in refused.value.problem.detail
        assert refused.value.problem.slug == attack.slug
        assert await market.store.get(f"open:{payload.get('channelId')}") is None
        market.time.now += 3  # were something on its way, it would arrive
        assert (market.funder_has(), market.fees_left()) == (before, fees)
        opened = await process.open(case.good())
        assert opened.facts.deposited == DEPOSIT


@pytest.mark.parametrize("sponsored", [True, False], ids=["sponsored", "unsponsored"])
@pytest.mark.parametrize("attack", TOP_UPS, ids=str)
async def test_a_top_up_is_refused(attack: Attack, *, sponsored: bool) -> None:
    market = Market(sponsored=sponsored)
    case = Case(market)
    async with market.process() as process:
        held = await process.hold(case.channel, 100)
        payload = {key: val for key, val in attack.forge(case).items() if val is not None}
        before, fees = market.funder_has(), market.fees_left()
        with pytest.raises(RefusalError) as refused:
            await process.top_up(payload, held, **attack.terms(case))
        assert attack.says in refused.value.problem.detail
        assert refused.value.problem.slug == attack.slug
        market.time.now += 3
        assert (market.funder_has(), market.fees_left()) == (before, fees)
        funded = await process.top_up(top_up(case), held)
        assert funded.facts.deposited == DEPOSIT + 5_000
