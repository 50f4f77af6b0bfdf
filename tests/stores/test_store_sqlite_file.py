"""The SQLite file: private, versioned, and honest about trouble."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import sqlite3
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.contract import Outcome, State, StoreUnavailableError
from mpp_asgi.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "charges.db"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(file, busy_timeout=0.01)
    await store.open()
    yield store
    await store.close()


@contextlib.contextmanager
def another_connection(file: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        yield connection


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


async def test_a_commit_waits_for_the_disk(store):
    """What durable means to SQLite; that a process may die is tested with real ones."""

    def settings() -> list[object]:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "fullfsync")
        return [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]

    full = 2
    found = await asyncio.get_running_loop().run_in_executor(store._thread, settings)
    assert found == ["wal", full, 1, 1]


# files that cannot be opened


async def test_a_newer_schema_is_refused_and_left_alone(file):
    store = SqliteStore(file)
    await store.open()
    await store.close()
    with another_connection(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = file.read_bytes()
    sentence = await refusal(file)
    assert "a newer mpp-asgi wrote it (schema 99, this one knows 1); upgrade mpp-asgi" in sentence
    assert file.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1])
async def test_another_programs_database_is_refused_and_left_alone(file, version):
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


async def test_a_file_that_stays_locked_is_refused(file):
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


# trouble while it is open


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
    ):
        with pytest.raises(StoreUnavailableError) as caught:
            await call
        assert str(caught.value) == f"The SQLite store failed: {why}."


async def nothing_changed(store: SqliteStore, new_charge) -> None:
    assert await store.get("b") is None
    assert await store.get("kept") == new_charge("kept")
    assert (await store.claim(new_charge("a"), ["tx:kept"], now=0)).outcome is Outcome.CONFLICT
    assert (await store.claim(new_charge("b"), ["tx:b"], now=0)).outcome is Outcome.NEW
    # No heartbeat got through.
    assert (await store.claim(new_charge("kept", owner="v"), [], now=0)).outcome is Outcome.TAKEN


async def test_while_another_process_keeps_it_locked_nothing_is_written(store, file, new_charge):
    await store.claim(new_charge("kept"), ["tx:kept"], now=0)
    with another_connection(file) as connection:
        connection.execute("BEGIN IMMEDIATE")
        await calls_fail(store, new_charge, "another process kept it locked for too long")
        assert await store.get("kept") == new_charge("kept")  # reading goes on
        assert len(await store.open_charges(now=0, limit=10)) == 1
        connection.execute("ROLLBACK")
    await nothing_changed(store, new_charge)


async def test_when_the_disk_fails_nothing_is_written(store, file, new_charge):
    await store.claim(new_charge("kept"), ["tx:kept"], now=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # no file may grow: commits fail
    try:
        await calls_fail(store, new_charge, "its disk failed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await nothing_changed(store, new_charge)


async def test_when_the_disk_is_full_nothing_is_written(store, new_charge):
    await store.claim(new_charge("kept"), ["tx:kept"], now=0)

    async def limit_pages(most: int) -> None:
        loop = asyncio.get_running_loop()
        statement = f"PRAGMA max_page_count = {most}"
        await loop.run_in_executor(store._thread, store._connection.execute, statement)

    await limit_pages(1)  # SQLite's own way to be out of space
    big = new_charge("kept", state=State.SUBMITTED, envelope="A" * 100_000)
    with pytest.raises(StoreUnavailableError, match="its disk is full"):
        await store.write(big, ["tx:b"], owner="w")
    await limit_pages(1_000_000)
    await nothing_changed(store, new_charge)


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


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_was_removed_is_not_written_to(store, file, new_charge, replaced):
    """What went there would be acknowledged and lost."""
    await store.claim(new_charge("kept"), [], now=0)
    file.rename(file.with_name("away.db"))
    if replaced:
        other = SqliteStore(file)
        await other.open()
        await other.close()
    for call in (store.claim(new_charge("b"), [], now=0), store.get("kept")):
        with pytest.raises(StoreUnavailableError, match="removed or replaced: restart"):
            await call


async def test_a_wait_for_the_lock_does_not_block_the_event_loop(file, new_charge):
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


async def test_a_call_cancelled_while_it_waits_for_the_lock_leaves_no_transaction(file, new_charge):
    store = SqliteStore(file, busy_timeout=60)
    await store.open()
    with another_connection(file) as connection:
        connection.execute("BEGIN IMMEDIATE")
        under_way = asyncio.create_task(store.claim(new_charge("a"), ["tx:a"], now=0))
        queued = asyncio.create_task(store.claim(new_charge("b"), ["tx:b"], now=0))
        await asyncio.sleep(0)
        under_way.cancel()
        queued.cancel()
        await asyncio.gather(under_way, queued, return_exceptions=True)
        connection.execute("ROLLBACK")
    assert (await store.claim(new_charge("c"), [], now=0)).outcome is Outcome.NEW
    assert await store.get("b") is None  # its turn had not come
    with another_connection(file) as connection:
        connection.execute("BEGIN IMMEDIATE")  # the store holds no lock
        connection.execute("ROLLBACK")
    await store.close()
