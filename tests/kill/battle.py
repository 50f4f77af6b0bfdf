"""Workers that are killed again and again while customers buy from them, and then all at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from random import Random
from typing import TYPE_CHECKING

import httpx
import psutil
from stellar_sdk import Keypair

from mpp_asgi.stellar.sponsor_accounts import channel_accounts
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
    accounts: int = 20
    """That lend the sponsor's transactions their sequence numbers."""
    seed: int = 0


async def fight(network: Network, store: str, folder: Path, plan: Plan) -> Account:
    """Sell for a while under fire, kill all there is, start anew, and sell in peace until everybody
    has what was begun; and count."""
    trace = folder / "trace.txt"
    trace.touch()
    lend_numbers(network, plan.accounts)
    settings = network.settings | {
        "MPP_STORE": store,
        "MPP_SPONSOR_ACCOUNTS": str(plan.accounts),
        "TRACE": str(trace),
    }
    shop = partial(running_app, APP, "--workers", str(plan.workers), settings=settings)
    random = Random(plan.seed)
    with ExitStack() as servers:
        url, server = servers.enter_context(shop())
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
            kills += kill_all(server.process.pid)
            await asyncio.to_thread(servers.enter_context, shop(port=httpx.URL(url).port))
        await asyncio.gather(*(each.leave() for each in customers if each.in_session))
        stuck = await stuck_records(store)
        grants = [Grant(*line.split()[:3]) for line in trace.read_text().splitlines()]
        return audit(network, customers, grants=grants, before=before, kills=kills, stuck=stuck)


def lend_numbers(network: Network, count: int) -> None:
    """Create the sponsor's channel accounts."""
    sponsor = Keypair.from_secret(network.settings["MPP_SPONSOR"])
    for account in channel_accounts(sponsor, count):
        query = {"addr": account.public_key}
        httpx.post(f"{network.url}/faucet", params=query).raise_for_status()


def kill_one(supervisor: int, random: Random) -> int:
    """SIGKILL one of the workers that are there; how many that were: one, or none."""
    workers = workers_of(supervisor)
    if not workers:
        return 0
    with suppress(psutil.NoSuchProcess):
        random.choice(workers).kill()
    return 1


def kill_all(supervisor: int) -> int:
    """SIGKILL the supervisor, and then every worker; how many workers that were."""
    workers = workers_of(supervisor)
    psutil.Process(supervisor).kill()  # first, or it would start others
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    psutil.wait_procs(workers)  # their port is free then
    return len(workers)


def workers_of(supervisor: int) -> list[psutil.Process]:
    """Those that are alive, by number."""
    children = psutil.Process(supervisor).children()
    return sorted((child for child in children if _is_alive(child)), key=attrgetter("pid"))


def _is_alive(child: psutil.Process) -> bool:
    """And no helper of the supervisor's."""
    try:
        return "resource_tracker" not in " ".join(child.cmdline())
    except psutil.Error:
        return False  # it is dead and not buried yet, or was never to be seen
