"""Stores of every backend, and what the tests build records with."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi.stores.channels import Channel
from mpp_asgi.stores.contract import Charge, State
from mpp_asgi.stores.sqlite.store import SqliteStore
from tests.stores.backends import BACKENDS, FOR_PROCESSES, patient_store, stores_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from mpp_asgi.stores.contract import Store


@pytest.fixture
def memory_urls() -> Callable[[], str]:
    """Every store is a storage of its own."""
    return lambda: "memory://"


@pytest.fixture
def sqlite_urls(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Files go to memory where there is a file system for that: nothing here cuts the power, so
    waiting for the disk would show nothing more. Tests of SQLite alone use the real disk.
    """
    memory_files = Path("/dev/shm")
    parent = memory_files if os.access(memory_files, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=parent, prefix="mpp-stores-") as directory:
        numbers = itertools.count()
        yield lambda: f"sqlite:///{directory}/{next(numbers)}.db"


@pytest.fixture(params=BACKENDS)
def new_storage(request: pytest.FixtureRequest) -> Callable[[], Callable[[], Store]]:
    """Makes an empty storage, as often as it is called. What it returns makes one more store on
    that storage, not open yet, as another process would."""
    new_url = request.getfixturevalue(BACKENDS[request.param])
    return lambda: stores_on(new_url())


@pytest.fixture(params=FOR_PROCESSES)
def url(request: pytest.FixtureRequest) -> str:
    """Of an empty storage that processes can share."""
    return request.getfixturevalue(BACKENDS[request.param])()


@pytest.fixture
def connect(new_storage: Callable[[], Callable[[], Store]]) -> Callable[[], Store]:
    """Makes one more store on one storage, not open yet."""
    return new_storage()


@pytest.fixture
async def stores(connect: Callable[[], Store]) -> AsyncIterator[tuple[Store, Store]]:
    """Two open stores on one storage, as two processes have them."""
    async with contextlib.AsyncExitStack() as closing:
        pair = connect(), connect()
        for store in pair:
            await store.open()
            closing.push_async_callback(store.close)
        yield pair


@pytest.fixture
def store(stores: tuple[Store, Store]) -> Store:
    return stores[0]


@pytest.fixture
async def look(url: str) -> AsyncIterator[Callable[[], Awaitable[Store]]]:
    """Opens a store on the storage at ``url``, to see what processes have left there."""
    async with contextlib.AsyncExitStack() as closing:

        async def opened() -> Store:
            store = patient_store(url)
            await store.open()
            closing.push_async_callback(store.close)
            return store

        yield opened


@pytest.fixture(scope="session")
def new_charge() -> Callable[..., Charge]:
    """Makes a charge as a worker claims it; anything may be said otherwise."""

    def make(charge_id: str = "challenge", **otherwise: Any) -> Charge:
        claimed = {"credential": "c" * 64, "state": State.CLAIMED, "keep_until": 1000, "owner": "w"}
        return Charge(id=charge_id, **(claimed | otherwise))

    return make


@pytest.fixture(scope="session")
def new_channel() -> Callable[..., Channel]:
    """Makes a channel as it is found on the ledger; anything may be said otherwise."""

    def make(channel_id: str = "channel", **otherwise: Any) -> Channel:
        found = {
            "key": "ab" * 32,
            "funder": "GF",
            "recipient": "GR",
            "token": "CT",
            "waiting_period": 100,
            "deposited": 1000,
            "settled": 0,
            "seen_ledger": 50,
            "opened_at": 7,
        }
        return Channel(id=channel_id, **(found | otherwise))

    return make


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test of the SQLite backend alone has its file."""
    return tmp_path / "charges.db"


@pytest.fixture
async def sqlite_store(file: Path) -> AsyncIterator[SqliteStore]:
    """Open, and not waiting for others. For its turn a call waits as long as the machine takes: no
    time passes."""
    store = SqliteStore(file, busy_timeout=0, monotonic=lambda: 0.0)
    await store.open()
    yield store
    await store.close()


@pytest.fixture(scope="session")
def another_connection() -> Callable[[Path], contextlib.AbstractContextManager[sqlite3.Connection]]:
    """Opens a file past the store, as another program does."""

    @contextlib.contextmanager
    def connect(file: Path) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
            yield connection

    return connect
