"""A20: a node that is down, slow, lying, behind, or busy."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import anyio
from starlette.responses import Response

from tests.attacks.crooked_node import Behaviour, Call, Forward, answer
from tests.attacks.variant import Place, attack

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.scene import Scene

METHODS = ("simulateTransaction", "sendTransaction", "getTransaction", "getLedgerEntries")


def error(code: int, message: str = "no") -> Callable[[Call], Response]:
    def said(call: Call) -> Response:
        body = {"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": message}}
        return Response(json.dumps(body), media_type="application/json")

    return said


def raw(body: bytes, status: int = 200) -> Callable[[Call], Response]:
    return lambda _: Response(body, status, media_type="application/json")


def says(result: Any) -> Callable[[Call], Response]:
    return lambda call: answer(call, result)


ANSWERS: dict[str, Callable[[Call], Response]] = {
    "500": raw(b"oops", 500),
    "429": raw(b"slow down", 429),
    "502 with a page": raw(b"<html>Bad Gateway</html>", 502),
    "a redirect": lambda _: Response(status_code=302, headers={"Location": "http://evil.test/"}),
    "nothing": raw(b""),
    "no JSON": raw(b"<html>"),
    "JSON that is no answer": raw(b"[]"),
    "null": raw(b"null"),
    "an answer to another question": lambda _: answer({"id": 10**9}, {}),
    "an empty answer": says({}),
    "an answer of null": says(None),
    "an answer of the wrong type": says([1, 2, 3]),
    "an answer full of nulls": says(
        dict.fromkeys(("status", "hash", "latestLedger", "latestLedgerCloseTime", "entries"))
    ),
    "a status that there is none": says(
        {"status": "MAYBE", "hash": "ab" * 32, "latestLedger": 1, "latestLedgerCloseTime": "1"}
    ),
    "an internal error": error(-32603),
    "an error without sense": error(12345, "x" * 10_000),
    "an endless answer": raw(b'{"jsonrpc":"2.0","id":1,"result":"' + b"a" * 8_000_000 + b'"}'),
    "deep nesting": raw(b"[" * 100_000),
    "bad UTF-8": raw(b'{"result":"\xff"}'),
}


def always(method: str, said: Callable[[Call], Response]) -> Behaviour:
    async def behave(call: Call, _: Forward) -> Response | None:
        return said(call) if call["method"] == method else None

    return behave


def after_effect(method: str, said: Callable[[Call], Response]) -> Behaviour:
    """The network does it, and the node says something else."""

    async def behave(call: Call, forward: Forward) -> Response | None:
        if call["method"] != method:
            return None
        await forward()
        return said(call)

    return behave


async def through(scene: Scene, behave: Behaviour, *, ways: tuple[str, ...]) -> None:
    """Ask while it is so, and again when it is over: nobody is refused, and nobody pays twice."""
    node = scene.ground.crooked
    assert node is not None
    scene.is_troubled = True
    credentials = [
        await scene.in_mode(mode, payer=await scene.payer(number))
        for number, mode in enumerate(ways)
    ]
    node.behave = behave
    asked = asyncio.ensure_future(scene.together(scene.show(each) for each in credentials))
    await asyncio.wait([asked], timeout=1)
    node.reset()
    shown = await asked
    for each in shown:
        if each.status == 402:
            scene.tally.err(f"a 402 for a fault of the node's: {each.text[:200]}")
    await scene.redeem_rest(credentials, shown)


def _answered(name: str, method: str, *, when: str, short: int) -> None:
    make = always if when == "instead" else after_effect

    @attack("A20", f"{method} is answered with {name}, {when}", place=Place.TROUBLED, exact=True,
            short=short)  # fmt: skip
    async def trouble(scene: Scene) -> None:
        await through(scene, make(method, ANSWERS[name]), ways=("sponsored", "unsponsored"))


for _number, _name in enumerate(ANSWERS):
    for _place, _method in enumerate(METHODS):
        _answered(_name, _method, when="instead", short=int((_number, _place) == (0, 0)))
    _answered(_name, "sendTransaction", when="after it was done", short=int(_number == 5))


STATUSES = ("TRY_AGAIN_LATER", "DUPLICATE", "ERROR")


def _status(status: str) -> None:
    @attack("A20", f"the submission is answered with {status}, many times", place=Place.TROUBLED,
            exact=True, times=8, short=int(status == "TRY_AGAIN_LATER"))  # fmt: skip
    async def busy(scene: Scene) -> None:
        """Nothing is wrong with the payment."""
        scene.is_troubled = True
        credential = await scene.sponsored()
        code = {"code": "INSUFFICIENT_FEE"} if status == "ERROR" else {}
        scene.ground.node.control("refuse-submit", status=status, times=scene.times, **code)
        await scene.redeem(credential)
        await scene.refused(credential)


for _each in STATUSES:
    _status(_each)


@attack("A20", "a transaction gets in late", place=Place.TROUBLED, exact=True, times=3, short=1)
async def late(scene: Scene) -> None:
    scene.is_troubled = True
    for number in range(scene.times):
        credential = await scene.sponsored(payer=await scene.payer(number))
        scene.ground.node.control("delay-submit", ledgers=number + 1)
        await scene.redeem(credential)
        await scene.refused(credential)


@attack("A20", "a node that is behind", place=Place.TROUBLED, exact=True, times=5, short=2)
async def behind(scene: Scene) -> None:
    """It answers from an older ledger: what is paid is not seen, and sequence numbers are old."""
    scene.is_troubled = True
    credentials = [
        await scene.in_mode(mode, payer=await scene.payer(number))
        for number, mode in enumerate(("sponsored", "unsponsored") * scene.times)
    ]
    scene.ground.node.control("fall-behind", times=3 * scene.times)
    shown = await scene.together(scene.show(each) for each in credentials)
    scene.ground.node.control("catch-up")
    await scene.redeem_rest(credentials, shown)


@attack("A20", "a node that is behind the payer's", place=Place.TROUBLED, exact=True, times=3,
        short=1)  # fmt: skip
async def behind_the_payer(scene: Scene) -> None:
    """Somebody shows a hash that the shop's node has not seen yet."""
    scene.is_troubled = True
    for number in range(scene.times):
        payer = await scene.payer(number)
        challenge = (await scene.challenges())[1]
        scene.ground.node.control("fall-behind", times=2)
        hash_ = await scene.by_hand(lambda: _pushed(payer, challenge))  # noqa: B023
        await scene.redeem(payer.signed_hash(challenge, hash_))
        scene.ground.node.control("catch-up")


def _pushed(payer: Any, challenge: Any) -> str:
    payer.shop.sandbox.control("catch-up")
    hash_: str = payer.push(payer.transfer(challenge))
    payer.shop.sandbox.control("fall-behind", times=2)
    return hash_


@attack("A20", "the ledger stands still", place=Place.TROUBLED, exact=True, times=4, short=1)
async def frozen(scene: Scene) -> None:
    scene.is_troubled = True
    credentials = [
        await scene.sponsored(payer=await scene.payer(number)) for number in range(scene.times)
    ]
    scene.ground.node.control("freeze")
    asked = asyncio.ensure_future(scene.together(scene.show(each) for each in credentials))
    await asyncio.wait([asked], timeout=2)
    scene.ground.node.control("thaw")
    await scene.redeem_rest(credentials, await asked)


def _slow(method: str, *, short: int) -> None:
    @attack("A20", f"{method} takes its time", place=Place.TROUBLED, exact=True, times=4,
            short=short)  # fmt: skip
    async def slow(scene: Scene) -> None:
        scene.is_troubled = True
        node = scene.ground.crooked
        assert node is not None

        async def behave(call: Call, _: Forward) -> Response | None:
            if call["method"] == method:
                await anyio.sleep(1.5)
            return None

        credentials = [
            await scene.in_mode(mode, payer=await scene.payer(number))
            for number, mode in enumerate(("sponsored", "unsponsored") * (scene.times // 2 or 1))
        ]
        node.behave = behave
        await scene.together(scene.redeem(each) for each in credentials)


for _method in METHODS:
    _slow(_method, short=0)


@attack("A20", "any answer at any time", place=Place.TROUBLED, exact=True, times=12, short=0)
async def anything(scene: Scene) -> None:
    """Each call is answered rightly or not, before or after its effect, as the dice say."""
    node = scene.ground.crooked
    assert node is not None
    scene.is_troubled = True
    random, wrong = scene.random, list(ANSWERS.values())

    async def behave(call: Call, forward: Forward) -> Response | None:
        dice = random.random()
        if dice < 0.5:
            return None
        if dice < 0.75:
            await forward()
        return random.choice(wrong)(call)

    credentials = [
        await scene.in_mode(mode, payer=await scene.payer(number))
        for number, mode in enumerate(("sponsored", "unsponsored", "push") * scene.times)
    ]
    node.behave = behave
    asked = asyncio.ensure_future(scene.together(scene.show(each) for each in credentials))
    await asyncio.wait([asked], timeout=10)
    node.reset()
    await scene.redeem_rest(credentials, await asked)
