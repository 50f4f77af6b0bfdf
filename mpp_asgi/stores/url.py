"""Which store a URL means."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.redis.url import redis_server
from mpp_asgi.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from mpp_asgi.stores.contract import Store

FORMS = (
    "memory://, sqlite:///relative.db, sqlite:////absolute.db, "
    "postgresql://user:password@host:5432/database or redis://user:password@host:6379/0"
)

_POSTGRES_OPTIONS = ("schema", "connections", "timeout", "application_name")


def store_from_url(url: str) -> Store:
    """Choose a backend. The store is not open yet.

    - ``memory://``: this process's memory.
    - ``postgresql://…``, ``postgres://…``: a PostgreSQL database, in the driver's words; see
      `mpp_asgi.stores.postgres.connection.Target` for the options that are ours.
    - ``redis://…``, ``rediss://…``, ``redis+unix:///…``: a Redis server, see
      `mpp_asgi.stores.redis.url.redis_server`.
    - ``sqlite:///relative.db``, ``sqlite:////absolute.db``: a SQLite file. Percent-encoding is
      undone, so ``%3F`` and ``%23`` stand for ``?`` and ``#`` in a name.

    Raises:
        ValueError: no such backend, or no such form; the message is one sentence that says what to
            write. It repeats nothing of the URL but its scheme, since others carry passwords.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"The store's URL has no scheme: write {FORMS}.")
    match scheme.lower():
        case "memory":
            if rest:
                raise ValueError("A memory store has no name: write memory:// alone.")
            return MemoryStore()
        case "sqlite":
            return SqliteStore(_sqlite_path(rest))
        case "postgresql" | "postgres":
            return _postgres(url)
        case "redis" | "rediss" | "redis+unix":
            return _redis(url)
        case _:
            raise ValueError(f"There is no store for {scheme[:20]!r} URLs: write {FORMS}.")


def _postgres(url: str) -> Store:
    try:
        # An extra: nobody else has the driver.
        from mpp_asgi.stores.postgres.store import PostgresStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ValueError(
            "A PostgreSQL store needs its driver: run pip install 'mpp-asgi[postgres]'."
        ) from None
    _require_right_options(url)
    return PostgresStore.from_url(url)


def _require_right_options(url: str) -> None:
    """What is none of ours is the driver's, or a setting of the server's, which refuses what it
    does not know in its own words when somebody connects. So a slip of the pen is told here."""
    pairs = parse_qsl(url.partition("?")[2], keep_blank_values=True)
    for name, _ in pairs:
        close = get_close_matches(name.lower(), _POSTGRES_OPTIONS, n=1, cutoff=0.8)
        if close and name not in _POSTGRES_OPTIONS:
            raise ValueError(
                f"A PostgreSQL URL takes the options {', '.join(_POSTGRES_OPTIONS)}, and those of "
                f"PostgreSQL itself: write {close[0]}=."
            )


def _redis(url: str) -> Store:
    server = redis_server(url)
    try:
        # An extra: nobody else has the driver.
        from mpp_asgi.stores.redis.store import RedisStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "redis":
            raise
        raise ValueError(
            "A Redis store needs its driver: run pip install 'mpp-asgi[redis]'."
        ) from None
    return RedisStore(server)


def _sqlite_path(rest: str) -> Path:
    """What follows ``sqlite://`` as a path; the slash that ends the empty host is dropped."""
    host, slash, name = rest.partition("/")
    if host or not slash:
        raise ValueError(
            "A sqlite URL names a file after three slashes, or four if its path is absolute: write "
            "sqlite:///relative.db or sqlite:////absolute.db."
        )
    if "?" in name or "#" in name:
        raise ValueError(
            "A sqlite URL takes no options: leave out what follows ? or #, or write %3F or %23 if "
            "it belongs to the file's name."
        )
    path = unquote(name)
    if not path or path.endswith("/") or "\0" in path:
        raise ValueError("A sqlite URL ends with a file's name: write sqlite:///relative.db.")
    if path == ":memory:":
        raise ValueError("SQLite in memory cannot be shared by threads: write memory:// instead.")
    return Path(path)
