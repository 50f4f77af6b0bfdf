"""A19: a store that is locked, full or slow, and clocks that jump."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.attacks.scene import Wants
from tests.attacks.sessions import HttpFunder
from tests.attacks.variant import Place, attack
from tests.session.drawer import CALL
from tests.shop import MODES

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.attacks.scene import Scene

TROUBLES = ("locked", "full")


def broken_store(scene: Scene, trouble: str) -> AbstractContextManager[None]:
    ground = scene.ground
    return ground.locked_store() if trouble == "locked" else ground.full_disk()


def _charges(trouble: str, *, short: int) -> None:
    @attack("A19", f"charges, and a store that is {trouble}", place=Place.TROUBLED, times=3,
            short=short, exact=True)  # fmt: skip
    async def charges(scene: Scene) -> None:
        """503 for as long as it is; nothing is granted, and nothing is lost."""
        scene.is_troubled = True
        credentials = [
            await scene.in_mode(mode, payer=await scene.payer(number))
            for number, mode in enumerate(MODES * scene.times)
        ]
        with broken_store(scene, trouble):
            asked = asyncio.create_task(scene.together(scene.show(each) for each in credentials))
            await asyncio.wait([asked], timeout=3)
        await scene.redeem_rest(credentials, await asked)

    @attack("A19", f"deliveries, and a store that is {trouble}", place=Place.TROUBLED, times=3,
            short=0)  # fmt: skip
    async def deliveries(scene: Scene) -> None:
        """It breaks while the response is on its way. What was served is known to the process that
        served it, and is not served again."""
        scene.is_troubled = True
        scene.ground.hold()
        lines, credentials = [], []
        for number in range(scene.times):
            credential = await scene.sponsored("/endless", payer=await scene.payer(number))
            raw = scene.rendered("GET", "/endless", [("Authorization", credential.to_header())])
            credentials.append(credential)
            lines.append(await scene.ground.wires[0].begin(raw))
        for line in lines:
            await line.hears()
        with broken_store(scene, trouble):
            scene.ground.release()
            answers = [await line.answer() for line in lines]
            for answer in answers:
                scene.judge(answer, Wants.EITHER, "/endless", may_be_silent=True)
            whole = [
                each for each, answer in zip(credentials, answers, strict=True) if answer.is_whole
            ]
            await scene.together(scene.refused(each, "/endless") for each in whole)
        await scene.together(scene.refused(each, "/endless") for each in whole)

    @attack("A19", f"vouchers, and a store that is {trouble}", place=Place.TROUBLED, times=20,
            short=0, exact=True)  # fmt: skip
    async def vouchers(scene: Scene) -> None:
        funder = HttpFunder(scene)
        challenge = await funder.begin()
        scene.is_troubled = True
        with broken_store(scene, trouble):
            asked = asyncio.create_task(  # noqa: RUF006 # it is awaited below
                scene.together(funder.call(challenge, 9 * CALL) for _ in range(scene.times))
            )
            await asyncio.wait([asked], timeout=3)
        await asked
        await scene.together(funder.call(challenge, 9 * CALL) for _ in range(20))
        await funder.finish(challenge, 9 * CALL)


for _trouble in TROUBLES:
    _charges(_trouble, short=int(_trouble == "full"))


def _jump(seconds: int, *, short: int) -> None:
    name = f"{abs(seconds)} s {'ahead' if seconds > 0 else 'back'}"

    @attack("A19", f"the clock is put {name} while they pay", place=Place.TROUBLED, times=6,
            short=short)  # fmt: skip
    async def jump(scene: Scene) -> None:
        """Nobody gets anything for nothing, and nobody pays twice for it."""
        scene.is_troubled = True
        async with scene.ground.another():
            credentials = [
                await scene.in_mode(mode, payer=await scene.payer(number))
                for number, mode in enumerate(("sponsored", "unsponsored") * scene.times)
            ]
            asked = asyncio.create_task(  # it is awaited below
                scene.together(scene.show(each) for each in credentials)
            )
            await scene.ground.set_clock(seconds)
            await asked
            await scene.ground.set_clock(0)
            await scene.together((scene.show(each) for each in credentials * 2), most=64)
        if (paid := await scene.paid()) > len(credentials) * CALL:
            scene.tally.overcharge(f"{paid} paid with {len(credentials)} credentials")


for _seconds in (20, 3_600, -20, -3_600):
    _jump(_seconds, short=int(_seconds == 20))
