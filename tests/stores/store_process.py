"""A process of its own with charges in a store, run by test_store_processes.py.
Its tasks, which come before the store's URL and the owner:

    race      claim the same challenges and proofs as others do
    work      submit charges for ever, naming each when it is kept
    die STEP  die by SIGKILL in the moment a step is acknowledged
    fork      fork with the store open, and use it in the child
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
from typing import TYPE_CHECKING

from mpp_asgi.stores.contract import Charge, Outcome, State, StoreUnavailableError

if TYPE_CHECKING:
    from mpp_asgi.stores.contract import Store

ALIVE_UNTIL = 100
CONTESTED = 40
PATIENCE = 10.0
"""Seconds for a call that has to end at once."""


def claimed(charge_id: str, owner: str) -> Charge:
    return Charge(id=charge_id, credential="c", state=State.CLAIMED, keep_until=1000, owner=owner)


def submitted(charge_id: str, owner: str) -> Charge:
    return claimed(charge_id, owner)._replace(
        state=State.SUBMITTED, reference=charge_id, envelope="A" * 1600
    )


async def race(store: Store, owner: str) -> None:
    """Print which challenges and which proofs were won."""
    await store.heartbeat(owner, alive_until=ALIVE_UNTIL)
    goals = [f"id:{n}" for n in range(CONTESTED)] + [f"proof:{n}" for n in range(CONTESTED)]
    random.Random(owner).shuffle(goals)

    async def win(goal: str) -> bool:
        by_proof = goal.startswith("proof")
        charge = claimed(f"{owner}:{goal}" if by_proof else goal, owner)
        claim = await store.claim(charge, [goal] if by_proof else [], now=0)
        return claim.outcome is Outcome.NEW

    wins = await asyncio.gather(*(win(goal) for goal in goals))
    won = list(itertools.compress(goals, wins))
    print(json.dumps({"won": won, "secret": await store.secret()}))


async def work(store: Store, owner: str) -> None:
    await store.heartbeat(owner, alive_until=ALIVE_UNTIL)
    for number in itertools.count():
        charge_id = f"{owner}:{number}"
        await store.claim(claimed(charge_id, owner), [f"tx:{charge_id}"], now=0)
        await store.write(submitted(charge_id, owner), [f"nonce:{charge_id}"], owner=owner)
        print(charge_id, flush=True)


async def die(store: Store, owner: str, step: str) -> None:
    await store.claim(claimed("x", owner), ["tx:x"], now=0)
    if step == "write":
        await store.write(submitted("x", owner), ["nonce:x"], owner=owner)
    elif step == "secret":
        print(await store.secret(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


async def fork(store: Store, owner: str) -> None:
    """Print what the child is told, and go on as if there were none."""
    child = os.fork()
    if not child:
        try:
            asyncio.run(_use_in_child(store, owner))
        finally:
            os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)
    await store.claim(claimed("parent", owner), [], now=0)


async def _use_in_child(store: Store, owner: str) -> None:
    for call in (
        store.claim(claimed("child", owner), [], now=0),
        store.get("child"),
        store.open(),
    ):
        try:
            await asyncio.wait_for(call, PATIENCE)
        except (StoreUnavailableError, TimeoutError) as error:
            print(error, flush=True)
    await asyncio.wait_for(store.close(), PATIENCE)
    print("closed", flush=True)


TASKS = {"race": race, "work": work, "die": die, "fork": fork}
