"""A1: a credential that verifies, and a transaction that then fails or never lands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stellar.transfer import Transfer
from tests.attacks.catalogue import put_on_list
from tests.attacks.crooked_node import Call, Forward, answer
from tests.attacks.variant import Place, attack
from tests.charge.attack import UNSPONSORED, common
from tests.charge.forgery import THIEF
from tests.charge.unsponsored_attacks import ONLY_UNSPONSORED

if TYPE_CHECKING:
    from starlette.responses import Response

    from tests.attacks.scene import Scene
    from tests.shop import Payer

put_on_list("A1", [*common(UNSPONSORED), *ONLY_UNSPONSORED])

ROUTES = ("/paid", "/after", "/items/x", "/plain", "/twin")
CODES = ("BAD_SEQ", "INSUFFICIENT_FEE", "BAD_AUTH", "INTERNAL_ERROR", "TOO_LATE", "NO_ACCOUNT")


def empty(payer: Payer) -> None:
    """Have all its money somewhere else, and see that through."""
    token = payer.shop.sandbox.usdc
    payer.push(Transfer(token, payer.address, THIEF.public_key, payer.balance()))


async def drained(scene: Scene, path: str, mode: str) -> None:
    """The money is taken away between the simulation and the submission."""
    payer = await scene.payer()
    credential = await scene.in_mode(mode, path, payer=payer)
    assert scene.ground.crooked is not None
    is_drained = False

    async def behave(call: Call, _: Forward) -> Response | None:
        nonlocal is_drained
        if call["method"] == "sendTransaction" and not is_drained:
            is_drained = True
            await scene.by_hand(lambda: empty(payer))
        return None

    scene.ground.crooked.behave = behave
    await scene.refused(credential, path)
    scene.ground.crooked.reset()
    await scene.refused(credential, path)
    scene.purses.clear()  # it went to the thief
    if not is_drained:
        scene.tally.err("nothing was submitted: the attack proves nothing")


def _put(path: str, mode: str, row: str, *, short: int | None) -> None:
    @attack(row, f"money taken away before it is sent, {mode}, {path}", place=Place.TROUBLED,
            short=short)  # fmt: skip
    async def drain(scene: Scene) -> None:
        await drained(scene, path, mode)


for _number, _path in enumerate(ROUTES):
    _put(_path, "sponsored", "A1", short=None if _number < 2 else 0)
    _put(_path, "unsponsored", "A1", short=0)


def _refused_code(code: str) -> None:
    @attack("A1", f"the network refuses with {code}", place=Place.TROUBLED, exact=True,
            short=None if code == "INSUFFICIENT_FEE" else 0)  # fmt: skip
    async def refused(scene: Scene) -> None:
        """Whatever the shop makes of it: what it served was paid."""
        scene.is_troubled = True
        for number, mode in enumerate(("sponsored", "unsponsored")):
            credential = await scene.in_mode(mode, payer=await scene.payer(number))
            scene.ground.node.control("refuse-submit", status="ERROR", code=code)
            await scene.show(credential)


for _code in CODES:
    _refused_code(_code)


@attack("A1", "one balance, many sponsored credentials at once", times=30, short=6, exact=True)
async def one_balance(scene: Scene) -> None:
    """Each of them is good as long as the others are not settled."""
    scene.is_troubled = True  # a queue for the sponsor is told to come back
    payer = await scene.payer(usdc="0.01")
    credentials = [await scene.sponsored(payer=payer) for _ in range(scene.times)]
    await scene.together(scene.show(each) for each in credentials)
    for each in credentials:
        await scene.show(each)


@attack("A1", "one sequence number, many transactions at once", times=30, short=6, exact=True)
async def one_sequence(scene: Scene) -> None:
    payer = await scene.payer()
    credentials = [await scene.in_mode("unsponsored", payer=payer) for _ in range(scene.times)]
    await scene.together(scene.show(each) for each in credentials)
    for each in credentials:
        await scene.show(each)


@attack("A1", "one balance, both ways at once", times=20, short=0, exact=True)
async def both_ways(scene: Scene) -> None:
    scene.is_troubled = True
    payer = await scene.payer(usdc="0.02")
    credentials = [
        await scene.in_mode(mode, payer=payer)
        for _ in range(scene.times // 2)
        for mode in ("sponsored", "unsponsored")
    ]
    await scene.together(scene.show(each) for each in credentials)


@attack("A1", "a transaction that the network never takes in", place=Place.TROUBLED, exact=True,
        short=0)  # fmt: skip
async def never_lands(scene: Scene) -> None:
    """It is pending, and is forgotten. What it was to pay for is paid by another, or by none."""
    scene.is_troubled = True
    for number, mode in enumerate(("sponsored", "unsponsored")):
        credential = await scene.in_mode(mode, payer=await scene.payer(number))
        scene.ground.node.control("delay-submit", ledgers=4)
        for _ in range(3):
            await scene.show(credential)


@attack("A1", "a simulation that is kinder than the ledger", place=Place.TROUBLED)
async def kind_simulation(scene: Scene) -> None:
    """The node says that a payment goes through which the payer cannot make."""
    assert scene.ground.crooked is not None
    rich, poor = await scene.payer(1), await scene.payer(2, usdc="0")
    said: list[Response] = []

    async def record(call: Call, forward: Forward) -> Response | None:
        if call["method"] != "simulateTransaction":
            return None
        said.append(await forward())
        return said[-1]

    scene.ground.crooked.behave = record
    await scene.show(await scene.sponsored(payer=rich))

    async def replay(call: Call, _: Forward) -> Response | None:
        if call["method"] != "simulateTransaction":
            return None
        import json

        return answer(call, json.loads(bytes(said[0].body))["result"])

    scene.ground.crooked.behave = replay
    await scene.refused(await scene.sponsored(payer=poor))
