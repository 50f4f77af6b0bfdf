"""The backends that every test of stores runs over.

Another one joins by one more entry in `BACKENDS`, and no test changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stores.redis.store import RedisStore
from mpp_asgi.stores.sqlite.store import SqliteStore
from mpp_asgi.stores.url import store_from_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.stores.contract import Store

BACKENDS = {
    "memory": "memory_urls",
    "sqlite": "sqlite_urls",
    "postgres": "postgres_urls",
    "redis": "redis_urls",
}
"""Each by the name of the fixture that gives its URLs: a function whose every call returns the URL
of one more storage, with nothing in it. A server's fixture lasts for the session, starts the server
(or is told in the environment where one runs), and is imported in conftest.py."""

FOR_PROCESSES = tuple(name for name in BACKENDS if name != "memory")
"""Those that several processes can share."""

PATIENCE = 60.0
"""Seconds to wait for another process's transaction, or a server's answer: tests share their
machine."""


def stores_on(url: str) -> Callable[[], Store]:
    """Makes one more store on the storage with every call, as another process would; none is open.

    The memory of a process is the only one it has, so there every store is the same.
    """
    if url == "memory://":
        only = store_from_url(url)
        return lambda: only
    return lambda: patient_store(url)


def patient_store(url: str) -> Store:
    """The store that a URL means, not open, and ready to wait for others."""
    store = store_from_url(url)
    if isinstance(store, SqliteStore):
        return SqliteStore(store.path, busy_timeout=PATIENCE)
    if isinstance(store, RedisStore):
        return RedisStore(store.server, timeout=PATIENCE)
    return store
