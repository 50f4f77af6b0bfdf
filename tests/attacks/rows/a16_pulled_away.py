"""A16: a channel that its funder pulls away while vouchers are unsettled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.attacks.scene import Wants
from tests.attacks.sessions import HttpFunder
from tests.attacks.variant import Place, attack
from tests.session.drawer import CALL, DEPOSIT

if TYPE_CHECKING:
    from tests.attacks.scene import Scene

WAITING_PERIOD = 17_280
SETTLE_SECONDS = 60


def owed(scene: Scene) -> int:
    return sum(each.price for each in scene.granted)


async def settled(scene: Scene, funder: HttpFunder, amount: int) -> None:
    """Wait until the guardian has taken so much."""
    sandbox = scene.market.sandbox
    for _ in range(SETTLE_SECONDS * 5):
        held = await scene.by_hand(lambda: sandbox.held_by_contract(funder.channel))
        if held <= DEPOSIT - amount:
            return
        await asyncio.sleep(0.2)
    scene.tally.leak(f"nobody settles {amount}", amount // CALL)


async def refunded(scene: Scene, funder: HttpFunder) -> None:
    """The waiting period passes, and the funder takes the rest."""
    await scene.by_hand(lambda: scene.ground.node.control("close", count=WAITING_PERIOD + 1))
    await scene.by_hand(funder.refund)
    answer = await funder.scene.show(
        funder.voucher(await funder.challenge(), DEPOSIT), wants=Wants.REFUSED
    )
    if answer.status != 410:
        scene.tally.err(f"a refunded channel is answered with {answer.status}")


@attack("A16", "closed and refunded while vouchers are unsettled", place=Place.TROUBLED, times=2,
        short=0, exact=True)  # fmt: skip
async def pulled(scene: Scene) -> None:
    for number in range(scene.times):
        funder = HttpFunder(scene, number)
        challenge = await funder.begin()
        for calls in range(2, 7):
            await funder.call(challenge, calls * CALL)
        await scene.by_hand(funder.close_start)
        await settled(scene, funder, 6 * CALL)
        await refunded(scene, funder)


@attack("A16", "closed while the server is down", place=Place.TROUBLED, exact=True, short=0)
async def while_down(scene: Scene) -> None:
    """It is back before the refund, and finds out by itself."""
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    for calls in range(2, 6):
        await funder.call(challenge, calls * CALL)
    await scene.ground.kill()
    await scene.by_hand(funder.close_start)
    await scene.by_hand(lambda: scene.ground.node.control("close", count=WAITING_PERIOD // 2))
    await scene.ground.restart()
    await scene.request("GET", "/paid", wants=Wants.REFUSED)
    await settled(scene, funder, 5 * CALL)
    await refunded(scene, funder)


@attack("A16", "closing, and more vouchers", place=Place.TROUBLED, times=10, short=0, exact=True)
async def more_vouchers(scene: Scene) -> None:
    """Whatever is taken after it began to close is settled in time, or is not taken."""
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    await scene.by_hand(funder.close_start)
    for calls in range(2, 2 + scene.times):
        await funder.call(challenge, min(calls * CALL, DEPOSIT))
    await settled(scene, funder, owed(scene))
    await refunded(scene, funder)


@attack("A16", "closing before it is shown", times=5, short=1)
async def before_shown(scene: Scene) -> None:
    for number in range(scene.times):
        funder = HttpFunder(scene, number)
        challenge = await funder.challenge()
        hash_ = await scene.by_hand(lambda: funder.open_alone(challenge))  # noqa: B023
        await scene.by_hand(funder.close_start)
        shown = funder.voucher(challenge, CALL, action="open", type="hash", hash=hash_)
        await scene.refused(shown)
        await scene.refused(funder.voucher(challenge, CALL))


@attack("A16", "closed through the server, after it began to close", times=5, short=1, exact=True)
async def closed_in_time(scene: Scene) -> None:
    for number in range(scene.times):
        funder = HttpFunder(scene, number)
        challenge = await funder.begin()
        for calls in range(2, 6):
            await funder.call(challenge, calls * CALL)
        await scene.by_hand(funder.close_start)
        await funder.finish(challenge, 5 * CALL)


@attack("A16", "many channels pulled away at once", place=Place.TROUBLED, times=12, short=0,
        exact=True)  # fmt: skip
async def many(scene: Scene) -> None:
    funders = [HttpFunder(scene, number) for number in range(scene.times)]
    for funder in funders:
        challenge = await funder.begin()
        for calls in (2, 3):
            await funder.call(challenge, calls * CALL)
    for funder in funders:
        await scene.by_hand(funder.close_start)
    for funder in funders:
        await settled(scene, funder, 3 * CALL)
    await scene.by_hand(lambda: scene.ground.node.control("close", count=WAITING_PERIOD + 1))
    for funder in funders:
        await scene.by_hand(funder.refund)
