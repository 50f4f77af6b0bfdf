"""A5: a credential for one thing, shown for another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.attacks.scene import Wants
from tests.attacks.variant import attack

if TYPE_CHECKING:
    from tests.attacks.scene import Scene


@dataclass(frozen=True, slots=True)
class Ask:
    """A request."""

    path: str
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    carrier: str = field(default="Authorization")


PAIRS: dict[str, tuple[Ask, Ask]] = {
    "cheap paid, dear taken": (Ask("/paid"), Ask("/dear")),
    "same price, another path": (Ask("/paid"), Ask("/twin")),
    "another of the same kind": (Ask("/items/a"), Ask("/items/b")),
    "its case": (Ask("/items/a"), Ask("/items/A")),
    "what is below it": (Ask("/items/a"), Ask("/items/a/owner")),
    "a slash at the end": (Ask("/items/a"), Ask("/items/a/")),
    "escaped otherwise": (Ask("/items/a%20b"), Ask("/items/a+b")),
    "another encoding of another name": (Ask("/items/a"), Ask("/items/%62")),
    "a query more": (Ask("/paid"), Ask("/paid?all=1")),
    "a query less": (Ask("/paid?all=1"), Ask("/paid")),
    "another query": (Ask("/paid?q=1"), Ask("/paid?q=2")),
    "the query in another order": (Ask("/paid?a=1&b=2"), Ask("/paid?b=2&a=1")),
    "a query twice": (Ask("/sizes?size=small"), Ask("/sizes?size=small&size=large")),
    "a price by query": (Ask("/sizes?size=small"), Ask("/sizes?size=large")),
    "a price by query, escaped": (Ask("/sizes?size=small"), Ask("/sizes?size=%6carge")),
    "a query with semicolons": (Ask("/sizes?size=small"), Ask("/sizes?size=small;size=large")),
    "POST for GET": (Ask("/any"), Ask("/any", "POST", body=b"")),
    "PUT for POST": (Ask("/any", "POST", body=b"a"), Ask("/any", "PUT", body=b"a")),
    "DELETE for GET": (Ask("/any"), Ask("/any", "DELETE")),
    "PATCH for POST": (Ask("/any", "POST", body=b"a"), Ask("/any", "PATCH", body=b"a")),
    "another body": (Ask("/any", "POST", body=b"a"), Ask("/any", "POST", body=b"b")),
    "no body": (Ask("/any", "POST", body=b"a"), Ask("/any", "POST", body=b"")),
    "a body": (Ask("/any", "POST", body=b""), Ask("/any", "POST", body=b"a")),
    "a body with GET": (Ask("/any"), Ask("/any", body=b"a")),
    "a body in chunks": (
        Ask("/any", "POST", body=b""),
        Ask("/any", "POST", (("Transfer-Encoding", "chunked"),), b"1\r\na\r\n0\r\n\r\n"),
    ),
    "a longer essay": (
        Ask("/essays", "POST", body=b"short"),
        Ask("/essays", "POST", body=b"a much longer essay than that"),
    ),
    "an essay of the same length": (
        Ask("/essays", "POST", body=b"short"),
        Ask("/essays", "POST", body=b"other"),
    ),
    "a digest claimed by the client": (
        Ask("/essays", "POST", body=b"short"),
        Ask(
            "/essays",
            "POST",
            (("Content-Digest", "sha-256=:+bDbtdMYqTjEYF0n4QsNY2ZhNhgFdxCP8AxqzMLJCxc=:"),),
            b"a much longer essay than that",
        ),
    ),
    "a price by header": (Ask("/plans"), Ask("/plans", fields=(("X-Plan", "gold"),))),
    "a price by header, twice": (
        Ask("/plans", fields=(("X-Plan", "iron"),)),
        Ask("/plans", fields=(("X-Plan", "gold"), ("X-Plan", "iron"))),
    ),
    "settled after, paid before": (Ask("/paid"), Ask("/after")),
    "settled before, paid after": (Ask("/after"), Ask("/paid")),
    "a stream for a small thing": (Ask("/paid"), Ask("/stream")),
    "a shelf for a route": (Ask("/paid"), Ask("/shelf/a.txt")),
    "another file on the shelf": (Ask("/shelf/a.txt"), Ask("/shelf/b.txt")),
    "a file by way of the free one": (Ask("/shelf/a.txt"), Ask("/shelf/free.txt/../b.txt")),
    "another host": (
        Ask("/paid", fields=(("Host", "a.test"),)),
        Ask("/paid", fields=(("Host", "b.test"),)),
    ),
    "a host with another port of another name": (
        Ask("/paid", fields=(("Host", "a.test:80"),)),
        Ask("/paid", fields=(("Host", "a.test.evil:80"),)),
    ),
    "members only": (
        Ask("/paid"),
        Ask("/members", fields=(("Authorization", "Bearer me"),), carrier="Payment-Authorization"),
    ),
    "members' payment for others": (
        Ask("/members", fields=(("Authorization", "Bearer me"),), carrier="Payment-Authorization"),
        Ask("/paid"),
    ),
    "a charge for the stream that is for sessions": (Ask("/paid"), Ask("/tokens")),
}


async def substitute(scene: Scene, paid: Ask, taken: Ask) -> None:
    """Sign for one, ask for the other, both before it was used and afterwards."""
    for mode in ("sponsored", "unsponsored", "push")[: 1 if scene.is_short else 3]:
        payer = await scene.payer(len(scene.purses))
        credential = await scene.in_mode(
            mode, paid.path, payer=payer, method=paid.method, fields=paid.fields, body=paid.body
        )

        async def take(credential: object = credential) -> None:
            await scene.show(
                credential,  # type: ignore[arg-type] # made above
                taken.path,
                method=taken.method,
                fields=taken.fields,
                body=taken.body,
                carrier=taken.carrier,
                wants=Wants.REFUSED,
            )

        for _ in range(scene.times):
            await take()
        await scene.redeem(
            credential,
            paid.path,
            method=paid.method,
            fields=paid.fields,
            body=paid.body,
            carrier=paid.carrier,
        )
        await take()


def _put(name: str, paid: Ask, taken: Ask, *, short: int) -> None:
    @attack("A5", name, times=10, short=short, exact=True)
    async def act(scene: Scene) -> None:
        await substitute(scene, paid, taken)


for _number, (_name, (_paid, _taken)) in enumerate(PAIRS.items()):
    _put(_name, _paid, _taken, short=int(_number % 3 == 0))


@attack("A5", "a dear path that reads as a cheap one", times=5, short=1)
async def read_otherwise(scene: Scene) -> None:
    """It is bought for what it is offered at, and that is no less than what it is."""
    ways = (
        "/..",
        "/%2e%2e",
        "/%252e%252e",
        "/.%09.",
        "/x/../..",
        "//..",
        "/;a/..",
        "/..;a",
        "%5c..",
    )
    for number, way in enumerate(ways * scene.times):
        target = f"/lane/dear{way}/cheap/x"
        answer = await scene.request("GET", target, wants=Wants.REFUSED)
        if answer.status == 402:
            payer = await scene.payer(number, usdc="2")
            await scene.redeem(await scene.sponsored(target, payer=payer), target)


@attack("A5", "every route with every other route's credential", times=40, short=4, exact=True)
async def everything(scene: Scene) -> None:
    """Each pair of requests, with credentials that were paid for and those that were not."""
    asks = [ask for pair in PAIRS.values() for ask in pair if not ask.fields]
    asks = list(dict.fromkeys(ask for ask in asks if ask.path not in ("/tokens", "/dear")))
    for ask in scene.random.sample(asks, min(scene.times, len(asks))):
        path, request = ask.path, {"method": ask.method, "body": ask.body}
        answer = await scene.request(ask.method, path, body=ask.body, wants=Wants.REFUSED)
        if answer.status != 402:
            continue
        credential = await scene.sponsored(path, **request)
        others = [other for other in asks if other != ask]
        if scene.is_short:
            others = others[:10]
        await scene.together(
            scene.refused(credential, other.path, method=other.method, body=other.body)
            for other in others
            if not _same(ask, other)
        )
        await scene.redeem(credential, path, **request)


def _same(one: Ask, other: Ask) -> bool:
    """Spelled differently, and the same request."""
    return _plainly(one) == _plainly(other)


def _plainly(ask: Ask) -> tuple[str, str, str, bytes]:
    path, _, query = ask.path.partition("?")
    return ask.method, unquote(path), query, ask.body or b""
