"""A11, A18, A19, A20: who paid is served, whatever happened in between, and pays once."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks.peers.trouble import Trouble
from benchmarks.peers.variant import attack

if TYPE_CHECKING:
    from benchmarks.peers.bout import Bout


def _failing(path: str, what: str) -> None:
    @attack("A11", f"{what} the first time, {path}", times=3)
    async def fails(bout: Bout) -> None:
        """The same payment is shown again."""
        proof = await bout.proof(path)
        bout.is_troubled = True
        await bout.show(proof, path)
        await bout.redeem(proof, path)


_failing("/failing", "the handler raises")
_failing("/busy", "the handler answers 503")
_failing("/breaking", "the stream breaks off")


def _hung_up(path: str) -> None:
    @attack("A11", f"the client hangs up before the response, {path}", times=5)
    async def hangs_up(bout: Bout) -> None:
        """Three times, and then it waits."""
        bout.is_troubled = True
        for _ in range(bout.times):
            bout.seller.premises.hold()
            proof = await bout.proof(path)
            raw = bout.rendered("GET", path, [(proof.field, proof.value)])
            for _ in range(3):
                hanging = await bout.wire.begin(raw)
                await bout.request("GET", "/")
                hanging.hang_up()
                await hanging.answer()
                await bout.request("GET", "/")  # by now the server has seen that it is gone
                bout.count.attempts += 1
            bout.seller.premises.release()
            await bout.redeem(proof, path)


for _path in ("/paid", "/hanging", "/stream"):
    _hung_up(_path)


@attack("A11", "the client hangs up in the midst of the response, /endless", times=3)
async def mid_stream(bout: Bout) -> None:
    """Or before it, where there is nothing of it before it has ended."""
    bout.is_troubled = True
    for _ in range(bout.times):
        bout.seller.premises.hold()
        proof = await bout.proof("/endless")
        raw = bout.rendered("GET", "/endless", [(proof.field, proof.value)])
        hanging = await bout.wire.begin(raw)
        await asyncio.wait([asyncio.ensure_future(hanging.hears())], timeout=3)
        hanging.hang_up()
        await hanging.answer()
        await bout.request("GET", "/")
        bout.count.attempts += 1
        bout.seller.premises.release()
        await bout.redeem(proof, "/endless")


def _settled_meanwhile(path: str) -> None:
    @attack("A11", f"the client hangs up while it is settled, {path}", times=5)
    async def hangs_up(bout: Bout) -> None:
        """The money has moved, and nobody is there to be served; then somebody is."""
        for _ in range(bout.times):
            proof = await bout.proof(path)
            await bout.bring(Trouble("settle", "hang", is_after=True, times=1))
            raw = bout.rendered("GET", path, [(proof.field, proof.value)])
            hanging = await bout.wire.begin(raw)
            await bout.held()
            hanging.hang_up()
            await hanging.answer()
            await bout.request("GET", "/")
            bout.count.attempts += 1
            await bout.calm()
            await bout.redeem(proof, path)


for _path in ("/paid", "/stream"):
    _settled_meanwhile(_path)


def _killed(name: str, trouble: Trouble | None) -> None:
    @attack("A18", f"killed {name}", times=2 if trouble is not None else 1)
    async def killed(bout: Bout) -> None:
        """SIGKILL; the next process is asked with the same payment."""
        path = "/hanging" if trouble is None else "/paid"
        for _ in range(bout.times):
            bout.seller.premises.hold()
            proof = await bout.proof(path)
            bout.is_troubled = True
            if trouble is not None:
                await bout.bring(trouble)
            raw = bout.rendered("GET", path, [(proof.field, proof.value)])
            hanging = await bout.wire.begin(raw)
            if trouble is not None:
                await bout.held()
            else:
                await bout.until(lambda: bout.seller.premises.is_hanging)
            await bout.seller.premises.kill()
            await hanging.answer()
            bout.count.attempts += 1
            await bout.calm()
            bout.seller.premises.release()
            await bout.seller.premises.restart()
            await bout.redeem(proof, path)


_killed("while the handler works", None)
_killed("while the call that settles is on its way", Trouble("settle", "hang", times=1))
_killed(
    "when the call that settles had its effect", Trouble("settle", "hang", is_after=True, times=1)
)


@attack("A18", "killed the moment that it has served", times=5)
async def killed_at_once(bout: Bout) -> None:
    """The next process is shown what was served already."""
    for _ in range(bout.times):
        proof = await bout.proof()
        bout.is_troubled = True
        await bout.redeem(proof)
        await bout.seller.premises.kill()
        await bout.seller.premises.restart()
        for _ in range(3):
            await bout.show(proof)


@attack("A19", "the store does not answer for a while", times=4,
        not_for=dict.fromkeys(("x402", "x402 upfront"), "it keeps no records"))  # fmt: skip
async def no_store(bout: Bout) -> None:
    proofs = await bout.proofs(bout.times)
    bout.is_troubled = True
    with ExitStack() as stack:
        outage = bout.seller.without_store()
        assert outage is not None
        stack.enter_context(outage)
        shown = await bout.together(bout.show(each) for each in proofs)
    await bout.redeem_rest(proofs, shown)


@attack("A19", "the store goes away while a payment is settled",
        not_for=dict.fromkeys(("x402", "x402 upfront"), "it keeps no records"))  # fmt: skip
async def store_goes(bout: Bout) -> None:
    proof = await bout.proof()
    await bout.bring(Trouble("settle", "hang", is_after=True, times=1))
    first = asyncio.ensure_future(bout.show(proof))
    await bout.held()
    outage = bout.seller.without_store()
    assert outage is not None
    with ExitStack() as stack:
        stack.enter_context(outage)
        await bout.calm()
        shown = await first
    await bout.redeem_rest([proof], [shown])


def _answered(trouble: Trouble) -> None:
    @attack("A20", f"{trouble}", times=3)
    async def answered(bout: Bout) -> None:
        """While it is so they ask, and again when it is over."""
        proofs = await bout.proofs(bout.times)
        await bout.bring(trouble)
        asked = asyncio.ensure_future(bout.together(bout.show(each) for each in proofs))
        await asyncio.wait([asked], timeout=2)
        await bout.calm()
        await bout.redeem_rest(proofs, await asked)


for _kind in ("500", "garbage", "cut", "hang"):
    for _at, _is_after in (("verify", False), ("settle", False), ("settle", True)):
        _answered(Trouble(_at, _kind, is_after=_is_after))
