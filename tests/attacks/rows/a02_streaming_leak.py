"""A2: what is streamed while its payment is still open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.crooked_node import Call, Forward, Gate
from tests.attacks.goods import Goods
from tests.attacks.rows.a01_revert_grant import drained
from tests.attacks.variant import Place, attack

if TYPE_CHECKING:
    from starlette.responses import Response

    from tests.attacks.scene import Scene

ROUTES = ("/stream", "/after-stream", "/download", "/breaking", "/shelf/a.txt", "/after")


def _drained(path: str, mode: str, *, short: int | None) -> None:
    @attack("A2", f"money taken away while it is settled, {mode}, {path}", place=Place.TROUBLED,
            short=short)  # fmt: skip
    async def drain(scene: Scene) -> None:
        await drained(scene, path, mode)


def _held(path: str, method: str, *, short: int | None) -> None:
    @attack("A2", f"nothing leaves while {method} is not answered, {path}", place=Place.TROUBLED,
            exact=True, short=short)  # fmt: skip
    async def held(scene: Scene) -> None:
        """Listen while the settlement stands still: not a byte may come, nor a header."""
        assert scene.ground.crooked is not None
        credential = await scene.sponsored(path)
        gate = Gate()

        async def behave(call: Call, _: Forward) -> Response | None:
            if call["method"] == method:
                await gate.passing()
            return None

        scene.ground.crooked.behave = behave
        raw = scene.rendered("GET", path, [("Authorization", credential.to_header())])
        hanging = await scene.ground.wires[0].begin(raw)
        await gate.reached()
        await scene.request("GET", "/", is_fresh=True)  # a whole answer later
        if hanging.has_heard:
            scene.tally.leak(f"{path}: something was sent before {method} was answered")
        scene.ground.crooked.behave = None
        gate.open()
        answer = await hanging.answer()
        scene.tally.attempts += 1
        scene.granted += Goods.all_in(answer.body)
        if not Goods.all_in(answer.body):
            await scene.redeem(credential, path)


for _number, _path in enumerate(ROUTES):
    _drained(_path, "sponsored", short=None if _path == "/after-stream" else 0)
    _drained(_path, "unsponsored", short=0)
for _path in ("/stream", "/after-stream", "/download", "/shelf/a.txt"):
    for _method in ("sendTransaction", "getTransaction"):
        _held(_path, _method, short=None if _path == "/stream" else 0)
