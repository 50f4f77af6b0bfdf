"""What attacks on sessions have in common, and what leaked.

What leaked is every response that nobody owes anything for, and in the end every one that was owed
for and not paid.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox import Sandbox
from mpp_asgi.sandbox.contracts.registry import CHANNEL_WASM_HASH, CONTRACTS
from mpp_asgi.sandbox.host.native import Function
from mpp_asgi.sandbox.wire.values import i128_val
from tests.charge.forgery import THIEF
from tests.session.drawer import (
    CALL,
    Funder,
    open_session_shop,
    problem_of,
)
from tests.shop import Time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpp_asgi.protocol import Challenge
    from mpp_asgi.sandbox.host.guest import Guest
    from mpp_asgi.sandbox.wire.values import Val
    from tests.shop import Shop

LYING_CODE = b"\x11" * 32


@asynccontextmanager
async def attacked_shop(**settings: Any) -> AsyncIterator[Shop]:
    """Sells sessions on a ledger where a thief has money, and where code lies; ``settings`` as
    `open_session_shop`."""
    time = Time()
    true = CONTRACTS.by_wasm[CHANNEL_WASM_HASH]
    lying = {**true, "balance": Function((), _a_million), "deposited": Function((), _a_million)}
    contracts = CONTRACTS.with_wasm(LYING_CODE, lying)
    sandbox = Sandbox(clock=time, close_interval=1.0, contracts=contracts)
    sandbox.fund(THIEF.public_key, usdc="10")
    async with open_session_shop(sandbox=sandbox, time=time, **settings) as shop:
        yield shop


def _a_million(_guest: Guest) -> Val:
    return i128_val(10**6)


def nothing_leaked(row: str, *, served: int, owed: int) -> None:
    """Every response is owed for; ``owed`` is in base units."""
    leaks = served - owed // CALL
    print(f"{row}: {served} served, leaks = {leaks}")
    assert leaks == 0
    assert owed % CALL == 0


async def opened(shop: Shop, number: int = 1) -> tuple[Funder, Challenge]:
    funder = Funder(shop, number)
    challenge = await funder.challenge()
    response = await shop.show(funder.open(challenge, CALL))
    assert response.status_code == 200, response.text
    return funder, challenge


async def is_no_customer(funder: Funder, challenge: Challenge) -> None:
    """Whoever was refused has no session, whatever is signed."""
    assert await funder.shop.store.channel(funder.channel) is None
    answer = await funder.pay(challenge, CALL)
    assert problem_of(answer) == (410, "session/channel-not-found")
