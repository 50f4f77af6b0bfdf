"""What a PostgreSQL store holds open, and that it lets go of it however it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.postgres.schema import MIGRATION_LOCK
from mpp_asgi.stores.postgres.store import PostgresStore
from tests.stores.postgres_sessions import PATIENCE, another_session, states, waiting
from tests.stores.silent_host import silent_host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def url(postgres_urls) -> str:
    return postgres_urls()


@pytest.fixture
def new_url(postgres_schemas) -> Iterator[str]:
    """Of a schema that is not there yet."""
    name = postgres_schemas.new()
    yield postgres_schemas.url(name)
    postgres_schemas.drop(name)


def no_thread_is_left() -> None:
    """Returns once none runs."""
    for thread in threading.enumerate():
        if thread.name == "mpp-postgres":
            thread.join(PATIENCE)
            assert not thread.is_alive()


async def nothing_is_left(url: str) -> None:
    """Returns once no thread runs and the server has no connection."""
    no_thread_is_left()
    deadline = time.monotonic() + PATIENCE
    while await states(url):
        assert time.monotonic() < deadline


async def test_a_store_that_is_opened_twice_at_once_is_open_once(url):
    store = PostgresStore.from_url(url)
    await asyncio.gather(store.open(), store.open())
    assert await store.get("challenge") is None
    await store.close()
    await nothing_is_left(url)


async def test_an_opening_that_is_cancelled_while_it_connects_stops():
    async with silent_host() as host:
        url = f"postgresql://mpp@127.0.0.1:{host.port}/db?timeout=999"
        opening = asyncio.create_task(PostgresStore.from_url(url).open())
        await host.is_asked.wait()
        await cancelled(opening)
        await host.is_left_alone()
        no_thread_is_left()


async def test_an_opening_that_is_cancelled_while_another_migrates_stops(new_url):
    url = f"{new_url}&timeout=999"
    store = PostgresStore.from_url(url)
    async with another_session(url) as session, session.transaction():
        await session.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        opening = asyncio.create_task(store.open())
        await waiting(url, 1)
        await cancelled(opening)
        await nothing_is_left(url)
    await store.open()  # another time
    assert await store.get("challenge") is None
    await store.close()


async def cancelled(opening: asyncio.Task[None]) -> None:
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(opening, PATIENCE)


async def test_a_store_that_is_dropped_and_not_closed_lets_go(url):
    """Wherever its finalizer runs, as amid a call of another store's."""
    store = PostgresStore.from_url(url)
    await store.open()
    with store._connections._handing_over:
        del store
        gc.collect()
    await nothing_is_left(url)


def test_a_store_that_is_dropped_after_its_event_loop_lets_go(url):
    asyncio.run(PostgresStore.from_url(url).open())
    gc.collect()
    asyncio.run(nothing_is_left(url))


FORKED = """
import asyncio, os, signal, sys
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.postgres.store import PostgresStore

async def in_child():
    try:
        await store.get("challenge")
    except StoreUnavailableError as error:
        print(error)
    await other.close()
    await store.open()
    print("child", await store.drawn("budget"))
    await store.close()

store, other = PostgresStore.from_url(sys.argv[1]), PostgresStore.from_url(sys.argv[1])
asyncio.run(store.open())
asyncio.run(other.open())
if os.fork():
    os.wait()
    print("parent", asyncio.run(store.drawn("budget")))
    asyncio.run(store.close())
    asyncio.run(other.close())
else:
    signal.alarm(60)
    asyncio.run(in_child())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_process_that_was_forked_from_one_with_an_open_store_has_to_open_it(url):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
    )
    assert done.stdout.splitlines() == [
        "The PostgreSQL store was opened before this process was forked: open it in each.",
        "child 0",
        "parent 0",
    ]
    assert done.stderr == ""
