"""One credential with every request, as long as its voucher has headroom: it is read once, and
judged every time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.session.drawer import CALL, Drawer, open_session_shop, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMES = 4
"""It is remembered when it is shown a second time."""


@asynccontextmanager
async def riding() -> AsyncIterator[Drawer]:
    async with open_session_shop() as shop:
        yield await Drawer.on_record(shop)


@pytest.fixture
async def drawer() -> AsyncIterator[Drawer]:
    async with riding() as drawer:
        yield drawer


async def test_one_credential_pays_until_its_headroom_is_used_up(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    for count in range(1, TIMES + 1):
        assert (await drawer.pay(challenge, TIMES * CALL)).status_code == 200
        assert (await drawer.record()).spent == count * CALL
    short = await drawer.pay(challenge, TIMES * CALL)
    assert problem_of(short) == (402, "session/insufficient-balance")
    assert (await drawer.record()).spent == TIMES * CALL


async def test_what_was_read_often_expires_all_the_same(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    for _ in range(TIMES):
        assert (await drawer.pay(challenge, 10 * CALL)).status_code == 200
    drawer.shop.time.now += 3_600
    assert problem_of(await drawer.pay(challenge, 10 * CALL)) == (402, "payment-expired")
    assert (await drawer.record()).spent == TIMES * CALL


async def test_what_was_read_often_is_good_for_its_realm_only(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    for _ in range(TIMES):
        assert (await drawer.pay(challenge, 10 * CALL)).status_code == 200
    elsewhere = await drawer.pay(challenge, 10 * CALL, headers={"host": "elsewhere.test"})
    assert problem_of(elsewhere) == (402, "invalid-challenge")
    assert (await drawer.record()).spent == TIMES * CALL


async def test_a_little_change_to_what_was_read_often_is_noticed(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    for _ in range(TIMES):
        assert (await drawer.pay(challenge, 10 * CALL)).status_code == 200
    shown = drawer.voucher(challenge, 10 * CALL).to_header()
    middle = len(shown) // 3
    changed = shown[:middle] + ("A" if shown[middle] != "A" else "B") + shown[middle + 1 :]
    refused = await drawer.shop.http.get("/paid", headers={"authorization": changed})
    assert refused.status_code == 402
    assert (await drawer.record()).spent == TIMES * CALL
