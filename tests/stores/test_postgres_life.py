"""What a PostgreSQL store holds open, and that it lets go of it however it ends."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from mpp_asgi.stores.postgres.store import PostgresStore
from tests.stores.postgres_sessions import PATIENCE, states


@pytest.fixture
def url(postgres_urls) -> str:
    return postgres_urls()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mpp-postgres"]


async def nothing_is_left(url: str) -> None:
    """Returns once no thread runs and the server has no connection."""
    deadline = time.monotonic() + PATIENCE
    for thread in threads():
        thread.join(PATIENCE)
        assert not thread.is_alive()
    while await states(url):
        assert time.monotonic() < deadline


async def test_a_store_that_is_opened_twice_at_once_is_open_once(url):
    store = PostgresStore.from_url(url)
    await asyncio.gather(store.open(), store.open())
    assert await store.get("challenge") is None
    await store.close()
    await nothing_is_left(url)
