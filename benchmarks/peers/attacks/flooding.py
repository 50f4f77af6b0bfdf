"""A8, A21, A22: floods, slow settlements, and what is told to those who should not know."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.peers.trouble import Trouble
from benchmarks.peers.variant import attack

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers.bout import Bout

PATIENCE = 30.0
"""Seconds that an honest payer waits while others are stuck."""
MOST_BYTES = 48 * 1024 * 1024
"""By how much a server may grow."""


def _stuck(number: int) -> None:
    @attack("A8", f"{number} settlements that stand still", times=5)
    async def stuck(bout: Bout) -> None:
        """Honest payers are served meanwhile; the others when it is over."""
        attackers = await bout.proofs(number)
        honest = await bout.proofs(bout.times)
        await bout.bring(Trouble("settle", "hang", times=number))
        asked = asyncio.ensure_future(
            bout.together((bout.show(each) for each in attackers), most=number)
        )
        begun = time.monotonic()
        while await asyncio.to_thread(bout.seller.held) < number:
            await asyncio.sleep(0.05)
            if time.monotonic() - begun > PATIENCE:
                break  # so many are not let through at a time
        served = asyncio.ensure_future(bout.together(bout.redeem(each) for each in honest))
        await asyncio.wait([served], timeout=PATIENCE)
        waiting = sum(not each.purse.served for each in honest)
        if waiting:
            bout.count.errors += waiting
            bout.count.note(f"error: {waiting} honest payers were not served in {PATIENCE:g} s")
        await bout.calm()
        await served
        await bout.redeem_rest(attackers, await asked)


_stuck(1)
_stuck(40)


@attack("A8", "everybody waits for one payment", times=120)
async def one_for_all(bout: Bout) -> None:
    """They ask with the same payment, whose settlement stands still; free pages are served."""
    proof = await bout.proof()
    await bout.bring(Trouble("settle", "hang", times=1))
    shows = (bout.show(proof, is_fresh=True) for _ in range(bout.times))
    asked = asyncio.ensure_future(bout.together(shows, most=bout.times))
    await bout.held()
    started = time.monotonic()
    await bout.request("GET", "/")
    if time.monotonic() - started > PATIENCE:
        bout.count.err("a free page took too long")
    await bout.calm()
    await asked
    await bout.redeem(proof)


@attack("A21", "what it logs at the level of debugging")
async def logs(bout: Bout) -> None:
    """Payments that are good, bad and not whole; the log is searched for them and the secret."""
    premises = bout.seller.premises
    wire = await asyncio.to_thread(premises.start, "--log-level", "debug", LOG_LEVEL="DEBUG")
    server = premises.servers.pop()
    values = [bout.seller.secret] if bout.seller.secret else []
    premises.wires.insert(0, wire)
    bout.is_troubled, bout.is_about_money = True, False  # a handler fails, and others ask of that
    try:
        for path in ("/paid", "/failing", "/stream"):
            proof = await bout.proof(path)
            values.append(proof.value[-200:-20])
            await bout.show(proof, path)
            await bout.show(proof, path)
            broken = proof.value[:-40]
            values.append(broken[-200:-20])
            answer = await bout.request("GET", path, [(proof.field, broken)], payer=proof.purse)
            if any(value in answer.text for value in values):
                bout.count.soil(f"{path}: the response tells of it")
            await bout.redeem(proof, path)
    finally:
        premises.wires.pop(0)
        await wire.close()
        await asyncio.to_thread(server.stop)
    said = "\n".join(server.output)
    for value in values:
        if value in said:
            bout.count.soil("the log tells of it")


FLOODS: dict[str, Callable[[int], tuple[str, list[tuple[str, str]]]]] = {
    "the same": lambda n: ("/paid", []),
    "of new paths": lambda n: (f"/items/{n}", []),
    "of long paths": lambda n: (f"/items/{n:x<3000}", []),
    "of new queries": lambda n: (f"/sizes?n={n}&{'q' * 500}", []),
    "of new hosts": lambda n: ("/paid", [("Host", f"h{n}.test")]),
    "of new plans": lambda n: ("/plans", [("X-Plan", f"p{n}")]),
}


def _flood(name: str) -> None:
    @attack("A22", f"a flood {name}", times=2_000)
    async def flood(bout: Bout) -> None:
        """What is in memory stays bounded."""
        ask = FLOODS[name]
        for number in range(200):
            path, fields = ask(number)
            await bout.request("GET", path, fields)
        before = bout.seller.premises.memory()
        asked = (ask(number) for number in range(200, bout.times))
        await bout.together((bout.request("GET", path, fields) for path, fields in asked), most=64)
        grown = bout.seller.premises.memory() - before
        if grown > MOST_BYTES:
            bout.count.err(f"{grown / 2**20:.0f} MB more in memory")


for _name in FLOODS:
    _flood(_name)
