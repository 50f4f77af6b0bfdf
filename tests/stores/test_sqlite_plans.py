"""No call of a SQLite store looks through all there is, so a million records cost what ten do.

What SQLite does for a statement is asked of SQLite; nothing here takes any time.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.contract import State
from mpp_asgi.stores.kept_answers import KeptAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


GROWING = {"charge", "proof", "envelope", "budget", "answer", "channel"}
"""What there may be a million of. Of the rest there are as many as processes, jobs or accounts."""

Call = "Callable[[SqliteStore], Awaitable[object]]"


@pytest.fixture
async def plans(sqlite_store) -> Callable[[Call], Awaitable[list[str]]]:
    """Tells how SQLite goes about every statement of a call."""

    async def in_thread(work):
        return await asyncio.get_running_loop().run_in_executor(sqlite_store._thread, work)

    async def plan(call: Call) -> list[str]:
        connection = sqlite_store._connection
        statements: list[str] = []
        await in_thread(lambda: connection.set_trace_callback(statements.append))
        await call(sqlite_store)
        await in_thread(lambda: connection.set_trace_callback(None))
        asked = [s for s in statements if s.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")]
        assert asked

        def explain() -> list[str]:
            return [
                detail
                for statement in asked
                for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
            ]

        return await in_thread(explain)

    return plan


def read_whole(plan: list[str]) -> set[str]:
    """The tables, and the indexes of them, that are read from one end to the other."""
    scans = (re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step) for step in plan)
    return {scan[2] or scan[1] for scan in scans if scan}


@pytest.fixture
async def filled(sqlite_store, new_charge, new_channel) -> None:
    """Something of each kind is there, so that calls have something to do."""
    await sqlite_store.claim(new_charge(), ["tx:1"], now=0)
    await sqlite_store.add_channel(new_channel(accepted=9))
    await sqlite_store.draw([Budget("day", 9, 9)], 1)
    await sqlite_store.keep_answer(KeptAnswer("key", "r", b"", 9), now=0)


CALLS: dict[str, Callable[..., Call]] = {
    "claim": lambda charge: lambda store: store.claim(charge("b"), ["tx:2"], now=0),
    "claim again": lambda charge: lambda store: store.claim(charge(), ["tx:1"], now=0),
    "write": lambda charge: (
        lambda store: store.write(charge(state=State.SUBMITTED), ["nonce:1"], owner="w")
    ),
    "release": lambda charge: lambda store: store.release("challenge", owner="w"),
    "get": lambda charge: lambda store: store.get("challenge"),
    "purge": lambda charge: lambda store: store.purge(now=2000, limit=10),
    "heartbeat": lambda charge: lambda store: store.heartbeat("w", alive_until=1),
    "spend": lambda charge: (
        lambda store: store.spend(
            "channel", amount=9, signature="s", cost=1, units=1, min_delta=0, now=0
        )
    ),
    "channels": lambda charge: lambda store: store.channels(limit=9),
    "forget channels": lambda charge: lambda store: store.forget_channels(used_before=9, limit=9),
    "lease": lambda charge: lambda store: store.lease("guard", owner="w", until=1, now=0),
    "borrow": lambda charge: lambda store: store.borrow(["GA", "GB"], until=9, now=0),
    "draw": lambda charge: lambda store: store.draw([Budget("day", 9, 9)], 1),
    "put back": lambda charge: lambda store: store.put_back(["day"], 1),
    "drawn": lambda charge: lambda store: store.drawn("day"),
    "keep answer": lambda charge: (
        lambda store: store.keep_answer(KeptAnswer("another", "r", b"", 9), now=0)
    ),
    "kept answer": lambda charge: lambda store: store.kept_answer("key", now=0),
}


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("name", CALLS)
async def test_a_call_reads_nothing_whole_that_grows(plans, new_charge, name):
    whole = read_whole(await plans(CALLS[name](new_charge)))
    assert not whole & GROWING
    assert not [index for index in whole if index.endswith("_by_expiry")]


@pytest.mark.usefixtures("filled")
async def test_looking_for_open_charges_reads_those_that_are_unsettled(plans):
    """An index has these alone."""
    whole = read_whole(await plans(lambda store: store.open_charges(now=0, limit=10)))
    assert whole == {"charge_unsettled"}


@pytest.mark.usefixtures("filled")
async def test_a_purge_finds_what_is_over_by_its_time(plans):
    plan = " ".join(await plans(lambda store: store.purge(now=2000, limit=10)))
    for index in ("charge_by_expiry", "budget_by_expiry", "answer_by_expiry"):
        assert f"INDEX {index} (keep_until<?)" in plan


async def test_what_goes_with_a_charge_is_found(sqlite_store, another_connection):
    """SQLite's plans do not say what it does for a foreign key."""
    with another_connection(sqlite_store.path) as connection:
        for table in ("proof", "envelope"):
            deletion = f"DELETE FROM {table} WHERE charge_id = 'a'"
            (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {deletion}")
            assert plan[-1].startswith(f"SEARCH {table} USING")
