"""A14: input that is none."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from mpp_asgi.protocol import b64url_decode
from tests.attacks.catalogue import put_on_list
from tests.attacks.scene import Wants
from tests.attacks.variant import attack
from tests.charge.attack import PAYLOADS
from tests.charge.forgery import transaction_in
from tests.charge.test_bad_input import BODIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.scene import Scene

put_on_list("A14", PAYLOADS)

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e308, -0.0, 10**400, "", " ", "\0", "\r\nX-Paid: yes", "=", "AAAA",
    "null", "-1", "0x10", "1e400", "9" * 400, "A" * 20_000, "\ud800", "\u202e", "é𝕏", "../../etc",
    "Payment id=", '{"a":1}', [], {}, [[]], [{}], {"a": {"a": {}}}, ["transaction"], "transaction",
    "__proto__", "%s%n", "${jndi:ldap://evil}", "'; DROP TABLE charges; --", "stellar", "charge",
)  # fmt: skip
PLACES = (
    ("challenge",), ("payload",), ("source",), ("challenge", "id"), ("challenge", "realm"),
    ("challenge", "method"), ("challenge", "intent"), ("challenge", "request"),
    ("challenge", "expires"), ("challenge", "opaque"), ("challenge", "digest"),
    ("challenge", "description"), ("challenge", "header"), ("payload", "type"),
    ("payload", "transaction"), ("payload", "hash"), ("payload", "sourceSignature"),
    ("payload", "action"), ("payload", "channelId"), ("payload", "cumulativeAmount"),
    ("payload", "signature"), ("unheard-of",),
)  # fmt: skip


def shown(body: Any) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"Payment " + base64.urlsafe_b64encode(raw).rstrip(b"=")


def body_of(header: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(b64url_decode(header.partition(" ")[2]))
    return found


def with_value(body: dict[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    if len(place) == 1:
        return {**body, place[0]: value}
    return {**body, place[0]: {**body[place[0]], place[1]: value}}


@attack("A14", "anything in any place of a credential", times=4, short=1, exact=True)
async def anything(scene: Scene) -> None:
    """Some of it makes no difference (no source, a description), so it may be served: and paid."""
    credential = await scene.sponsored()
    body = body_of(credential.to_header())
    pairs = [(place, value) for place in PLACES for value in HOSTILE]
    if scene.is_short:
        pairs = scene.random.sample(pairs, 120)
    await scene.together(
        scene.show(shown(with_value(body, place, value)))
        for place, value in pairs
        for _ in range(scene.times)
    )


def _bodies(name: str, *, short: int) -> None:
    @attack("A14", f"a credential that is {name}", times=50, short=short)
    async def show(scene: Scene) -> None:
        for path in ("/paid", "/after", "/shelf/a.txt"):
            for _ in range(scene.times):
                raw = BODIES[name]
                header = shown(raw[:40_000])  # the server's own limit is below the rest
                await scene.refused(header, path)


for _number, _name in enumerate(BODIES):
    _bodies(_name, short=int(_number % 2 == 0))


@attack("A14", "any bits of a credential", times=15_000, short=300, exact=True)
async def any_bits(scene: Scene) -> None:
    """In its header, as it stands."""
    credential = await scene.sponsored()
    header = credential.to_header().encode()

    def bent() -> bytes:
        raw = bytearray(header)
        for _ in range(scene.random.randint(1, 3)):
            place = scene.random.randrange(8, len(raw))
            raw[place] ^= 1 << scene.random.randrange(7)
        return bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F)

    await scene.together(scene.show(bent()) for _ in range(scene.times))


@attack("A14", "any bits of a transaction", times=6_000, short=150, exact=True)
async def any_transaction(scene: Scene) -> None:
    credential = await scene.sponsored()
    body = body_of(credential.to_header())
    whole = base64.b64decode(transaction_in(credential))

    def bent() -> bytes:
        raw = bytearray(whole)
        match scene.random.randrange(4):
            case 0:
                raw[scene.random.randrange(len(raw))] ^= 1 << scene.random.randrange(8)
            case 1:
                raw = raw[: scene.random.randrange(len(raw))]
            case 2:
                place = scene.random.randrange(len(raw))
                raw[place : place + 4] = b"\xff\xff\xff\xff"
            case _:
                place = scene.random.randrange(len(raw))
                raw[place:place] = scene.random.randbytes(4 * scene.random.randint(1, 20))
        text = base64.b64encode(raw).decode()
        return shown(with_value(body, ("payload", "transaction"), text))

    await scene.together(scene.show(bent()) for _ in range(scene.times))


@attack("A14", "noise", times=12_000, short=200)
async def noise(scene: Scene) -> None:
    """Bytes after the scheme, and as the base64 of a credential."""

    def made() -> bytes:
        raw = scene.random.randbytes(scene.random.randrange(200))
        if scene.random.random() < 0.5:
            return shown(raw)
        return b"Payment " + bytes(byte for byte in raw if 0x20 <= byte != 0x7F)

    await scene.together(scene.refused(made()) for _ in range(scene.times))


@attack("A14", "credentials cut short anywhere", times=2, short=1, exact=True)
async def cut(scene: Scene) -> None:
    credential = await scene.sponsored()
    header = credential.to_header()
    step = 37 if scene.is_short else 1
    await scene.together(
        scene.refused(header[:length]) for length in range(0, len(header) - 1, step)
    )
    await scene.redeem(credential)


def _deep(opening: str, closing: str) -> Callable[[int], bytes]:
    return lambda depth: (opening * depth + "1" + closing * depth).encode()


DEPTHS: dict[str, Callable[[int], bytes]] = {
    "lists": lambda n: b'{"challenge":' + _deep("[", "]")(n) + b',"payload":{}}',
    "objects": lambda n: b'{"payload":' + _deep('{"a":', "}")(n) + b',"challenge":{}}',
    "lists that never end": lambda n: b"[" * n,
    "objects that never end": lambda n: b'{"a":' * n,
}


def _depth(name: str, make: Callable[[int], bytes]) -> None:
    @attack("A14", f"deep {name}", times=20, short=1)
    async def deep(scene: Scene) -> None:
        for depth in (100, 999, 1_000, 5_000):
            for _ in range(scene.times):
                await scene.refused(shown(make(depth)[:40_000]))


for _name, _make in DEPTHS.items():
    _depth(_name, _make)


BAD_FIELDS: tuple[tuple[str, bytes], ...] = (
    ("Accept-Payment", b"\xff\xfe"),
    ("Accept-Payment", b"*/*;q=-1"),
    ("Accept-Payment", b"*/*;q=nan, stellar/charge;q=1e999"),
    ("Accept-Payment", b"," * 5_000),
    ("Accept-Payment", b"a/b;" * 2_000),
    ("Payment-Session", b"\x80"),
    ("Payment-Session", b"C" * 5_000),
    ("Payment-Session", b"../../etc/passwd"),
    ("Host", b"\xff"),
    ("Host", b"a" * 3_000),
    ("Host", b'"><script>'),
    ("Host", b"[::1"),
    ("Content-Type", b"\xff"),
    ("Content-Length", b"0"),
    ("Idempotency-Key", b"\xff" * 300),
    ("Idempotency-Key", b"a" * 5_000),
    ("Payment-Authorization", b"Payment \xff"),
    ("Cookie", b"=" * 5_000),
)


@attack("A14", "other fields that are none", times=40, short=1)
async def bad_fields(scene: Scene) -> None:
    for path in ("/paid", "/any", "/shelf/a.txt", "/after", "/members", "/"):
        for field in BAD_FIELDS * scene.times:
            answer = await scene.ground.wires[0].exchange(scene.rendered("GET", path, [field]))
            scene.judge(answer, Wants.REFUSED, f"{path} {field[0]}", may_be_silent=True)


@attack("A14", "bodies that are none", times=30, short=1)
async def bodies(scene: Scene) -> None:
    """Where the price looks at the body."""
    made = (b"", b"\0", b"\xff" * 100, b"[" * 10_000, b"a" * 2_000_000, b"{}", b"\xef\xbb\xbf")
    for body in made * scene.times:
        await scene.request("POST", "/essays", body=body, wants=Wants.REFUSED)
