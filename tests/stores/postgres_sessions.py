"""What others do on the server beside a store, and looking on until a store gets that far."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import asyncpg

from mpp_asgi.stores.postgres.connection import Target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATIENCE = 60.0


@contextlib.asynccontextmanager
async def another_session(url: str) -> AsyncIterator[asyncpg.Connection]:
    """In the schema of the store's URL."""
    target = Target.from_url(url)
    connection = await asyncpg.connect(
        target.url, server_settings={"search_path": target.schema, "application_name": "another"}
    )
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def table_locked(url: str, table: str) -> AsyncIterator[None]:
    """Nobody else reads or writes it meanwhile."""
    async with another_session(url) as session, session.transaction():
        await session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


async def waiting(url: str, how_many: int) -> list[int]:
    """The server processes of the store of that URL, once so many of them wait for a lock."""
    return await _waiting(url, lambda pids: len(pids) >= how_many)


async def nobody_waits(url: str) -> None:
    """Returns once no server process of the store waits for a lock."""
    await _waiting(url, lambda pids: not pids)


async def _waiting(url: str, enough: Callable[[list[int]], bool]) -> list[int]:
    deadline = time.monotonic() + PATIENCE
    async with another_session(url) as session:
        while time.monotonic() < deadline:
            rows = await session.fetch(
                "SELECT pid FROM pg_stat_activity"
                " WHERE application_name = $1 AND wait_event_type = 'Lock'",
                Target.from_url(url).application,
            )
            if enough(pids := [pid for (pid,) in rows]):
                return pids
            await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def states(url: str) -> list[str]:
    """What the server says of the store's connections, in its words."""
    async with another_session(url) as session:
        rows = await session.fetch(
            "SELECT state FROM pg_stat_activity WHERE application_name = $1",
            Target.from_url(url).application,
        )
    return [state for (state,) in rows]


async def processes(url: str) -> list[int]:
    """The server's, that serve the store."""
    async with another_session(url) as session:
        rows = await session.fetch(
            "SELECT pid FROM pg_stat_activity WHERE application_name = $1",
            Target.from_url(url).application,
        )
    return [pid for (pid,) in rows]


async def end(url: str) -> None:
    """End every connection of the store."""
    async with another_session(url) as session:
        await session.fetch(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE application_name = $1",
            Target.from_url(url).application,
        )
