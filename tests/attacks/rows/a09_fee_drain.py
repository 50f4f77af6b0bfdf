"""A9: credentials that look valid, fail on the ledger, and cost the sponsor its fees."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from stellar_sdk import Keypair

from mpp_asgi.stellar.transfer import Transfer
from tests.attacks.crooked_node import Call, Forward, Gate
from tests.attacks.sessions import HttpFunder
from tests.attacks.variant import Place, attack
from tests.charge.forgery import THIEF
from tests.session.drawer import CALL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from mpp_asgi.protocol import Credential
    from tests.attacks.scene import Scene


async def drains_nothing(scene: Scene, make: Callable[[Scene, int], Awaitable[Credential]]) -> None:
    """Every stroop that the sponsor loses here is a leak."""
    credentials = [await make(scene, number) for number in range(scene.times)]
    before = await scene.by_hand(scene.market.sponsor_funds)
    await scene.together(scene.refused(each) for each in credentials)
    for each in credentials[:5]:
        await scene.refused(each)
    spent = before - await scene.by_hand(scene.market.sponsor_funds)
    if spent:
        scene.tally.leak(f"the sponsor paid {spent} stroops for nothing", scene.times)


async def penniless(scene: Scene, number: int) -> Credential:
    payer = await scene.payer(number, usdc="0")
    return await scene.sponsored(payer=payer)


async def a_unit_short(scene: Scene, number: int) -> Credential:
    payer = await scene.payer(number, usdc="0.0099999")
    return await scene.sponsored(payer=payer)


async def nobody(scene: Scene, number: int) -> Credential:
    """There is no such account."""
    payer = await scene.payer(1)
    ghost = Keypair.from_raw_ed25519_seed(scene.random.randbytes(32))
    challenge, *_ = await scene.challenges()
    made: Credential = await scene.by_hand(
        lambda: type(payer)(payer.shop, ghost).sponsored(challenge, nonce=number + 1)
    )
    return made


async def used_nonce(scene: Scene, number: int) -> Credential:
    """Its authorization is on the ledger already, by a transaction of the payer's own."""
    payer = await scene.payer(1)
    challenge, *_ = await scene.challenges()

    def make() -> Credential:
        if number == 0:
            transfer = payer.transfer(challenge)
            envelope, _ = payer.own_transaction(
                transfer,
                max_time=int(scene.market.time()) + 300,
                source=scene.market.payer(2).keypair,
            )
            payer.shop.ask("sendTransaction", transaction=envelope)
            payer.shop.time.now += 2
        return payer.sponsored(challenge, nonce=99)  # as `own_transaction` signs

    return await scene.by_hand(make)


async def over(scene: Scene, number: int) -> Credential:
    """Its time is over, or is over before it can be included."""
    payer = await scene.payer(1)
    challenge, *_ = await scene.challenges()
    ledger = scene.market.sandbox.sequence
    return await scene.by_hand(
        lambda: payer.sponsored(challenge, nonce=number + 1, expiration_ledger=ledger - number % 3)
    )


async def unsigned(scene: Scene, number: int) -> Credential:
    payer = await scene.payer(1)
    challenge, *_ = await scene.challenges()
    return await scene.by_hand(lambda: payer.sponsored(challenge, nonce=number + 1, signer=THIEF))


async def too_much(scene: Scene, number: int) -> Credential:
    """More than it has, for a dear thing."""
    payer = await scene.payer(number, usdc="0.5")
    challenge, *_ = await scene.challenges("/dear")
    made = await scene.by_hand(lambda: payer.sponsored(challenge, nonce=number + 1))
    return replace(made, challenge=challenge)


WAYS: dict[str, Callable[[Scene, int], Awaitable[Credential]]] = {
    "no money": penniless,
    "a unit short": a_unit_short,
    "no account": nobody,
    "a nonce that was used": used_nonce,
    "an authorization that is over": over,
    "signed by another": unsigned,
    "more than there is": too_much,
}


def _put(name: str, make: Callable[[Scene, int], Awaitable[Credential]]) -> None:
    @attack("A9", name, times=30, short=3)
    async def drain(scene: Scene) -> None:
        await drains_nothing(scene, make)


for _name, _make in WAYS.items():
    _put(_name, _make)


@attack("A9", "one balance for many, who wait for each other", place=Place.TROUBLED, times=20,
        short=4, exact=True)  # fmt: skip
async def one_balance(scene: Scene) -> None:
    """Each is good when it is shown. The first goes through; while it does, a ledger's time goes
    by, and the others are looked at again before anything is paid for them."""
    async with scene.ground.another():
        await _one_balance(scene)


async def _one_balance(scene: Scene) -> None:
    node = scene.ground.crooked
    assert node is not None
    payer, first = await scene.payer(1, usdc="0.01"), await scene.payer(2)
    before = await scene.by_hand(scene.market.sponsor_funds)
    await scene.redeem(await scene.sponsored(payer=first))
    one = before - await scene.by_hand(scene.market.sponsor_funds)
    credentials = [await scene.sponsored(payer=payer) for _ in range(scene.times)]
    held = Gate()

    async def behave(call: Call, _: Forward) -> Response | None:
        if call["method"] == "getTransaction":
            await held.passing()
        return None

    node.behave = behave
    scene.is_troubled = True  # who waits for too long is told to come back
    shown = asyncio.ensure_future(
        scene.together((scene.show(each) for each in credentials), most=scene.times)
    )
    await held.reached()
    for _ in range(20):  # by the last answer, all the others have come to where they wait
        await scene.request("GET", "/")
    await scene.ground.set_clock(10)
    held.open()
    await shown
    spent = before - await scene.by_hand(scene.market.sponsor_funds)
    if spent > 3 * one:  # the first payment to an account may cost a little more
        scene.tally.leak(f"the sponsor paid {spent} stroops, and {one} for one payment")


@attack("A9", "deposits that fail", times=10, short=0)
async def deposits(scene: Scene) -> None:
    """The same with channels."""
    before = await scene.by_hand(scene.market.sponsor_funds)
    for number in range(scene.times):
        funder = HttpFunder(scene, number)
        challenge = await funder.challenge()
        await scene.by_hand(lambda: _empty(funder))  # noqa: B023
        opening = await scene.by_hand(lambda: funder.open(challenge, CALL))  # noqa: B023
        await scene.refused(opening)
    if spent := before - await scene.by_hand(scene.market.sponsor_funds):
        scene.tally.leak(f"the sponsor paid {spent} stroops for nothing", scene.times)


def _empty(funder: HttpFunder) -> None:
    payer = funder.payer
    payer.push(Transfer(payer.shop.sandbox.usdc, payer.address, THIEF.public_key, payer.balance()))
