"""A18: the server is killed, at every step of a payment, and another one takes its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.attacks.crooked_node import Behaviour, Call, Forward, Gate
from tests.attacks.goods import Goods
from tests.attacks.scene import Wants
from tests.attacks.sessions import HttpFunder
from tests.attacks.variant import Place, attack
from tests.session.drawer import CALL

if TYPE_CHECKING:
    from starlette.responses import Response

    from mpp_asgi.protocol import Credential
    from tests.attacks.scene import Scene

STEPS = ("simulateTransaction", "sendTransaction", "getTransaction")


def held_at(gate: Gate, method: str, *, is_done: bool) -> Behaviour:
    """The first call of a method stands still, before the network has heard it or afterwards."""
    calls = 0

    async def behave(call: Call, forward: Forward) -> Response | None:
        nonlocal calls
        if call["method"] != method:
            return None
        calls += 1
        if calls > 1:
            return None
        said = await forward() if is_done else None
        await gate.passing()
        return said

    return behave


async def killed_at(
    scene: Scene, credentials: list[Credential], path: str, method: str, *, is_done: bool
) -> None:
    """Kill the server while it stands at a step, start another, and ask for what was paid."""
    node = scene.ground.crooked
    assert node is not None
    scene.is_troubled = True
    gate = Gate()
    node.behave = held_at(gate, method, is_done=is_done)
    lines = []
    for each in credentials:
        raw = scene.rendered("GET", path, [("Authorization", each.to_header())])
        lines.append(await scene.ground.wires[0].begin(raw))
    await gate.reached()
    await scene.ground.kill()
    node.reset()
    gate.open()
    for line in lines:
        await line.answer()
        scene.tally.attempts += 1
    await scene.ground.restart()
    await scene.together(scene.redeem(each, path) for each in credentials)
    await scene.together(scene.refused(each, path) for each in credentials)


def _put(method: str, path: str, *, is_done: bool) -> None:
    when = "after" if is_done else "before"

    @attack("A18", f"killed {when} {method}, {path}", place=Place.TROUBLED, exact=True, short=0)
    async def kill(scene: Scene) -> None:
        credentials = [
            await scene.in_mode(mode, path, payer=await scene.payer(number))
            for number, mode in enumerate(("sponsored", "unsponsored", "sponsored"))
        ]
        await killed_at(scene, credentials, path, method, is_done=is_done)


for _method in STEPS:
    for _is_done in (False, True):
        _put(_method, "/paid", is_done=_is_done)
_put("sendTransaction", "/after", is_done=True)
_put("sendTransaction", "/stream", is_done=True)


@attack("A18", "killed while a paid stream is read", place=Place.TROUBLED, times=4, short=1)
async def mid_stream(scene: Scene) -> None:
    scene.is_troubled = True
    scene.ground.hold()
    credentials = [
        await scene.sponsored("/endless", payer=await scene.payer(number))
        for number in range(scene.times)
    ]
    lines = []
    for each in credentials:
        raw = scene.rendered("GET", "/endless", [("Authorization", each.to_header())])
        lines.append(await scene.ground.wires[0].begin(raw))
    for line in lines:
        await line.hears()
    await scene.ground.kill()
    for line in lines:
        await line.answer()
        scene.tally.attempts += 1
    scene.ground.release()
    await scene.ground.restart()
    await scene.together(scene.redeem(each, "/endless") for each in credentials)
    if (paid := await scene.paid()) != scene.times * CALL:
        scene.tally.overcharge(f"{paid} paid for {scene.times} streams")


@attack("A18", "killed while vouchers are taken", place=Place.TROUBLED, times=200, short=0)
async def vouchers(scene: Scene) -> None:
    """What a receipt says was spent is spent, whatever became of the server: no voucher is lost,
    and none buys twice."""
    scene.is_troubled = True
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    lines = []
    for number in range(scene.times):
        amount = min(2 + number // 20, 10) * CALL
        header = funder.voucher(challenge, amount).to_header()
        raw = scene.rendered("GET", "/paid", [("Authorization", header)])
        lines.append(await scene.ground.wires[0].begin(raw))
    await scene.until(lambda: any(line.has_heard for line in lines))
    await scene.ground.kill()
    for line in lines:
        scene.judge(await line.answer(), Wants.EITHER, "/paid", may_be_silent=True)
    await scene.ground.restart()
    await scene.together(funder.call(challenge, 10 * CALL) for _ in range(20))
    # What was spent on answers that were lost with the server is the seller's.
    await funder.finish(challenge, 10 * CALL)


@attack("A18", "killed over and over while everybody pays", place=Place.TROUBLED, times=4, short=0,
        exact=True)  # fmt: skip
async def over_and_over(scene: Scene) -> None:
    """At moments that nobody chose."""
    scene.is_troubled = True
    credentials = [
        await scene.in_mode(mode, payer=await scene.payer(number))
        for number, mode in enumerate(("sponsored", "unsponsored", "push") * 6)
    ]
    for round_ in range(scene.times):
        lines = []
        for each in credentials:
            raw = scene.rendered("GET", "/paid", [("Authorization", each.to_header())])
            lines.append(await scene.ground.wires[0].begin(raw))
        heard = 1 + scene.random.randrange(3) + round_
        await scene.until(lambda: sum(line.has_heard for line in lines) >= heard)  # noqa: B023
        await scene.ground.kill()
        answers = [await line.answer() for line in lines]
        served = [bool(Goods.all_in(answer.body)) and answer.is_whole for answer in answers]
        for answer in answers:
            scene.judge(answer, Wants.EITHER, "/paid", may_be_silent=True)
        await scene.ground.restart()
        credentials = [
            each for each, is_served in zip(credentials, served, strict=True) if not is_served
        ]
        if len(credentials) < 4:
            break
    await scene.together(_until_over(scene, each) for each in credentials)


async def _until_over(scene: Scene, credential: Credential) -> None:
    """Served, or known to have been: what was handed over when the server died may have arrived
    nowhere, and then the next one serves it."""
    for _ in range(60):
        answer = await scene.show(credential)
        if answer.status in (200, 402):
            return
        await asyncio.sleep(0.5)
    scene.tally.deny(f"stuck: {answer.status} {answer.text[:200]}")
