"""Servers for the stores that need one, with their data on this machine's disk."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class UnavailableError(Exception):
    """There is no such server here; the message says why."""


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a new PostgreSQL, which waits for the disk.

    Raises:
        UnavailableError: there is none.
    """
    from tests import database  # noqa: PLC0415 # which not every machine has a server for

    try:
        running = database.server(fsync="on", full_page_writes="on")
    except database.UnavailableError as error:
        raise UnavailableError(str(error)) from None
    with running as server:
        yield server.url


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The URL of a new Redis, which waits for the disk.

    Raises:
        UnavailableError: there is none.
    """
    import pytest  # noqa: PLC0415 # as above

    from tests import redis_server  # noqa: PLC0415

    try:
        server = redis_server.RedisProcess(folder, *redis_server.DURABLE)
    except pytest.skip.Exception as error:
        raise UnavailableError(str(error)) from None
    server.start()
    try:
        yield server.url
    finally:
        server.kill()
