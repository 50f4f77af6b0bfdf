"""A3: one credential, shown again and again."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from mpp_asgi.protocol import b64url_decode, b64url_encode
from tests.attacks.scene import Wants
from tests.attacks.variant import Place, attack
from tests.attacks.wire import HANDSHAKE, SWITCHING
from tests.shop import MODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.scene import Scene

ROUTES = ("/paid", "/after", "/stream", "/after-stream", "/download", "/shelf/a.txt", "/sizes",
          "/inner/nested/goods", "/wing/goods", "/kiosk/goods")  # fmt: skip


def _put(mode: str) -> None:
    @attack("A3", f"at once and one after the other, {mode}", times=1000, short=40, exact=True)
    async def replay(scene: Scene) -> None:
        credential = await scene.in_mode(mode)
        await scene.together((scene.show(credential) for _ in range(scene.times)), most=64)
        for _ in range(scene.times // 10):
            await scene.refused(credential)

    @attack("A3", f"over two workers and another host, {mode}", place=Place.WORKERS, times=1000,
            short=40 if mode == "sponsored" else 0, exact=True)  # fmt: skip
    async def over_workers(scene: Scene) -> None:
        credential = await scene.in_mode(mode)
        await scene.together(
            (scene.show(credential, host=n % 2, is_fresh=True) for n in range(scene.times)),
            most=64,
        )
        await scene.together(
            scene.refused(credential, host=n % 2, is_fresh=True) for n in range(scene.times // 10)
        )


for _mode in MODES:
    _put(_mode)


def _route(path: str) -> None:
    @attack("A3", f"on {path}", times=200, short=10, exact=True)
    async def replay(scene: Scene) -> None:
        credential = await scene.sponsored(path)
        await scene.together(scene.show(credential, path) for _ in range(scene.times))
        await scene.refused(credential, path)


for _path in ROUTES:
    _route(_path)


@attack("A3", "of a WebSocket's handshake", times=200, short=10, exact=True)
async def handshakes(scene: Scene) -> None:
    """It opens one connection, and nothing else at its path."""
    fields, is_fresh = HANDSHAKE, True
    credential = await scene.sponsored("/socket", fields=fields)
    await scene.refused(credential, "/socket")
    shown = (
        scene.show(credential, "/socket", fields=fields, is_fresh=is_fresh)
        for _ in range(scene.times)
    )
    answers = await scene.together(shown)
    if not any(answer.status == SWITCHING for answer in answers):
        scene.tally.deny(f"/socket: {answers[0].status} {answers[0].text[:160]}")
    await scene.refused(credential, "/socket", fields=fields, is_fresh=is_fresh)


def _body(header: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(b64url_decode(header.partition(" ")[2]))
    return found


def _of(body: object, **how: object) -> str:
    return f"Payment {b64url_encode(json.dumps(body, **how).encode())}"  # type: ignore[arg-type]


def _payload(change: Callable[[dict[str, object]], object]) -> Callable[[str], str]:
    def respell(header: str) -> str:
        body = _body(header)
        payload = body["payload"]
        assert isinstance(payload, dict)
        change(payload)
        return _of(body)

    return respell


def _reversed(header: str) -> str:
    body = _body(header)
    return _of(dict(reversed(body.items())))


def _padded(header: str) -> str:
    scheme, _, text = header.partition(" ")
    return f"{scheme} {text}{'=' * (-len(text) % 4)}"


def _standard_base64(header: str) -> str:
    return f"Payment {base64.b64encode(b64url_decode(header.partition(' ')[2])).decode()}"


def _broken_lines(payload: dict[str, object]) -> None:
    if "transaction" in payload:
        text = str(payload["transaction"])
        payload["transaction"] = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))


RESPELLINGS: dict[str, Callable[[str], str]] = {
    "spaces in its JSON": lambda h: _of(_body(h), indent=4),
    "members in another order": _reversed,
    "a member more": lambda h: _of(_body(h) | {"more": 1}),
    "a member more in its payload": _payload(lambda p: p.update(more="more")),
    "its source left out": lambda h: _of({k: v for k, v in _body(h).items() if k != "source"}),
    "padding": _padded,
    "the other base64": _standard_base64,
    "another case of the scheme": lambda h: h.replace("Payment", "pAYMENT", 1),
    "more spaces": lambda h: h.replace(" ", "   ", 1) + "  ",
    "escapes in its JSON": lambda h: _of(_body(h)).replace("Payment", "Payment", 1),
    "a description it never had": lambda h: _of(
        _body(h) | {"challenge": {**_body(h)["challenge"], "description": "new"}}  # type: ignore[dict-item]
    ),
    "its hash in upper case": _payload(
        lambda p: p.update(hash=str(p["hash"]).upper()) if "hash" in p else None
    ),
    "its signature in upper case": _payload(
        lambda p: (
            p.update(sourceSignature=str(p["sourceSignature"]).upper())
            if "sourceSignature" in p
            else None
        )
    ),
    "line breaks in its transaction": _payload(_broken_lines),
    "no padding in its transaction": _payload(
        lambda p: (
            p.update(transaction=str(p["transaction"]).rstrip("=")) if "transaction" in p else None
        )
    ),
}  # fmt: skip


def _respelled(name: str, respell: Callable[[str], str]) -> None:
    @attack("A3", f"spelled otherwise: {name}", times=20, short=1, exact=True)
    async def replay(scene: Scene) -> None:
        for mode in MODES:
            credential = (await scene.in_mode(mode)).to_header()
            other = respell(credential)
            shown = [credential, other] * scene.times
            await scene.together(scene.show(each) for each in shown)
            await scene.refused(other)
            scene.random.random()
            if scene.is_short:
                break


for _name, _respell in RESPELLINGS.items():
    _respelled(_name, _respell)


@attack("A3", "in the other field", times=50, short=3, exact=True)
async def other_field(scene: Scene) -> None:
    credential = await scene.sponsored()
    fields = ("Authorization", "Payment-Authorization")
    await scene.together(scene.show(credential, carrier=fields[n % 2]) for n in range(scene.times))
    for field in fields:
        await scene.refused(credential, carrier=field)


@attack("A3", "while the first is still streamed", times=30, short=3, exact=True)
async def mid_stream(scene: Scene) -> None:
    scene.ground.hold()
    credential = (await scene.sponsored("/endless")).to_header()
    raw = scene.rendered("GET", "/endless", [("Authorization", credential)])
    first = await scene.ground.wires[0].begin(raw)
    await first.hears()
    others = [
        await scene.ground.wires[0].begin(raw) for _ in range(scene.times)
    ]  # they wait for their turn
    await scene.request("GET", "/")
    scene.ground.release()
    for hanging in (first, *others):
        scene.judge(await hanging.answer(), Wants.EITHER, "/endless")
    await scene.refused(credential, "/endless")
