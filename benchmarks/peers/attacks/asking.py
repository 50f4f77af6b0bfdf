"""A13, A14: requests that are understood differently, and input that is none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from benchmarks.peers.variant import attack
from tests.attacks.rows import a13_confusion
from tests.attacks.rows.a13_confusion import METHODS, OVERRIDES
from tests.attacks.rows.a14_malformed import HOSTILE
from tests.charge.test_bad_input import BODIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.peers.bout import Bout

ROUTES = ("/paid", "/dear", "/items/a", "/stream", "/plain", "/shelf/a.txt", "/any", "/sizes",
          "/download")  # fmt: skip
SPELLINGS: Mapping[str, Callable[[str], str]] = dict(a13_confusion.SPELLINGS)
MOST = 6_000
"""Characters of one hostile value: more does not fit into a field."""


def _spelled(path: str) -> None:
    @attack("A13", f"paths spelled otherwise, {path}")
    async def spelled(bout: Bout) -> None:
        """Whatever the router makes of it, nobody paid."""
        bout.seller.premises.release()
        for method in ("GET", "POST"):
            targets = [spell(path) for spell in SPELLINGS.values()]
            await bout.together(bout.request(method, target) for target in targets)


for _path in ROUTES:
    _spelled(_path)


def _methods(path: str) -> None:
    @attack("A13", f"any method, {path}")
    async def methods(bout: Bout) -> None:
        bout.seller.premises.release()
        for method in METHODS:
            await bout.request(method, path, is_fresh=True)


for _path in ("/paid", "/plain", "/any"):
    _methods(_path)


@attack("A13", "fields that might lead a router or a price around")
async def fields(bout: Bout) -> None:
    bout.seller.premises.release()
    for path in ROUTES:
        for name, value in OVERRIDES:
            for method in ("GET", "POST"):
                await bout.request(method, path, [(name, value)], is_fresh=True)


@attack("A13", "under a path of its own", times=3)
async def mounted(bout: Bout) -> None:
    """Behind a proxy that leaves the prefix on, and one that takes it off."""
    premises = bout.seller.premises
    wire = await asyncio.to_thread(premises.start, "--root-path", "/front")
    server = premises.servers.pop()
    try:
        for path in ROUTES:
            for target in (path, f"/front{path}", f"/front/front{path}", f"//front{path}"):
                await bout.request("GET", target, wire=wire)
                await bout.request("POST", target, wire=wire)
    finally:
        await wire.close()
        await asyncio.to_thread(server.stop)


@attack("A13", "two payments in one request", times=5)
async def two(bout: Bout) -> None:
    """As two fields and as one; at most one of them is taken, for one thing."""
    for _ in range(bout.times):
        for is_merged in (False, True):
            first, second = await bout.proofs(2)
            purse, other = first.purse, second.purse
            values = [first.value, second.value]
            shown = [(first.field, v) for v in ([", ".join(values)] if is_merged else values)]
            answer = await bout.request("GET", "/paid", shown, payer=purse)
            if answer.status == 200 and await asyncio.to_thread(bout.seller.left, purse) > 0:
                purse.served, other.served = other.served, purse.served
                purse.prices, other.prices = other.prices, purse.prices
            for each in (first, second):
                await bout.redeem(each)


@attack("A13", "caches: what is paid, and what is asked for", times=5)
async def caches(bout: Bout) -> None:
    bout.seller.premises.release()
    for path in ("/paid", "/plain", "/items/a", "/stream", "/download", "/shelf/a.txt"):
        for _ in range(bout.times):
            proof = await bout.proof(path)
            await bout.redeem(proof, path)


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is something in an object."""
    yield path
    if isinstance(body, dict):
        for name, value in body.items():
            yield from places(value, (*path, name))
    elif isinstance(body, list):
        for number, value in enumerate(body):
            yield from places(value, (*path, number))


def with_value(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = body.copy()
    changed[path[0]] = with_value(body[path[0]], path[1:], value)
    return changed


def field_of(bout: Bout, body: Any) -> str:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return bout.seller.encode(raw)


async def shown(
    bout: Bout, proofs: list[tuple[Any, str | bytes]], *, is_fresh: bool = False
) -> None:
    """Show what may or may not be somebody's payment."""
    carrier = bout.seller.carrier
    await bout.together(
        bout.request("GET", "/paid", [(carrier, value)], payer=purse, is_fresh=is_fresh)
        for purse, value in proofs
    )


@attack("A14", "anything in any place of a payment")
async def anything(bout: Bout) -> None:
    """What makes no difference may be served, and is paid then, once for all of them."""
    proof = await bout.proof()
    body: Mapping[str, Any] = bout.seller.decode(proof)
    values = [value for value in HOSTILE if len(str(value)) <= MOST]
    await shown(
        bout,
        [
            (proof.purse, field_of(bout, with_value(body, place, value)))
            for place in places(body)
            for value in values
        ],
    )
    await bout.redeem(proof)


@attack("A14", "any bits of a payment", times=3_000)
async def any_bits(bout: Bout) -> None:
    proof = await bout.proof()
    header = proof.value.encode()

    def bent() -> bytes:
        raw = bytearray(header)
        for _ in range(bout.random.randint(1, 3)):
            place = bout.random.randrange(len(bout.seller.prefix), len(raw))
            raw[place] ^= 1 << bout.random.randrange(7)
        return bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F)

    await shown(bout, [(proof.purse, bent()) for _ in range(bout.times)])
    await bout.redeem(proof)


@attack("A14", "bodies that are none", times=10)
async def bodies(bout: Bout) -> None:
    values = [field_of(bout, raw[:40_000]) for raw in BODIES.values()]
    await shown(bout, [(None, value) for value in values * bout.times])


@attack("A14", "fields that are none", times=10)
async def raw_fields(bout: Bout) -> None:
    texts: list[str | bytes] = [
        "", " ", "=", "====", "e30", "e30=", "bnVsbA==", "W10=", "Payment", "Payment ", "Payment =",
        "Payment e30", "Bearer x", "x" * 8_000, "\u00e9", b"\xff\xfe\xfd", b"\x80" * 500, "\t",
        "Payment " + "A" * 9_000, ", " * 2_000, "Payment a, Payment b", '"', "\\",
        "Payment id=x", "eyJ4NDAyVmVyc2lvbiI6MX0=", "eyJ4NDAyVmVyc2lvbiI6IjIifQ==",
    ]  # fmt: skip
    # Over connections of their own: servers hang up after a 500, and that is no second one.
    await shown(bout, [(None, value) for value in texts * bout.times], is_fresh=True)
    for number in (10, 50, 90):
        many = [(bout.seller.carrier, f"{bout.seller.prefix}{'A' * 400}")] * number
        await bout.request("GET", "/paid", many, is_fresh=True)


@attack("A14", "nesting", times=5)
async def nesting(bout: Bout) -> None:
    proof = await bout.proof()
    body = bout.seller.decode(proof)
    text = json.dumps(body)
    for depth in (100, 1_000, 5_000, 15_000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            deep = opening * depth + "1" + closing * depth
            if len(deep) > 40_000:
                continue
            for raw in (deep, text[:-1] + f', "more": {deep}' + "}"):
                for _ in range(bout.times):
                    await shown(bout, [(proof.purse, field_of(bout, raw.encode()))])
    await bout.redeem(proof)
