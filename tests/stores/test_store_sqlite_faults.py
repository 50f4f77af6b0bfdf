"""What a SQLite store does in trouble: it fails whole, says so, and goes on when it can."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import threading
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.channels import Channel, SpendOutcome
from mpp_asgi.stores.contract import Outcome, State, StoreUnavailableError
from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.loans import Loan
from mpp_asgi.stores.sqlite.store import SqliteStore
from tests.stores import racing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CHANNEL = Channel(
    id="channel",
    key="ab" * 32,
    funder="GF",
    recipient="GR",
    token="CT",
    waiting_period=100,
    deposited=100_000,
    settled=0,
    seen_ledger=5,
    opened_at=0,
    accepted=3,
    signature="s",
    spent=1,
)
SPEND = {"amount": 3, "signature": "s" * 10_000, "cost": 1, "units": 1, "min_delta": 0, "now": 0}
LOAN = Loan("GA", 1, None)
BUDGET = Budget("day", limit=9, keep_until=1000)
ANSWER = KeptAnswer("kept", "r", b"yes", keep_until=1000)


async def keep_something(store: SqliteStore, new_charge) -> None:
    await store.claim(new_charge("kept"), ["tx:kept"], now=0)
    await store.add_channel(CHANNEL)
    await store.lease("held", owner="w", until=9, now=0)
    assert await store.borrow(["GA"], until=9, now=0) == LOAN
    await store.draw([BUDGET], 5)
    await store.keep_answer(ANSWER, now=0)


async def calls_fail(store: SqliteStore, new_charge, why: str) -> None:
    """Every call that writes fails with a sentence that gives nothing away."""
    submitted = new_charge("kept", state=State.SUBMITTED, envelope="A" * 10_000)
    for call in (
        store.claim(new_charge("b"), ["tx:b"], now=0),
        store.claim(new_charge("kept", owner="v"), ["tx:b"], now=0),
        store.write(submitted, ["tx:b"], owner="w"),
        store.heartbeat("w", alive_until=10),
        store.release("kept", owner="w"),
        store.purge(now=1000, limit=10),
        store.secret(),
        store.add_channel(CHANNEL._replace(id="other")),
        store.spend(CHANNEL.id, **(SPEND | {"amount": 10_000})),
        store.give_back(CHANNEL.id, cost=1, units=1),
        store.observe(
            CHANNEL.id, ledger=9, deposited=9, settled=9, closes_at=9, closed=True, now=0
        ),
        store.begin_close(CHANNEL.id, amount=1, signature="t" * 10_000, now=0),
        store.lease("guard", owner="w", until=9, now=0),
        store.release_lease("held", owner="w"),
        store.borrow(["GB"], until=9, now=0),
        store.prolong(LOAN, until=99),
        store.hand_back(LOAN, sequence=7, free_at=0),
        store.forget_loans(["GA"]),
        store.draw([BUDGET], 1),
        store.put_back(["day"], 1),
        store.keep_answer(ANSWER._replace(key="other", content=b"A" * 10_000), now=0),
    ):
        with pytest.raises(StoreUnavailableError) as caught:
            await call
        assert str(caught.value) == f"The SQLite store failed: {why}."


async def nothing_changed(store: SqliteStore, new_charge) -> None:
    assert await store.get("b") is None
    assert await store.get("kept") == new_charge("kept")
    assert (await store.claim(new_charge("a"), ["tx:kept"], now=0)).outcome is Outcome.CONFLICT
    assert (await store.claim(new_charge("b"), ["tx:b"], now=0)).outcome is Outcome.NEW
    assert list(await store.channels(limit=9)) == [CHANNEL]
    assert not await store.lease("held", owner="v", until=9, now=0)
    assert await store.lease("guard", owner="v", until=9, now=0)
    assert (await store.spend(CHANNEL.id, **SPEND)).outcome is SpendOutcome.SPENT
    assert await store.borrow(["GA", "GB"], until=9, now=8) == Loan("GB", 2, None)
    assert (await store.borrow(["GA"], until=9, now=9)).sequence is None
    assert await store.drawn("day") == 5
    assert await store.kept_answer("kept", now=0) == ANSWER
    assert await store.kept_answer("other", now=0) is None
    # No heartbeat got through.
    assert (await store.claim(new_charge("kept", owner="v"), [], now=0)).outcome is Outcome.TAKEN


async def test_while_another_process_keeps_it_locked_nothing_is_written(
    another_connection, sqlite_store, file, new_charge
):
    await keep_something(sqlite_store, new_charge)
    with another_connection(file) as connection:
        connection.execute("BEGIN IMMEDIATE")
        await calls_fail(sqlite_store, new_charge, "another process kept it locked for too long")
        assert await sqlite_store.get("kept") == new_charge("kept")  # reading goes on
        assert len(await sqlite_store.open_charges(now=0, limit=10)) == 1
        connection.execute("ROLLBACK")
    await nothing_changed(sqlite_store, new_charge)


async def test_when_the_disk_fails_nothing_is_written(sqlite_store, file, new_charge):
    await keep_something(sqlite_store, new_charge)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # no file may grow: commits fail
    try:
        await calls_fail(sqlite_store, new_charge, "its disk failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await nothing_changed(sqlite_store, new_charge)


async def test_when_the_disk_is_full_nothing_is_written(sqlite_store, new_charge):
    await keep_something(sqlite_store, new_charge)

    async def limit_pages(most: int) -> None:
        loop = asyncio.get_running_loop()
        statement = f"PRAGMA max_page_count = {most}"
        await loop.run_in_executor(
            sqlite_store._thread, sqlite_store._connection.execute, statement
        )

    await limit_pages(1)  # SQLite's own way to be out of space
    big = new_charge("kept", state=State.SUBMITTED, envelope="A" * 100_000)
    with pytest.raises(StoreUnavailableError, match="its disk is full"):
        await sqlite_store.write(big, ["tx:b"], owner="w")
    await limit_pages(1_000_000)
    await nothing_changed(sqlite_store, new_charge)


async def test_damage_is_reported_and_the_store_still_closes(file, new_charge):
    store = SqliteStore(file)
    await store.open()
    await store.claim(new_charge("kept"), ["tx:kept"], now=0)
    await store.close()
    pages = file.read_bytes()
    file.write_bytes(pages[:4096] + b"\xa5" * (len(pages) - 4096))
    await store.open()  # the first page tells the schema, and is whole
    with pytest.raises(StoreUnavailableError, match="its file is damaged"):
        await store.claim(new_charge("b"), ["tx:b"], now=0)
    with pytest.raises(StoreUnavailableError, match="its file is damaged"):
        await store.get("kept")
    await store.close()


def log_of(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


async def in_a_process(*command: str) -> None:
    """Have a process of its own do something in a file and end."""

    def wait() -> None:
        with racing.processes("store_process", command) as (process,):
            process.communicate()

    await asyncio.to_thread(wait)


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("linked", [False, True])
async def test_a_file_whose_log_was_removed_is_not_written_to(file, new_charge, replaced, linked):
    """What goes into a log without a name is gone if this process is killed."""
    store = SqliteStore(file)
    if linked:
        (file.parent / "elsewhere").mkdir()
        file.symlink_to(file.parent / "elsewhere" / "real.db")
    await store.open()
    await store.claim(new_charge("kept"), [], now=0)
    log_of(file.resolve()).unlink()
    if replaced:
        await in_a_process("die", f"sqlite:///{file}", "other", "claim")
        assert log_of(file.resolve()).exists()
    for call in (store.claim(new_charge("b"), [], now=0), store.get("kept")):
        with pytest.raises(StoreUnavailableError, match=r"-wal .* removed or replaced: restart"):
            await call
    await store.close()


@pytest.mark.parametrize("task", [("race",), ("die", "claim")], ids="-".join)
async def test_processes_that_come_and_go_leave_the_log_to_those_who_stay(file, new_charge, task):
    """The first of all included; and those that are killed."""
    url = f"sqlite:///{file}"
    first, store = SqliteStore(file), SqliteStore(file)
    await first.open()
    await store.open()
    await first.close()
    for number in range(2):
        await in_a_process(task[0], url, f"other{number}", *task[1:])
        assert (await store.claim(new_charge(f"{number}"), [], now=0)).outcome is Outcome.NEW
    await store.close()
    assert not log_of(file).exists()  # nobody stays
    await store.open()
    assert await store.get("1") == new_charge("1")
    await store.close()


async def test_what_shells_and_checkpoints_do_to_the_log_disturbs_nobody(
    another_connection, sqlite_store, file, new_charge
):
    with another_connection(file) as shell, another_connection(file.with_name("copy")) as copy:
        for number, do in enumerate(
            (
                lambda: shell.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone(),
                lambda: shell.execute("VACUUM"),
                lambda: shell.backup(copy),
                lambda: shell.execute("PRAGMA wal_checkpoint(RESTART)").fetchone(),
                shell.close,
            )
        ):
            await sqlite_store.claim(new_charge(f"{number}"), [], now=0)
            do()
            assert await sqlite_store.get(f"{number}") == new_charge(f"{number}")
    assert (await sqlite_store.claim(new_charge("last"), [], now=0)).outcome is Outcome.NEW


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_was_removed_is_not_written_to(sqlite_store, file, new_charge, replaced):
    """What went there would be acknowledged and lost."""
    await sqlite_store.claim(new_charge("kept"), [], now=0)
    file.rename(file.with_name("away.db"))
    if replaced:
        other = SqliteStore(file)
        await other.open()
        await other.close()
    for call in (sqlite_store.claim(new_charge("b"), [], now=0), sqlite_store.get("kept")):
        with pytest.raises(StoreUnavailableError, match="removed or replaced: restart"):
            await call


async def test_a_wait_for_the_lock_does_not_block_the_event_loop(
    another_connection, file, new_charge
):
    store = SqliteStore(file, busy_timeout=60)
    await store.open()
    with another_connection(file) as connection:
        connection.execute("BEGIN IMMEDIATE")
        claim = asyncio.create_task(store.claim(new_charge(), [], now=0))
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not claim.done()
        connection.execute("ROLLBACK")
    assert (await claim).outcome is Outcome.NEW
    await store.close()


async def test_a_call_cancelled_while_it_waits_for_the_lock_leaves_no_transaction(
    another_connection, file, new_charge
):
    store = SqliteStore(file, busy_timeout=60)
    await store.open()
    with another_connection(file) as connection:
        connection.execute("BEGIN IMMEDIATE")
        claim = asyncio.create_task(store.claim(new_charge("a"), ["tx:a"], now=0))
        for _ in range(1000):  # by then its thread waits, or soon will: either must do
            await asyncio.sleep(0)
        claim.cancel()
        await asyncio.gather(claim, return_exceptions=True)
        connection.execute("ROLLBACK")
        assert (await store.claim(new_charge("b"), [], now=0)).outcome is Outcome.NEW
        connection.execute("BEGIN IMMEDIATE")  # the store holds no lock
        connection.execute("ROLLBACK")
    used = await store.claim(new_charge("c"), ["tx:a"], now=0)
    written = await store.get("a") is not None
    assert used.outcome is (Outcome.CONFLICT if written else Outcome.NEW)
    await store.close()


@contextlib.contextmanager
def thread_held_up(store: SqliteStore) -> Iterator[None]:
    """Whatever is called meanwhile waits for its turn."""
    gate = threading.Event()
    store._thread.submit(gate.wait)
    try:
        yield
    finally:
        gate.set()


async def test_a_call_cancelled_before_its_turn_never_happens(sqlite_store, new_charge):
    with thread_held_up(sqlite_store):
        claim = asyncio.create_task(sqlite_store.claim(new_charge("a"), ["tx:a"], now=0))
        await asyncio.sleep(0)
        claim.cancel()
        await asyncio.gather(claim, return_exceptions=True)
    assert await sqlite_store.get("a") is None
    assert (await sqlite_store.claim(new_charge("b"), ["tx:a"], now=0)).outcome is Outcome.NEW


async def test_a_close_cancelled_before_its_turn_happens_all_the_same(sqlite_store):
    with thread_held_up(sqlite_store):
        closing = asyncio.create_task(sqlite_store.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
    with pytest.raises(StoreUnavailableError, match="not open"):
        await sqlite_store.get("a")


async def test_a_process_that_was_forked_with_the_store_open_is_told_so(file, new_charge):
    """Its parent goes on."""
    with racing.processes("store_process", ("fork", f"sqlite:///{file}", "w")) as (process,):
        said = process.communicate()[0].splitlines()
    refused = "in use before this process was forked: each process has to open its own."
    assert [line.endswith(refused) for line in said] == [True, True, True, False]
    assert said[3] == "closed"
    store = SqliteStore(file)
    await store.open()
    assert await store.get("parent") == new_charge("parent", credential="c")
    assert await store.get("child") is None
    await store.close()
