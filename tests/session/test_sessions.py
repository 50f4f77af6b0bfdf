"""Sessions from their opening to their close, on the ledger of the sandbox and over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.session.drawer import (
    CALL,
    DEPOSIT,
    Drawer,
    Funder,
    open_session_shop,
    problem_of,
    receipt_of,
    session_challenge,
)
from tests.shop import START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpp_asgi.protocol import Challenge
    from tests.shop import Shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_session_shop() as shop:
        yield shop


async def opened(
    shop: Shop, funder: Funder | None = None, **how: object
) -> tuple[Drawer, Challenge]:
    funder = funder or Funder(shop, 1)
    challenge = session_challenge(await shop.challenges())
    response = await shop.show(funder.open(challenge, CALL, **how))
    assert response.status_code == 200, response.text
    assert response.json() == {"resource": "paid"}
    return funder, challenge


@pytest.mark.parametrize("way", ["factory", "deployed"])
async def test_a_session_from_its_opening_to_its_close(shop: Shop, way: str) -> None:
    funder = Funder(shop, 1)
    before, fees = funder.balance(), funder.xlm()
    drawer, challenge = await opened(shop, funder, way=way)
    for number in range(2, 6):
        assert (await drawer.pay(challenge, number * CALL)).status_code == 200
    assert shop.earned() == 0  # off the ledger
    assert funder.balance() == before - DEPOSIT
    topped_up = await shop.show(funder.top_up(challenge, 3 * CALL))
    assert topped_up.status_code == 204, topped_up.text
    assert len(str(receipt_of(topped_up)["txHash"])) == 64
    assert (await drawer.record()).deposited == DEPOSIT + 3 * CALL
    assert (await drawer.pay(challenge, DEPOSIT + 3 * CALL)).status_code == 200
    closing = drawer.voucher(challenge, 6 * CALL, action="close")
    closed = await shop.show(closing)
    assert closed.status_code == 204, closed.text
    assert receipt_of(closed)["spent"] == str(6 * CALL)
    assert shop.earned() == 6 * CALL
    assert funder.balance() == before - 6 * CALL
    assert funder.xlm() == fees  # the shop paid them all
    assert problem_of(await drawer.pay(challenge, 7 * CALL)) == (410, "session/channel-finalized")
    assert len(shop.runs) == 6


async def test_three_sessions_at_once(shop: Shop) -> None:
    funders = [Funder(shop, number) for number in (1, 2, 3)]
    before = [funder.balance() for funder in funders]

    async def buy(funder: Funder, calls: int) -> None:
        challenge = session_challenge(await shop.challenges())
        response = await shop.show(funder.open(challenge, CALL))
        assert response.status_code == 200, response.text
        for number in range(2, calls + 1):
            response = await funder.pay(challenge, number * CALL)
            assert response.status_code == 200, response.text
        closing = funder.voucher(challenge, calls * CALL, action="close")
        assert (await shop.show(closing)).status_code == 204

    await asyncio.gather(*(buy(funder, 3 + n) for n, funder in enumerate(funders)))
    after = [funder.balance() for funder in funders]
    assert [b - a for b, a in zip(before, after, strict=True)] == [3 * CALL, 4 * CALL, 5 * CALL]
    assert shop.earned() == 12 * CALL


async def test_an_opening_names_its_transaction_and_can_be_shown_again(shop: Shop) -> None:
    funder = Funder(shop, 1)
    challenge = session_challenge(await shop.challenges())
    opening = funder.open(challenge, 2 * CALL)
    first = await shop.show(opening)
    assert len(str(receipt_of(first)["txHash"])) == 64
    balance = funder.balance()
    again = await shop.show(opening)  # its voucher has headroom for one more
    assert again.status_code == 200
    assert problem_of(await shop.show(opening)) == (402, "session/insufficient-balance")
    assert funder.balance() == balance


async def test_opening_on_a_head_request_serves_nothing(shop: Shop) -> None:
    funder = Funder(shop, 1)
    challenge = session_challenge(await shop.challenges())
    response = await shop.show(funder.open(challenge, 0), method="HEAD")
    assert response.status_code == 204, response.text
    assert receipt_of(response)["spent"] == "0"
    assert shop.runs == []
    assert (await funder.pay(challenge, CALL)).status_code == 200


async def test_a_channel_opened_by_its_funder_alone_is_taken(shop: Shop) -> None:
    funder = Funder(shop, 1)
    challenge = session_challenge(await shop.challenges())
    hash_ = funder.open_alone(challenge)
    shown = funder.voucher(challenge, CALL, action="open", type="hash", hash=hash_)
    response = await shop.show(shown)
    assert response.status_code == 200, response.text
    assert "txHash" not in receipt_of(response)


async def test_a_deposit_from_outside_is_followed(shop: Shop) -> None:
    funder = Funder(shop, 1)
    drawer, challenge = await opened(shop, funder)
    funder.top_up_alone(2 * CALL)
    assert (await drawer.pay(challenge, DEPOSIT + 2 * CALL)).status_code == 200


async def test_a_close_is_for_exactly_what_was_spent(shop: Shop) -> None:
    drawer, challenge = await opened(shop)
    await drawer.pay(challenge, 5 * CALL)
    for amount in (CALL, 3 * CALL, 5 * CALL):
        refused = await shop.show(drawer.voucher(challenge, amount, action="close"))
        assert problem_of(refused) == (402, "verification-failed")
        assert refused.json()["spent"] == str(2 * CALL)
    assert (await drawer.pay(challenge, 5 * CALL)).status_code == 200  # it is open still
    assert (await shop.show(drawer.voucher(challenge, 3 * CALL, action="close"))).is_success
    assert shop.earned() == 3 * CALL


async def test_the_challenge_of_an_open_session_outlives_charges(shop: Shop) -> None:
    drawer, challenge = await opened(shop)
    shop.time.now = START + 1_000
    assert (await drawer.pay(challenge, 2 * CALL)).status_code == 200
