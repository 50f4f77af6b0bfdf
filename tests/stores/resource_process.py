"""A process of its own that shares accounts, budgets and answers with others, run by
test_resource_processes.py. Its tasks, which come before the store's URL and the owner:

    send      borrow accounts and use up their sequence numbers
    draw      draw on two budgets until they give nothing more
    answer    keep answers for the same keys as others do
    die STEP  die by SIGKILL in the moment a step is acknowledged
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from typing import TYPE_CHECKING

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.kept_answers import KeptAnswer

if TYPE_CHECKING:
    from mpp_asgi.stores.contract import Store

ACCOUNTS = ["GA", "GB", "GC", "GD"]
"""As many as there are processes, so that none has to ask again and again."""
TRANSACTIONS = 40
DAY = Budget("day", limit=100, keep_until=50)
TOTAL = Budget("total", limit=120, keep_until=1000)
KEYS = 30


async def send(store: Store, owner: str) -> None:
    """Print which sequence numbers of which accounts were used."""
    del owner
    used: list[tuple[str, int]] = []
    for _ in range(TRANSACTIONS):
        loan = await store.borrow(ACCOUNTS, until=10, now=0)
        assert loan is not None
        sequence = (loan.sequence or 0) + 1
        used.append((loan.account, sequence))
        assert await store.hand_back(loan, sequence=sequence, free_at=0)
    print(json.dumps(used))


async def draw(store: Store, owner: str) -> None:
    """Print how much was drawn on both, how much of it was put back, and on which there is nothing
    left."""
    chance = random.Random(owner)
    drawn = returned = 0
    while (refused := await store.draw([DAY, TOTAL], 1)) is None:
        drawn += 1
        if chance.random() < 0.3:
            await store.put_back([DAY.name], 1)
            returned += 1
    print(json.dumps({"drawn": drawn, "returned": returned, "refused": refused}))


async def answer(store: Store, owner: str) -> None:
    """Print by whom the answers are that were kept."""
    keys = [f"{n}" for n in range(KEYS)]
    random.Random(owner).shuffle(keys)
    kept = await asyncio.gather(
        *(store.keep_answer(KeptAnswer(key, "r", owner.encode(), 10), now=0) for key in keys)
    )
    print(json.dumps({answer.key: answer.content.decode() for answer in kept}))


async def die(store: Store, owner: str, step: str) -> None:
    match step:
        case "borrow":
            await store.borrow(["GA"], until=10, now=0)
        case "hand back":
            loan = await store.borrow(["GA"], until=10, now=0)
            assert loan is not None
            await store.hand_back(loan, sequence=7, free_at=5)
        case "draw":
            await store.draw([DAY, TOTAL], 60)
        case "answer":
            await store.keep_answer(KeptAnswer("key", "r", owner.encode(), 10), now=0)
    os.kill(os.getpid(), signal.SIGKILL)


TASKS = {"send": send, "draw": draw, "answer": answer, "die": die}
