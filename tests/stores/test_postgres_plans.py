"""No call of a PostgreSQL store reads a table from end to end, so that none gets slower with time.

The server counts that itself, of every statement that really ran, in functions, too.
"""

from __future__ import annotations

import pytest

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.channels import ChannelStatus
from mpp_asgi.stores.contract import State
from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.postgres.store import PostgresStore
from tests.stores.postgres_sessions import another_session

MANY = 3000
LARGE = ("charge", "proof", "channel", "budget", "answer", "loan")
"""The others have a row for each process or job."""


@pytest.fixture
async def store(postgres_urls, new_charge, new_channel):
    """Full, and its server knows how full. With one connection, that can be asked what it did."""
    url = f"{postgres_urls()}&connections=1"
    store = PostgresStore.from_url(url)
    await store.open()
    await store.claim(new_charge("c0", keep_until=10**6), ["p0"], now=0)
    await store.add_channel(new_channel("c0"))
    async with another_session(url) as session:
        for fill in FILL:
            await session.execute(fill, MANY)
        for table in LARGE:
            await session.execute(f"ANALYZE {table}")
    yield store
    await store.close()


FILL = (
    """INSERT INTO charge (id, credential, state, keep_until)
       SELECT 'c' || n, 'c', CASE n % 100 WHEN 0 THEN 'submitted' ELSE 'delivered' END, n + 10000
       FROM generate_series(1, $1::integer) AS n""",
    "INSERT INTO proof SELECT 'p' || n, 'c' || n FROM generate_series(1, $1::integer) AS n",
    """INSERT INTO channel
       SELECT 'c' || n, key, funder, recipient, token, waiting_period, deposited, settled,
              seen_ledger, opened_at, closes_at, accepted, signature, published, spent, units,
              settled_units, CASE n % 10 WHEN 0 THEN 'closed' ELSE 'open' END, closing_amount,
              closing_signature, n, settled_at
       FROM channel, generate_series(1, $1::integer) AS n WHERE id = 'c0'""",
    "INSERT INTO budget SELECT 'b' || n, 0, n + 10000 FROM generate_series(1, $1::integer) AS n",
    "INSERT INTO answer SELECT 'a' || n, 'r', '', n + 10000"
    " FROM generate_series(1, $1::integer) AS n",
    "INSERT INTO loan SELECT 'G' || n, n, 0, n, n FROM generate_series(1, $1::integer) AS n",
)


async def scans(store: PostgresStore) -> dict[str, int]:
    """How often each large table was read from end to end."""

    async def ask(connection):
        await connection.execute("SELECT pg_stat_force_next_flush()")
        return await connection.fetch(
            "SELECT relname, seq_scan FROM pg_stat_user_tables"
            " WHERE schemaname = current_schema() AND relname = ANY ($1)",
            LARGE,
        )

    return dict(await store._connections.call(ask, within=60))


async def test_no_call_reads_a_whole_table(store, new_charge, new_channel):
    assert set(await scans(store)) == set(LARGE)
    facts = {"ledger": 99, "deposited": 9, "settled": 5, "closes_at": None, "closed": False}
    voucher = {"signature": "s", "now": 0}

    async def borrow():
        loan = await store.borrow([f"G{n}" for n in range(1, 30)], until=9, now=0)
        await store.prolong(loan, until=10)
        await store.hand_back(loan, sequence=1, free_at=1)

    calls = {
        "claim": lambda: store.claim(new_charge("new"), ["new1", "new2"], now=0),
        "claim again": lambda: store.claim(new_charge("new", owner="v"), ["new1", "p"], now=0),
        "claim in vain": lambda: store.claim(new_charge("c7"), ["p7"], now=0),
        "claim with another's proof": lambda: store.claim(new_charge("x"), ["y", "p7"], now=0),
        "write": lambda: store.write(
            new_charge("new", state=State.SUBMITTED, owner="v"), ["p9999"], owner="v"
        ),
        "write without a proof": lambda: store.write(new_charge("new", owner="v"), owner="v"),
        "release": lambda: store.release("new", owner="v"),
        "get": lambda: store.get("c7"),
        "open_charges": lambda: store.open_charges(now=0, limit=10),
        "purge": lambda: store.purge(now=10_005, limit=12),
        "channel": lambda: store.channel("c7"),
        "add_channel": lambda: store.add_channel(new_channel("new")),
        "add_channel again": lambda: store.add_channel(new_channel("c7")),
        "spend": lambda: store.spend("c7", amount=9, cost=1, units=1, min_delta=0, **voucher),
        "spend in vain": lambda: store.spend(
            "c7", amount=9, cost=99, units=1, min_delta=0, **voucher
        ),
        "publish": lambda: store.publish("c7", amount=5),
        "give_back": lambda: store.give_back("c7", cost=1, units=1),
        "observe": lambda: store.observe("c7", now=0, **facts),
        "begin_close": lambda: store.begin_close("c7", amount=1, **voucher),
        "cancel_close": lambda: store.cancel_close("c7", amount=1),
        "channels": lambda: store.channels(limit=10, after="c5"),
        "channels of a status": lambda: store.channels(limit=10, statuses=[ChannelStatus.CLOSED]),
        "forget_channels": lambda: store.forget_channels(used_before=100, limit=5),
        "borrow": borrow,
        "forget_loans": lambda: store.forget_loans(["G5", "G6"]),
        "draw": lambda: store.draw([Budget("b6", 9, 9), Budget("new", 9, 9)], 5),
        "draw too much": lambda: store.draw([Budget("b6", 9, 9), Budget("new", 9, 9)], 6),
        "put_back": lambda: store.put_back(["b6", "new"], 5),
        "drawn": lambda: store.drawn("b6"),
        "keep_answer": lambda: store.keep_answer(KeptAnswer("new", "r", b"", 9), now=0),
        "keep_answer again": lambda: store.keep_answer(KeptAnswer("a7", "r", b"", 9), now=0),
        "kept_answer": lambda: store.kept_answer("a7", now=0),
    }
    whole = []
    for name, call in calls.items():
        before = await scans(store)
        await call()
        if await scans(store) != before:
            whole.append(name)
    assert whole == []


async def test_spending_writes_no_index(store):
    """Its record stays where it is found; a full page is tidied up by the next spend on it."""
    await store.spend(
        "c7", amount=500, signature="s", cost=1, units=1, min_delta=0, now=0
    )  # the first may have to leave a page that was filled to the brim
    before = await written(store)
    for now in range(20):
        await store.spend("c7", amount=500, signature="s", cost=1, units=1, min_delta=0, now=now)
    updates, in_place = [after - b for after, b in zip(await written(store), before, strict=True)]
    assert (updates, in_place) == (20, 20)


async def written(store: PostgresStore) -> tuple[int, int]:
    """How many updates of channels there were, and how many wrote no index."""

    async def ask(connection):
        await connection.execute("SELECT pg_stat_force_next_flush()")
        return await connection.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
            " WHERE schemaname = current_schema() AND relname = 'channel'"
        )

    return tuple(await store._connections.call(ask, within=60))
