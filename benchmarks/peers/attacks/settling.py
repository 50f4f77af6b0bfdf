"""A1, A2: payments that verify and are not settled, or not yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks.peers.trouble import Trouble
from benchmarks.peers.variant import attack
from tests.attacks.goods import Goods

if TYPE_CHECKING:
    from benchmarks.peers.bout import Bout

ROUTES = ("/paid", "/items/x", "/plain")
STREAMS = ("/stream", "/endless", "/download")


@attack("A1", "a payer without money")
async def no_money(bout: Bout) -> None:
    for path in ROUTES:
        purse = await bout.purse(0)
        proof = await bout.proof(path, purse=purse)
        for _ in range(3):
            await bout.show(proof, path)


@attack("A1", "one balance, many payments at once", times=20)
async def one_balance(bout: Bout) -> None:
    """Each of them is good as long as the others are not settled."""
    bout.is_troubled = True  # who has to wait may be told to come back
    purse = await bout.purse(1)
    proofs = [await bout.proof(purse=purse) for _ in range(bout.times)]
    await bout.together(bout.show(each) for each in proofs)
    await bout.together(bout.show(each) for each in proofs)


def _drained(path: str, row: str) -> None:
    @attack(row, f"money taken away between check and settlement, {path}")
    async def drained(bout: Bout) -> None:
        demand = await bout.demand(path)
        purse = await bout.purse(-(-demand.amount // bout.seller.cent))
        proof = await bout.pay(demand, purse)
        await bout.bring(Trouble("chain", "reverted", times=1), purse)
        bout.seller.premises.release()
        await bout.show(proof, path)
        await bout.calm()


for _path in ROUTES:
    _drained(_path, "A1")
for _path in STREAMS:
    _drained(_path, "A2")


@attack("A1", "a transaction that the network never takes in", times=2)
async def lost(bout: Bout) -> None:
    for _ in range(bout.times):
        proof = await bout.proof()
        await bout.bring(Trouble("chain", "lost", times=1))
        for _ in range(3):
            await bout.show(proof)
        await bout.calm()


@attack("A1", "a transaction that gets in late", times=3)
async def late(bout: Bout) -> None:
    """It lands, and whoever was turned away asks again."""
    for _ in range(bout.times):
        proof = await bout.proof()
        await bout.bring(Trouble("chain", "late", times=1))
        answer = await bout.show(proof)
        await bout.calm()
        await bout.redeem_rest([proof], [answer])


def _unpaid(path: str) -> None:
    @attack("A2", f"an unpaid stream, {path}", times=20)
    async def unpaid(bout: Bout) -> None:
        bout.seller.premises.release()
        await bout.together(bout.request("GET", path) for _ in range(bout.times))


for _path in STREAMS:
    _unpaid(_path)


@attack("A2", "a stream whose settlement stands still")
async def stands_still(bout: Bout) -> None:
    """Not a byte of it arrives before it is settled."""
    bout.seller.premises.release()
    proof = await bout.proof("/stream")
    await bout.bring(Trouble("settle", "hang", times=1))
    raw = bout.rendered("GET", "/stream", [(proof.field, proof.value)])
    hanging = await bout.wire.begin(raw)
    await bout.held()
    early = asyncio.ensure_future(hanging.hears())
    await asyncio.wait([early], timeout=2)
    is_early = early.done()
    await bout.calm()
    answer = await hanging.answer()
    await early
    if is_early and Goods.all_in(answer.body):
        bout.count.leak("/stream: something arrived before it was settled")
    bout.judge(answer, "GET /stream", payer=proof.purse)
    if not proof.purse.served:
        await bout.redeem(proof, "/stream")
