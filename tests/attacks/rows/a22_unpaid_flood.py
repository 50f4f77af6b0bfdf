"""A22: unpaid requests without end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from mpp_asgi.protocol import Credential, b64url_encode
from tests.attacks.scene import Wants
from tests.attacks.variant import attack

if TYPE_CHECKING:
    from tests.attacks.scene import Scene

MOST_BYTES = 48 * 1024 * 1024
"""By how much a server may grow, whatever the flood: caches of fixed size, and the interpreter's
own arenas."""
MOST_DISK = 128 * 1024
"""What a store may have left to write of payments before the flood: heartbeats, deletions."""

Ask = Callable[["Scene", int], "tuple[str, str, list[tuple[str, str]], bytes | None]"]

FLOODS: dict[str, Ask] = {
    "the same": lambda s, n: ("GET", "/paid", [], None),
    "of new paths": lambda s, n: ("GET", f"/items/{n}-{s.random.random()}", [], None),
    "of long paths": lambda s, n: ("GET", f"/items/{n:x<3000}", [], None),
    "of new queries": lambda s, n: ("GET", f"/sizes?n={n}&{'q' * 500}", [], None),
    "of new hosts": lambda s, n: ("GET", "/paid", [("Host", f"h{n}.test")], None),
    "of new bodies": lambda s, n: ("POST", "/essays", [], f"{n}".encode() * 50),
    "of new plans": lambda s, n: ("GET", "/plans", [("X-Plan", f"p{n}")], None),
    "of new wishes": lambda s, n: ("GET", "/paid", [("Accept-Payment", f"a{n}/*")], None),
    "of new sessions": lambda s, n: (
        "GET", "/paid", [("Payment-Session", f"C{n:A<55}")], None,
    ),
    "of new keys": lambda s, n: ("POST", "/any", [("Idempotency-Key", f"k{n}")], b""),
    "of credentials of nobody's": lambda s, n: (
        "GET", "/paid", [("Authorization", f"Payment {b64url_encode(_made_up(n))}")], None,
    ),
    "of new methods": lambda s, n: (f"M{n}", "/any", [], None),
}  # fmt: skip


def _made_up(number: int) -> bytes:
    names = ("id", "realm", "method", "intent", "request")
    return json.dumps({"challenge": dict.fromkeys(names, f"x{number}"), "payload": {}}).encode()


def _flood(name: str, ask: Ask) -> None:
    @attack("A22", f"a flood {name}", times=4_000, short=100)
    async def flood(scene: Scene) -> None:
        """What is on disk does not change; what is in memory stays bounded."""
        await scene.request("GET", "/paid", wants=Wants.REFUSED)
        disk, memory = scene.ground.disk(), scene.ground.memory()
        await scene.together(
            (
                scene.request(method, path, fields, body, wants=Wants.REFUSED)
                for method, path, fields, body in (ask(scene, n) for n in range(scene.times))
            ),
            most=64,
        )
        if scene.ground.disk() > disk + MOST_DISK:
            scene.tally.leak(f"the store grew by {scene.ground.disk() - disk} bytes")
        if scene.ground.memory() - memory > MOST_BYTES:
            scene.tally.leak(f"the server grew by {scene.ground.memory() - memory} bytes")


for _name, _ask in FLOODS.items():
    _flood(_name, _ask)


@attack("A22", "a flood of authentic challenges, echoed with nothing to show", times=3_000,
        short=60)  # fmt: skip
async def echoed(scene: Scene) -> None:
    """The shop knows its own challenge again, and there is no payment: nothing is stored."""
    challenges = await scene.challenges()
    disk = scene.ground.disk()
    payloads: tuple[dict[str, str], ...] = (
        {},
        {"type": "transaction", "transaction": "AAAA"},
        {"action": "voucher", "channelId": "C" + "A" * 55, "cumulativeAmount": "1",
         "signature": "00" * 64},
    )  # fmt: skip
    await scene.together(
        scene.refused(Credential(scene.random.choice(challenges), scene.random.choice(payloads)))
        for _ in range(scene.times)
    )
    if scene.ground.disk() > disk + MOST_DISK:
        scene.tally.leak(f"the store grew by {scene.ground.disk() - disk} bytes")
