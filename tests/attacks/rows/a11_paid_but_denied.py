"""A11: who paid is served, whatever happened in between; and pays once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.attacks.scene import TRIES, Wants
from tests.attacks.sessions import HttpFunder
from tests.attacks.variant import Place, attack
from tests.attacks.wire import HANDSHAKE, SWITCHING
from tests.session.drawer import CALL
from tests.shop import MODES

if TYPE_CHECKING:
    from tests.attacks.scene import Scene

FAILING = ("/failing", "/busy", "/after-failing")


def _failing(path: str, mode: str, *, short: int) -> None:
    @attack("A11", f"the handler fails the first time, {path}, {mode}", times=1, short=short,
            exact=True)  # fmt: skip
    async def fails(scene: Scene) -> None:
        """It answers 5xx, and the same credential is asked with again, for nothing."""
        scene.is_troubled = True
        credential = await scene.in_mode(mode, path)
        await scene.redeem(credential, path)
        scene.is_troubled = False
        await scene.refused(credential, path)


for _path in FAILING:
    for _mode in MODES:
        _failing(_path, _mode, short=int(_mode == "sponsored"))


def _hung_up(path: str, *, begun: bool, short: int) -> None:
    when = "in the midst of the response" if begun else "before the response"

    @attack("A11", f"the client hangs up {when}, {path}", times=5, short=short)
    async def hangs_up(scene: Scene) -> None:
        """Over and over, and then it waits: it is served, and has paid once."""
        for number in range(scene.times):
            scene.ground.hold()
            credential = await scene.sponsored(path, payer=await scene.payer(number))
            raw = scene.rendered("GET", path, [("Authorization", credential.to_header())])
            for _ in range(3):
                hanging = await scene.ground.wires[0].begin(raw)
                if begun:
                    await hanging.hears()
                else:
                    await scene.request("GET", "/")
                hanging.hang_up()
                await hanging.answer()
                await scene.request("GET", "/")  # by now the server has seen that it is gone
                scene.tally.attempts += 1
            scene.ground.release()
            await scene.redeem(credential, path)
            await scene.refused(credential, path)
        paid = await scene.paid()
        if paid != scene.times * CALL:
            scene.tally.overcharge(f"{paid} paid for {scene.times} things")


_hung_up("/endless", begun=True, short=1)
for _path in ("/paid", "/hanging", "/stream", "/after", "/after-stream"):
    _hung_up(_path, begun=False, short=int(_path == "/hanging"))


@attack("A11", "the client hangs up before the handshake is answered", times=5, short=1, exact=True)
async def handshake_hung_up(scene: Scene) -> None:
    """Over and over, and then it waits: its connection opens, and it has paid once."""
    for number in range(scene.times):
        payer = await scene.payer(number)
        credential = await scene.sponsored("/socket", payer=payer, fields=HANDSHAKE)
        fields = [*HANDSHAKE, ("Authorization", credential.to_header())]
        for _ in range(3):
            hanging = await scene.ground.wires[0].begin(scene.rendered("GET", "/socket", fields))
            await scene.request("GET", "/")
            hanging.hang_up()
            await hanging.answer()
            scene.tally.attempts += 1
        for _ in range(TRIES):
            answer = await scene.request("GET", "/socket", fields, is_fresh=True)
            if answer.status in (SWITCHING, 402):
                break
            await asyncio.sleep(0.5)
        if answer.status != SWITCHING:
            scene.tally.deny(f"/socket: {answer.status} {answer.text[:160]}")


@attack("A11", "a stream that breaks in the midst", exact=True)
async def broken(scene: Scene) -> None:
    """What was not whole is owed still."""
    credential = await scene.sponsored("/breaking")
    scene.is_troubled = True
    first = await scene.show(credential, "/breaking")
    scene.granted.clear()  # a part of it is not it
    scene.is_troubled = False
    if first.is_whole:
        scene.tally.err("the stream did not break: the attack proves nothing")
    await scene.redeem(credential, "/breaking")
    await scene.refused(credential, "/breaking")


@attack("A11", "the node's answer to the submission is lost", place=Place.TROUBLED, exact=True,
        times=3, short=0)  # fmt: skip
async def lost_answer(scene: Scene) -> None:
    """The money moves, and the shop does not hear of it."""
    scene.is_troubled = True
    for number in range(scene.times):
        for mode in ("sponsored", "unsponsored"):
            payer = await scene.payer(2 * number + (mode == "sponsored"))
            credential = await scene.in_mode(mode, payer=payer)
            scene.ground.node.control("lose-answer")
            await scene.redeem(credential)
            await scene.refused(credential)


@attack("A11", "killed between settlement and delivery", place=Place.TROUBLED, times=3, short=0,
        exact=True)  # fmt: skip
async def killed(scene: Scene) -> None:
    """SIGKILL while the handler works; the next process owes the answer."""
    scene.is_troubled = True
    scene.ground.hold()
    credentials = [
        await scene.sponsored("/hanging", payer=await scene.payer(number))
        for number in range(scene.times)
    ]
    raws = [
        scene.rendered("GET", "/hanging", [("Authorization", each.to_header())])
        for each in credentials
    ]
    hanging = await scene.ground.wires[0].begin(raws[0])
    await scene.until(lambda: scene.ground.is_hanging)
    others = [await scene.ground.wires[0].begin(raw) for raw in raws[1:]]
    await scene.ground.kill()
    for each in (hanging, *others):
        await each.answer()
        scene.tally.attempts += 1
    scene.ground.release()
    await scene.ground.restart()
    await scene.together(scene.redeem(each, "/hanging") for each in credentials)
    for each in credentials:
        await scene.refused(each, "/hanging")


@attack("A11", "a session's handler fails", times=10, short=1, exact=True)
async def session_fails(scene: Scene) -> None:
    """What it cost is given back, so that the same voucher buys it the next time."""
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    scene.is_troubled = True
    for path in ("/failing", "/busy"):
        for _ in range(2):
            answer = await funder.call(challenge, len(scene.granted) * CALL + CALL, path=path)
        if answer.status != 200:
            scene.tally.deny(f"{path}: {answer.text[:200]}")
    scene.is_troubled = False
    await funder.finish(challenge, len(scene.granted) * CALL)


@attack("A11", "refused by the application itself", times=10, short=2, exact=True)
async def own_refusal(scene: Scene) -> None:
    """401, 404, 405, 422: nobody pays for them."""
    for path, method in (
        ("/items/nothing/owner", "GET"),
        ("/members", "GET"),
        ("/nowhere", "GET"),
        ("/paid", "DELETE"),
    ):
        for _ in range(scene.times):
            credential = await scene.sponsored(payer=await scene.payer())
            await scene.show(credential, path, method=method, wants=Wants.REFUSED)
            await scene.show(
                credential,
                path,
                method=method,
                wants=Wants.REFUSED,
                carrier="Payment-Authorization",
            )
