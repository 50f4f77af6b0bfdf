"""A3, A4: one payment shown many times, and said to be for many things."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from benchmarks.peers.trouble import Trouble
from benchmarks.peers.variant import attack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.peers.bout import Bout
    from tests.attacks.wire import Wire


@attack("A3", "one after the other", times=200)
async def in_turn(bout: Bout) -> None:
    proof = await bout.proof()
    for _ in range(bout.times):
        await bout.show(proof)


def _at_once(path: str) -> None:
    @attack("A3", f"all at once, each over a connection of its own, {path}", times=200)
    async def at_once(bout: Bout) -> None:
        bout.seller.premises.release()
        proof = await bout.proof(path)
        shows = (bout.show(proof, path, is_fresh=True) for _ in range(bout.times))
        await bout.together(shows, most=50)


for _path in ("/paid", "/plain", "/stream", "/download", "/dear"):
    _at_once(_path)


@attack("A3", "many payers, ten times each, at once", times=40)
async def crowd(bout: Bout) -> None:
    proofs = await bout.proofs(bout.times)
    bout.is_troubled = True  # who has to wait may be told to come back
    shown = [each for each in proofs for _ in range(10)]
    bout.random.shuffle(shown)
    await bout.together((bout.show(each) for each in shown), most=64)
    await bout.together(bout.redeem(each) for each in proofs if not each.purse.served)


@asynccontextmanager
async def more_hosts(bout: Bout) -> AsyncIterator[list[Wire]]:
    """Two workers behind one port, and another host, with the same records."""
    premises = bout.seller.premises
    wires = [
        await asyncio.to_thread(premises.start, "--workers", "2"),
        await asyncio.to_thread(premises.start),
    ]
    servers = [premises.servers.pop() for _ in wires]
    try:
        yield [bout.wire, *wires]
    finally:
        for wire in wires:
            await wire.close()
        for server in servers:
            await asyncio.to_thread(server.stop)


@attack("A3", "to four workers on three hosts at once", times=240)
async def hosts(bout: Bout) -> None:
    async with more_hosts(bout) as wires:
        proofs = await bout.proofs(4)
        bout.is_troubled = True  # who has to wait may be told to come back
        shows = (
            bout.show(proofs[number % 4], wire=wires[number % 3], is_fresh=True)
            for number in range(bout.times)
        )
        await bout.together(shows, most=48)
        await bout.together(bout.redeem(each) for each in proofs if not each.purse.served)


@attack("A3", "after another process took over", times=20)
async def after_restart(bout: Bout) -> None:
    proofs = await bout.proofs(3)
    for each in proofs:
        await bout.redeem(each)
    await asyncio.sleep(1)  # what it has to write down is written
    bout.is_troubled = True
    await bout.seller.premises.kill()
    await bout.seller.premises.restart()
    bout.is_troubled = False
    await bout.together(bout.show(each) for each in proofs * bout.times)


@attack("A3", "while it is settled", times=40)
async def while_settled(bout: Bout) -> None:
    """The first stands still, and the others come meanwhile."""
    proof = await bout.proof()
    await bout.bring(Trouble("settle", "hang", is_after=True, times=1))
    first = asyncio.ensure_future(bout.show(proof))
    await bout.held()
    shows = (bout.show(proof, is_fresh=True) for _ in range(bout.times))
    others = asyncio.ensure_future(bout.together(shows, most=40))
    await asyncio.wait([others], timeout=1)
    await bout.calm()
    await first
    await others
    await bout.redeem(proof)


@attack("A3", "all at once, while the transaction is late", times=40)
async def while_late(bout: Bout) -> None:
    proof = await bout.proof()
    await bout.bring(Trouble("chain", "late", times=1))
    await bout.together((bout.show(proof, is_fresh=True) for _ in range(bout.times)), most=40)
    await bout.redeem(proof)
    await bout.calm()
    await bout.together(bout.show(proof) for _ in range(bout.times))


@attack("A4", "one payment in many envelopes, in turn", times=40)
async def envelopes(bout: Bout) -> None:
    """Other metadata around it, another spelling of it, the other signature of the same words."""
    proof, demand = await bout.proof(), await bout.demand()
    for number in range(bout.times):
        await bout.show(bout.seller.rewrapped(proof, demand, number))


@attack("A4", "one payment in many envelopes, at once", times=80)
async def envelopes_at_once(bout: Bout) -> None:
    proof = await bout.proof()
    demands = [await bout.demand() for _ in range(bout.times)]
    shown = [bout.seller.rewrapped(proof, each, number) for number, each in enumerate(demands)]
    await bout.together((bout.show(each, is_fresh=True) for each in shown), most=40)
    await bout.redeem(proof)


@attack("A4", "one payment for many routes, at once", times=10)
async def many_routes(bout: Bout) -> None:
    """Whichever serves it, one does."""
    for _ in range(bout.times):
        proof = await bout.proof()
        paths = ("/paid", "/twin", "/items/a", "/items/b", "/plain", "/shelf/a")
        await bout.together(
            bout.show(proof, path, is_meant=path == "/paid", is_fresh=True) for path in paths
        )
