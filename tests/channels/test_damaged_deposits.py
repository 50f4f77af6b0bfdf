"""Openings with some bytes wrong: refused, or still good, and never anything else."""

from __future__ import annotations

import asyncio
import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.intents import RefusalError
from tests.channels.market import DEPOSIT, Market


@given(st.data(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_damaged_openings(data: st.DataObject, by_factory: bool) -> None:
    asyncio.run(show_damaged(data, by_factory=by_factory))


async def show_damaged(data: st.DataObject, *, by_factory: bool) -> None:
    market = Market()
    code = market.sandbox.channel_wasm_hash
    opening = market.opening() if by_factory else market.opening(factory=None, wasm_hash=code)
    payload = market.open_payload(opening)
    raw = bytearray(base64.b64decode(payload["transaction"]))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.sampled_from([0, 1, 2, 3, 18, 255, raw[place] ^ 1]))
    before, fees = market.funder_has(), market.fees_left()
    async with market.process() as process:
        shown = {**payload, "transaction": base64.b64encode(raw).decode()}
        try:
            funded = await process.open(shown)
        except RefusalError:
            market.time.now += 3
            assert (market.funder_has(), market.fees_left()) == (before, fees)
        else:  # the fee, the sequence number or the time limit, which are not the payer's to say
            assert funded.facts.deposited == DEPOSIT
