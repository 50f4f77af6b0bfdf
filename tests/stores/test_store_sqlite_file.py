"""The SQLite file: private, versioned, and honest about trouble."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.channels import SpendOutcome
from mpp_asgi.stores.contract import Outcome, State, StoreUnavailableError
from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.sqlite import file as sqlite_file
from mpp_asgi.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


def leave_as_before(connection: sqlite3.Connection, *, version: int) -> None:
    """Undo what later versions than that did to a file."""
    if version < 5:
        connection.execute("ALTER TABLE channel DROP COLUMN recent")
    if version < 4:
        connection.execute("ALTER TABLE charge ADD COLUMN envelope TEXT")
        connection.execute(
            "UPDATE charge SET envelope = (SELECT value FROM envelope WHERE charge_id = charge.id)"
        )
        for table in ("envelope", "loan", "loan_turn", "budget", "answer"):
            connection.execute(f"DROP TABLE {table}")
    if version < 3:
        connection.execute("ALTER TABLE channel DROP COLUMN published")
    if version < 2:
        connection.execute("DROP TABLE channel")
        connection.execute("DROP TABLE lease")
    connection.execute(f"PRAGMA user_version = {version}")


async def refusal(file: Path) -> str:
    """Why a file cannot be opened, in a sentence that names it."""
    store = SqliteStore(file)
    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.get("challenge")
    sentence = str(caught.value)
    assert re.fullmatch(rf"Cannot open the SQLite store {re.escape(str(file))}: [^.]*\.", sentence)
    return sentence


# the file itself


async def test_only_its_owner_may_read_it(file, new_charge):
    umask = os.umask(0)
    try:
        store = SqliteStore(file)
        await store.open()
        await store.claim(new_charge(), [], now=0)
        files = sorted(file.parent.iterdir())
        modes = [stat.S_IMODE(each.stat().st_mode) for each in files]
        await store.close()
    finally:
        os.umask(umask)
    assert [each.name for each in files] == ["charges.db", "charges.db-shm", "charges.db-wal"]
    assert modes == [0o600] * 3


async def test_an_empty_file_is_made_a_store(file, new_charge):
    file.touch()
    store = SqliteStore(file)
    await store.open()
    assert (await store.claim(new_charge(), [], now=0)).outcome is Outcome.NEW
    await store.close()


async def test_a_store_keeps_to_its_file_when_the_process_changes_directory(
    tmp_path, monkeypatch, new_charge
):
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("charges.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    await store.open()
    await store.claim(new_charge(), [], now=0)
    await store.close()
    assert (tmp_path / "charges.db").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_no_call_works_before_open_or_after_close(file, new_charge):
    store = SqliteStore(file)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="not open"):
            await store.claim(new_charge(), [], now=0)
        with pytest.raises(StoreUnavailableError, match="not open"):
            await store.get("challenge")
        await store.open()
        await store.close()


async def test_a_commit_waits_for_the_disk(sqlite_store):
    """What durable means to SQLite; that a process may die is tested with real ones."""

    def settings() -> list[object]:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "fullfsync")
        return [
            sqlite_store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas
        ]

    full = 2
    found = await asyncio.get_running_loop().run_in_executor(sqlite_store._thread, settings)
    assert found == ["wal", full, 1, 1]


async def test_a_file_of_the_first_schema_keeps_its_charges_and_gains_channels(
    another_connection, file, new_charge, new_channel
):
    store = SqliteStore(file)
    await store.open()
    await store.claim(new_charge(), ["tx:1"], now=0)
    secret = await store.secret()
    await store.close()
    with another_connection(file) as connection:
        leave_as_before(connection, version=1)
    for _ in range(2):
        await store.open()
        assert await store.get("challenge") == new_charge()
        assert (await store.claim(new_charge("b"), ["tx:1"], now=0)).outcome is Outcome.CONFLICT
        assert await store.secret() == secret
        assert await store.add_channel(new_channel()) == new_channel()
        assert await store.lease("guard", owner="w", until=1, now=0)
        await store.close()


async def test_a_file_of_the_second_schema_takes_every_voucher_for_published(
    another_connection, file, new_channel
):
    store = SqliteStore(file)
    await store.open()
    wide = new_channel(accepted=2**80, signature="s", spent=2**70, deposited=2**90)
    await store.add_channel(wide)
    await store.close()
    with another_connection(file) as connection:
        leave_as_before(connection, version=2)
    for _ in range(2):
        await store.open()
        assert await store.channel(wide.id) == wide._replace(published=2**80)
        await store.close()


async def test_a_file_of_the_third_schema_keeps_all_it_has_and_gains_loans_budgets_and_answers(
    another_connection, file, new_charge, new_channel
):
    store = SqliteStore(file)
    await store.open()
    submitted = new_charge(state=State.SUBMITTED, envelope="AAAA")
    await store.claim(new_charge(), ["tx:1"], now=0)
    await store.write(submitted, owner="w")
    await store.claim(new_charge("b"), ["tx:2"], now=0)
    await store.add_channel(new_channel(published=3))
    await store.close()
    with another_connection(file) as connection:
        leave_as_before(connection, version=3)
    await store.open()
    assert await store.get("challenge") == submitted
    assert await store.get("b") == new_charge("b")
    assert (await store.claim(new_charge("c"), ["tx:2"], now=0)).outcome is Outcome.CONFLICT
    assert await store.channel("channel") == new_channel(published=3)
    loan = await store.borrow(["GA"], until=9, now=0)
    assert await store.draw([Budget("day", 5, 9)], 5) is None
    answer = await store.keep_answer(KeptAnswer("k", "r", b"yes", 9), now=0)
    await store.close()
    await store.open()
    assert await store.borrow(["GA"], until=9, now=8) is None
    assert await store.hand_back(loan, sequence=7, free_at=0)
    assert await store.drawn("day") == 5
    assert await store.kept_answer("k", now=8) == answer
    await store.close()


async def test_a_file_of_the_fourth_schema_remembers_spends_from_now_on(
    another_connection, file, new_channel
):
    store = SqliteStore(file)
    await store.open()
    await store.add_channel(new_channel())
    await store.close()
    with another_connection(file) as connection:
        leave_as_before(connection, version=4)
    await store.open()
    assert await store.channel("channel") == new_channel()
    voucher = {"amount": 9, "signature": "s", "cost": 9, "units": 1, "min_delta": 0, "now": 1}
    for _ in range(2):
        spend = await store.spend("channel", **voucher, entry="0" * 15)
        assert (spend.outcome, spend.channel.spent) == (SpendOutcome.SPENT, 9)
    await store.close()


async def test_a_process_that_is_open_writes_nothing_once_a_newer_one_has_migrated_the_file(
    another_connection, file, new_charge
):
    store = SqliteStore(file)
    await store.open()
    await store.claim(new_charge("before"), [], now=0)
    with another_connection(file) as connection:
        connection.execute("ALTER TABLE charge ADD COLUMN tenant TEXT NOT NULL DEFAULT ''")
        connection.execute("PRAGMA user_version = 99")
        for call in (
            store.claim(new_charge("after"), [], now=0),
            store.release("before", owner="w"),
            store.get("before"),
        ):
            with pytest.raises(StoreUnavailableError, match=r"schema 99 now, .* knows 5: restart"):
                await call
        assert connection.execute("SELECT id FROM charge").fetchall() == [("before",)]
        connection.execute("BEGIN IMMEDIATE")  # the store holds no lock
        connection.rollback()
    await store.close()


async def test_processes_that_open_a_file_of_the_same_schema_disturb_nobody(
    another_connection, file, new_charge
):
    store = SqliteStore(file)
    await store.open()
    for number in range(2):
        other = SqliteStore(file)  # it writes the version anew
        await other.open()
        assert (await store.claim(new_charge(f"{number}"), [], now=0)).outcome is Outcome.NEW
        await other.close()
        assert await store.get(f"{number}") == new_charge(f"{number}")
    await store.close()


# files that cannot be opened


async def test_a_newer_schema_is_refused_and_left_alone(another_connection, file):
    store = SqliteStore(file)
    await store.open()
    await store.close()
    with another_connection(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = file.read_bytes()
    sentence = await refusal(file)
    assert "a newer mpp-asgi wrote it (schema 99, this one knows 5); upgrade mpp-asgi" in sentence
    assert file.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1])
async def test_another_programs_database_is_refused_and_left_alone(
    another_connection, file, version
):
    with another_connection(file) as connection:
        connection.execute("CREATE TABLE charge (mine)")
        connection.execute(f"PRAGMA user_version = {version}")
    before = file.read_bytes()
    assert "another program's database; give the store a file of its own" in await refusal(file)
    assert file.read_bytes() == before


async def test_what_is_no_database_is_refused_and_left_alone(file):
    file.write_bytes(b"Dear diary, " * 1000)
    assert "damaged or no SQLite database" in await refusal(file)
    assert file.read_bytes() == b"Dear diary, " * 1000


async def test_a_truncated_file_is_refused(file):
    store = SqliteStore(file)
    await store.open()
    await store.close()
    file.write_bytes(file.read_bytes()[:5000])
    assert "its file is damaged" in await refusal(file)


async def test_a_missing_directory_is_named(tmp_path):
    assert "its directory does not exist; create it" in await refusal(tmp_path / "no" / "x.db")


async def test_a_file_is_no_directory(file):
    file.touch()
    assert "its directory does not exist; create it" in await refusal(file / "x.db")


async def test_a_directory_is_no_store(tmp_path):
    assert "it is a directory" in await refusal(tmp_path)


async def test_a_name_too_long_is_refused(tmp_path):
    assert "File name too long" in await refusal(tmp_path / ("x" * 1000))


async def test_a_file_that_stays_locked_is_refused(another_connection, file):
    file.touch()
    with another_connection(file) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        store = SqliteStore(file, busy_timeout=0.01)
        with pytest.raises(StoreUnavailableError, match="kept it locked for too long"):
            await store.open()
        connection.execute("ROLLBACK")
    await store.open()
    await store.close()


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Be an ordinary user: nothing is forbidden to root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that ordinary users can get at; tmp_path lies in one of the test runner's own."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        directory.chmod(0o755)


async def test_an_unwritable_directory_is_refused(public_directory):
    public_directory.chmod(0o555)
    with without_privileges():
        sentence = await refusal(public_directory / "charges.db")
    assert "this process may not create files in its directory" in sentence


@pytest.mark.parametrize(
    ("file_mode", "directory_mode"), [(0o444, 0o777), (0o000, 0o777), (0o666, 0o555)]
)
async def test_an_unwritable_file_is_refused(public_directory, file_mode, directory_mode):
    file = public_directory / "charges.db"
    store = SqliteStore(file)
    await store.open()
    await store.close()
    file.chmod(file_mode)
    public_directory.chmod(directory_mode)
    with without_privileges():
        assert "this process may not write to its file or its directory" in await refusal(file)


# switching a new file to write-ahead logging while others do the same


def test_whoever_collides_over_a_new_file_waits_and_tries_again(another_connection, file):
    with another_connection(file) as ours, another_connection(file) as others:
        others.execute("BEGIN IMMEDIATE")

        def others_finish_once_we_wait(statement: str) -> None:
            if statement == "BEGIN EXCLUSIVE":
                others.rollback()

        ours.set_trace_callback(others_finish_once_we_wait)
        sqlite_file._use_write_ahead_log(ours)
        assert ours.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_whoever_collides_every_time_gives_up(another_connection, file):
    with another_connection(file) as ours, another_connection(file) as others:

        def others_come_back(statement: str) -> None:
            if statement == "BEGIN EXCLUSIVE":
                others.rollback()
            elif statement.startswith("PRAGMA"):
                others.execute("BEGIN IMMEDIATE")

        ours.set_trace_callback(others_come_back)
        with pytest.raises(sqlite_file._UnfitError, match="locked for too long"):
            sqlite_file._use_write_ahead_log(ours)


def test_a_reader_that_stays_is_waited_for_no_longer_than_the_timeout(another_connection, file):
    with another_connection(file) as ours, another_connection(file) as reader:
        ours.execute("CREATE TABLE something (x)")
        ours.execute("PRAGMA busy_timeout = 10")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM something").fetchall()
        statements: list[str] = []
        ours.set_trace_callback(statements.append)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sqlite_file._use_write_ahead_log(ours)
        assert statements == ["PRAGMA journal_mode = WAL", "BEGIN EXCLUSIVE"]


def test_where_there_is_no_write_ahead_logging_there_is_no_store(another_connection):
    nowhere = Path(":memory:")
    with (
        another_connection(nowhere) as connection,
        pytest.raises(sqlite_file._UnfitError, match="put it on a local disk"),
    ):
        sqlite_file._use_write_ahead_log(connection)


def test_what_waiting_does_not_cure_is_not_waited_for(another_connection, file):
    with another_connection(file) as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
            sqlite_file._use_write_ahead_log(connection)
