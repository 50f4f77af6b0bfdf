"""Workers that are killed again and again while customers buy from them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import TYPE_CHECKING

import psutil

from tests.kill.audit import Account, Grant, audit, balances, stuck_records
from tests.kill.customers import Customer
from tests.servers import running_app

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Network

APP = "tests.kill.shop:app"
MONEY = 1_000
"""Whole tokens that every customer has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run. The seed decides who is killed, and when."""

    seconds: float = 120
    every: float = 1.0
    """Seconds between two kills, on average."""
    buyers: int = 8
    members: int = 4
    workers: int = 4
    seed: int = 0


async def fight(network: Network, store: str, folder: Path, plan: Plan) -> Account:
    """Sell for a while under fire, then in peace until everybody has what was begun; and count."""
    trace = folder / "trace.txt"
    trace.touch()
    settings = network.settings | {"MPP_STORE": store, "TRACE": str(trace)}
    random = Random(plan.seed)
    with running_app(APP, "--workers", str(plan.workers), settings=settings) as (url, server):
        customers = [
            Customer(f"buyer{n}", network.payer(usdc=MONEY), network, url, in_session=False)
            for n in range(plan.buyers)
        ] + [
            Customer(f"member{n}", network.payer(usdc=MONEY), network, url, in_session=True)
            for n in range(plan.members)
        ]
        before = balances(network, customers)
        end = time.monotonic() + plan.seconds
        kills = 0
        async with asyncio.TaskGroup() as shopping:
            for each in customers:
                shopping.create_task(each.shop(lambda: time.monotonic() >= end))
            while (pause := random.uniform(0.5, 1.5) * plan.every) < end - time.monotonic():
                await asyncio.sleep(pause)
                kills += kill_one(server.process.pid, random)
        await asyncio.gather(*(each.leave() for each in customers if each.in_session))
        stuck = await stuck_records(store)
        grants = [Grant(*line.split()[:3]) for line in trace.read_text().splitlines()]
        return audit(network, customers, grants=grants, before=before, kills=kills, stuck=stuck)


def kill_one(supervisor: int, random: Random) -> int:
    """SIGKILL one of the workers that are there; how many that were: one, or none."""
    children = psutil.Process(supervisor).children()
    workers = sorted((child for child in children if _is_alive(child)), key=attrgetter("pid"))
    if not workers:
        return 0
    with suppress(psutil.NoSuchProcess):
        random.choice(workers).kill()
    return 1


def _is_alive(child: psutil.Process) -> bool:
    """And no helper of the supervisor's."""
    try:
        return "resource_tracker" not in " ".join(child.cmdline())
    except psutil.Error:
        return False  # it is dead and not buried yet, or was never to be seen
