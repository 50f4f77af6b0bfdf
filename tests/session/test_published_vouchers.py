"""What everybody can read off the ledger buys nothing.

To settle a voucher is to publish it. With headroom left, whoever reads the ledger, or the
transaction on its way there, could ride on it before its payer does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.settlement import settle_now
from tests.session.drawer import (
    CALL,
    Funder,
    open_session_shop,
    problem_of,
    till_of,
)
from tests.session.stand import ENTRY, UNIT, open_stand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpp_asgi.protocol import Challenge
    from tests.shop import Shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_session_shop() as shop:
        yield shop


async def opened(shop: Shop, amount: int) -> tuple[Funder, Challenge]:
    """A channel of which one call was paid, with a voucher for so much."""
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    response = await shop.show(funder.open(challenge, amount))
    assert response.status_code == 200, response.text
    return funder, challenge


async def settled(shop: Shop, funder: Funder) -> None:
    assert await settle_now(shop.store, till_of(shop.app).cashier, funder.channel) is not None


async def test_a_settled_voucher_is_no_good_to_thieves(shop: Shop) -> None:
    funder, challenge = await opened(shop, 5 * CALL)
    await settled(shop, funder)
    assert shop.earned() == 5 * CALL  # with its signature, for everybody to read
    for _ in range(4):
        stolen = await funder.pay(challenge, 5 * CALL)
        assert problem_of(stolen) == (402, "session/insufficient-balance")
        assert stolen.json()["requiredTopUp"] == "1"
        assert stolen.json()["acceptedCumulative"] == str(5 * CALL)
        assert stolen.json()["spent"] == str(CALL)
    assert len(shop.runs) == 1


async def test_an_honest_payer_has_all_of_the_headroom(shop: Shop) -> None:
    funder, challenge = await opened(shop, 5 * CALL)
    await settled(shop, funder)
    for _ in range(4):
        assert (await funder.pay(challenge, 5 * CALL + 1)).status_code == 200
    assert (await funder.record()).available == 1
    closing = funder.voucher(challenge, 5 * CALL, action="close")
    assert (await shop.show(closing)).status_code == 204
    assert shop.earned() == 5 * CALL


async def test_it_buys_nothing_while_it_is_on_its_way(shop: Shop) -> None:
    """Whoever listens to the network knows it before the ledger does."""
    funder, challenge = await opened(shop, 5 * CALL)
    shop.sandbox.freeze()
    with pytest.raises(FaultError):
        await settled(shop, funder)
    assert shop.earned() == 0
    stolen = await funder.pay(challenge, 5 * CALL)
    assert problem_of(stolen) == (402, "session/insufficient-balance")
    assert (await funder.pay(challenge, 6 * CALL)).status_code == 200
    assert len(shop.runs) == 2


async def test_a_close_that_failed_has_published_its_voucher(shop: Shop) -> None:
    """The channel goes on, its call was given back, and the ledger has a signature for it."""
    funder, challenge = await opened(shop, 2 * CALL)
    assert (await funder.pay(challenge, 2 * CALL)).status_code == 200
    store = shop.store
    await store.publish(funder.channel, amount=2 * CALL)
    await store.give_back(funder.channel, cost=CALL, units=1)
    stolen = await funder.pay(challenge, 2 * CALL)
    assert problem_of(stolen) == (402, "session/insufficient-balance")
    assert (await funder.pay(challenge, 2 * CALL + 1)).status_code == 200


async def test_a_stream_goes_on_when_its_voucher_is_settled() -> None:
    """It was paid for by who could sign."""
    async with open_stand() as stand:
        drawer = await stand.drawer()
        challenge = await drawer.challenge("/tokens")
        signed = ENTRY + 3 * UNIT
        line = stand.listen(drawer.voucher(challenge, signed).to_header())
        stand.source.give("one")
        await line.hears(1)
        await stand.shop.store.publish(drawer.channel, amount=signed)
        stand.source.give("two", "three")
        stand.source.end()
        await line.end()
        assert line.texts == ["one", "two", "three"]
        stolen = await drawer.pay(challenge, signed, "/tokens")
        assert problem_of(stolen) == (402, "session/insufficient-balance")
