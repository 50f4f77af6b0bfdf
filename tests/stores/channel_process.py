"""A process of its own with channels in a store, run by test_channel_processes.py.
Its tasks, which come before the store's URL and the owner:

    race   spend from one channel with many clients' vouchers
    lease  take the same leases as others do
    work   spend for ever, naming each spend when it is kept
    hold   stop with a spend written to a SQLite file, but not committed
    die    die by SIGKILL in the moment a spend is acknowledged
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import sqlite3
import threading
from typing import TYPE_CHECKING

from mpp_asgi.stores.channels import Channel, SpendOutcome

if TYPE_CHECKING:
    from mpp_asgi.stores.contract import Store
    from mpp_asgi.stores.sqlite.store import SqliteStore

CLIENTS = 8
REQUESTS = 12
LEASES = 30
DEPOSITED = 2**70

CHANNEL = Channel(
    id="channel",
    key="ab" * 32,
    funder="GF",
    recipient="GR",
    token="CT",
    waiting_period=100,
    deposited=DEPOSITED,
    settled=0,
    seen_ledger=0,
    opened_at=0,
)


async def race(store: Store, owner: str) -> None:
    """Print what was granted and kept, how many units, the highest voucher accepted, and the last
    ledger that was seen: facts of any ledger come in any order."""
    chance = random.Random(owner)
    await store.add_channel(CHANNEL._replace(accepted=100, signature="s100"))
    granted: list[int] = []
    accepted = [100]
    ledgers = [CHANNEL.seen_ledger]

    async def observe() -> None:
        ledger = chance.randrange(40, 1000)
        ledgers.append(ledger)
        await store.observe(
            CHANNEL.id,
            ledger=ledger,
            deposited=DEPOSITED + ledger,
            settled=ledger // 10,
            closes_at=None,
            closed=False,
            now=1,
        )

    async def client() -> None:
        for _ in range(REQUESTS):
            if chance.random() < 0.3:
                await observe()
            kept = await store.channel(CHANNEL.id)
            amount = kept.accepted + chance.choice([0, 0, 1, 3, 2**65])
            cost = chance.randrange(8)
            spend = await store.spend(
                CHANNEL.id,
                amount=amount,
                signature=f"s{amount}",
                cost=cost,
                units=1,
                min_delta=0,
                now=1,
            )
            if spend.outcome in (SpendOutcome.SPENT, SpendOutcome.INSUFFICIENT):
                accepted.append(amount)
            if spend.outcome is SpendOutcome.SPENT:
                if chance.random() < 0.2:
                    await store.give_back(CHANNEL.id, cost=cost, units=1)
                else:
                    granted.append(cost)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    said = {
        "granted": sum(granted),
        "units": len(granted),
        "accepted": max(accepted),
        "ledger": max(ledgers),
    }
    print(json.dumps(said))


async def lease(store: Store, owner: str) -> None:
    """Print which leases were had."""
    names = [f"settle:{n}" for n in range(LEASES)]
    random.Random(owner).shuffle(names)
    took = await asyncio.gather(
        *(store.lease(name, owner=owner, until=10, now=0) for name in names)
    )
    print(json.dumps(list(itertools.compress(names, took))))


async def spend_one(store: Store, amount: int, cost: int) -> None:
    spend = await store.spend(
        CHANNEL.id, amount=amount, signature=f"s{amount}", cost=cost, units=1, min_delta=0, now=1
    )
    assert spend.outcome is SpendOutcome.SPENT, spend


async def work(store: Store, owner: str) -> None:
    """With one great voucher, so that only the costs count."""
    await store.add_channel(CHANNEL._replace(id=owner))
    for number in itertools.count(1):
        await store.spend(
            owner, amount=2**69, signature="s", cost=1, units=1, min_delta=0, now=number
        )
        print(number, flush=True)


async def hold(store: SqliteStore, owner: str) -> None:
    await store.add_channel(CHANNEL)
    await spend_one(store, 10, 4)
    connection = sqlite3.connect(store.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE channel SET spent = '10', accepted = '99', signature = 's99'")
    print("holding", flush=True)
    threading.Event().wait()


async def die(store: Store, owner: str) -> None:
    await store.add_channel(CHANNEL)
    await spend_one(store, 10, 4)
    os.kill(os.getpid(), signal.SIGKILL)


TASKS = {"race": race, "lease": lease, "work": work, "hold": hold, "die": die}
