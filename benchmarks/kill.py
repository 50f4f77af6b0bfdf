"""Workers that are killed once a second while customers buy from them, over each store."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.results import Row, at_most, fact
from benchmarks.store_servers import UnavailableError, postgres, redis
from tests.kill.audit import WRONG
from tests.kill.battle import Plan, fight
from tests.servers import running_network

if TYPE_CHECKING:
    from collections.abc import Iterator

STORES = ("SQLite", "PostgreSQL", "Redis")
PLAN = Plan(seconds=120, every=1.0)


def run() -> list[Row]:
    """The counts of a run over each store."""
    rows = [
        *machine.rows(),
        fact("for each store", f"{PLAN.seconds:g}", "seconds"),
        fact("uvicorn workers, at last killed all at once", f"{PLAN.workers}"),
        fact("channel accounts of the sponsor", f"{PLAN.accounts}"),
        fact("customers who pay for each item", f"{PLAN.buyers}"),
        fact("customers with a channel", f"{PLAN.members}"),
        fact("seed", f"{PLAN.seed}"),
    ]
    for name in STORES:
        try:
            rows += _counts(name)
        except UnavailableError as error:
            rows.append(fact(f"{name}: not run", str(error)))
    return rows


def _counts(name: str) -> Iterator[Row]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        match name:
            case "SQLite":
                url = f"sqlite:///{folder}/payments.db"
            case "PostgreSQL":
                url = stack.enter_context(postgres())
            case _:
                url = stack.enter_context(redis(folder))
        network = stack.enter_context(running_network(close_interval=1))
        account = asyncio.run(fight(network, url, folder, PLAN))
    for each in fields(account):
        case, count = f"{name}: {each.name.replace('_', ' ')}", getattr(account, each.name)
        yield at_most(0, case, count, "") if each.name in WRONG else fact(case, count)
