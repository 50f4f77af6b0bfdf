"""A8: slow and stuck settlements, and slow clients, that are to starve honest payers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.attacks.crooked_node import Call, Forward, Gate
from tests.attacks.scene import Wants
from tests.attacks.variant import Place, attack

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.responses import Response

    from tests.attacks.scene import Scene

HONEST = 3


async def honest(scene: Scene, first: int = 1_000) -> None:
    """Payers who do as they should, and are served, if not at the first try."""
    modes = ("sponsored", "unsponsored", "push")
    for number in range(HONEST):
        payer = await scene.payer(first + number)
        await scene.redeem(await scene.in_mode(modes[number], payer=payer))


async def meanwhile(scene: Scene, flood: list[Awaitable[object]]) -> None:
    """Honest payers in the midst of something else."""
    running = asyncio.ensure_future(scene.together(flood, most=64))
    await honest(scene)
    await running


@attack("A8", "settlements that are stuck", place=Place.TROUBLED, times=12, short=2, exact=True)
async def stuck(scene: Scene) -> None:
    """The attackers' transactions are taken and get in late; payers of their own fee are served
    meanwhile, and the sponsor's others afterwards."""
    scene.is_troubled = True
    node = scene.ground.crooked
    assert node is not None
    gate = Gate()

    async def behave(call: Call, forward: Forward) -> Response | None:
        if call["method"] != "sendTransaction":
            return None
        node.behave = None
        said = await forward()
        await gate.passing()
        return said

    attackers = [
        await scene.sponsored(payer=await scene.payer(number)) for number in range(scene.times)
    ]
    node.behave = behave
    asked = asyncio.create_task(
        scene.together((scene.show(each) for each in attackers), most=scene.times)
    )
    await gate.reached()
    payer = await scene.payer(2_000)
    for mode in ("unsponsored", "push"):
        await scene.redeem(await scene.in_mode(mode, payer=payer))
    gate.open()
    await honest(scene)
    await scene.redeem_rest(attackers, await asked)


@attack("A8", "everybody waits for one payment", place=Place.TROUBLED, times=200, short=20,
        exact=True)  # fmt: skip
async def one_for_all(scene: Scene) -> None:
    """Hundreds ask with the same credential, whose settlement stands still."""
    scene.is_troubled = True
    node = scene.ground.crooked
    assert node is not None
    gate = Gate()

    async def behave(call: Call, _: Forward) -> Response | None:
        if call["method"] == "sendTransaction":
            node.behave = None
            await gate.passing()
        return None

    credential = await scene.in_mode("unsponsored")
    node.behave = behave
    asked = asyncio.create_task(  # noqa: RUF006 # it is awaited below
        scene.together((scene.show(credential) for _ in range(scene.times)), most=64)
    )
    await gate.reached()
    await honest(scene)
    gate.open()
    await asked
    await scene.refused(credential)


@attack("A8", "a flood of credentials that are none", times=5_000, short=100, exact=True)
async def bad_credentials(scene: Scene) -> None:
    challenge, *_ = await scene.challenges()
    payer = await scene.payer()
    bad = payer.credential(challenge, type="transaction", transaction="AAAA")
    await meanwhile(scene, [scene.refused(bad) for _ in range(scene.times)])


@attack("A8", "a flood of unpaid requests", times=5_000, short=100, exact=True)
async def unpaid(scene: Scene) -> None:
    asks = [scene.request("GET", "/paid", wants=Wants.REFUSED) for _ in range(scene.times)]
    await meanwhile(scene, asks)


@attack("A8", "a flood of hashes that nobody knows", place=Place.TROUBLED, times=60, short=0,
        exact=True)  # fmt: skip
async def unknown_hashes(scene: Scene) -> None:
    """Signed, as they should be, so that the ledger has to be asked."""
    scene.is_troubled = True
    attacker = await scene.payer()
    challenges = [(await scene.challenges())[1] for _ in range(scene.times)]
    shown = [
        attacker.signed_hash(challenge, scene.random.randbytes(32).hex())
        for challenge in challenges
    ]
    await meanwhile(scene, [scene.refused(each) for each in shown])


@attack("A8", "a flood of payments that cannot be made", times=60, short=6, exact=True)
async def penniless(scene: Scene) -> None:
    attacker = await scene.payer(usdc="0")
    shown = [await scene.sponsored(payer=attacker) for _ in range(scene.times)]
    await meanwhile(scene, [scene.refused(each) for each in shown])


@attack("A8", "requests that never end", times=150, short=20, exact=True)
async def unfinished(scene: Scene) -> None:
    """Heads that stop in the midst, and bodies that were promised."""
    wire = scene.ground.wires[0]
    credential = await scene.sponsored()
    head = scene.rendered("GET", "/paid", [("Authorization", credential.to_header())])
    body = scene.rendered("POST", "/essays", [("Content-Length", "1000")]) + b"some"
    chunk = scene.rendered("POST", "/any", [("Transfer-Encoding", "chunked")]) + b"5\r\nab"
    lines = [
        await wire.begin(scene.random.choice((head[:-2], head[: len(head) // 2], body, chunk)))
        for _ in range(scene.times)
    ]
    await honest(scene)
    for line in lines:
        line.hang_up()
        await line.answer()
        scene.tally.attempts += 1
    await scene.redeem(credential)


@attack("A8", "readers who do not read", times=10, short=2)
async def idle_readers(scene: Scene) -> None:
    """They paid, and leave their streams where they are."""
    scene.ground.hold()
    lines = []
    for number in range(scene.times):
        credential = await scene.sponsored("/endless", payer=await scene.payer(number))
        raw = scene.rendered("GET", "/endless", [("Authorization", credential.to_header())])
        lines.append(await scene.ground.wires[0].begin(raw))
    for line in lines:
        await line.hears()
    await honest(scene)
    scene.ground.release()
    for line in lines:
        scene.judge(await line.answer(), Wants.EITHER, "/endless")


@attack("A8", "handlers that hang", times=40, short=4)
async def hanging(scene: Scene) -> None:
    scene.ground.hold()
    credential = await scene.sponsored("/hanging")
    raw = scene.rendered("GET", "/hanging", [("Authorization", credential.to_header())])
    lines = [await scene.ground.wires[0].begin(raw) for _ in range(scene.times)]
    await scene.until(lambda: scene.ground.is_hanging)
    await honest(scene)
    scene.ground.release()
    for line in lines:
        scene.judge(await line.answer(), Wants.EITHER, "/hanging")
