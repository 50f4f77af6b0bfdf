"""The tables and functions behind a `PostgresStore`, and how a database gets them.

What has to be atomic is one statement or one function, so that a call is one round trip and holds
no lock while it waits for us. All functions run at READ COMMITTED, where each statement in them
sees what was committed by then. They lock in one order: a charge, then the heartbeat of its owner,
then proofs by key. Nobody waits for one of these while holding a later one, so no two calls wait
for each other.

A function is never changed: processes of an older version may be running. What it does anew has a
new name. What there is, say the modules of tables beside this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.postgres.channel_tables import CHANNELS, ENTRIES
from mpp_asgi.stores.postgres.charge_tables import CHARGES
from mpp_asgi.stores.postgres.resource_tables import BORROWING, RESOURCES

if TYPE_CHECKING:
    from mpp_asgi.stores.postgres.connection import Connection

MIGRATIONS: tuple[str, ...] = (CHARGES + CHANNELS + RESOURCES, ENTRIES + BORROWING)
"""What takes a database from each version to the next. Only ever added to, but functions that
nobody calls any more: those of a database that had them stay there."""

MIGRATION_LOCK = 0x4D50_5041_0001
"""The advisory lock of whoever migrates."""

_TABLES = """
    SELECT to_regnamespace(quote_ident($1)) IS NOT NULL AS exists, coalesce(
        array_agg(relname::text) FILTER (WHERE relkind IN ('r', 'p', 'v', 'm', 'f')), '{}'
    ) AS tables
    FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident($1))
"""
_VERSION = "SELECT number FROM schema_version"
_VERSION_TABLE = """
    CREATE TABLE schema_version (one boolean PRIMARY KEY CHECK (one), number integer NOT NULL)
"""
_SET_VERSION = """
    INSERT INTO schema_version (one, number) VALUES (true, $1)
    ON CONFLICT (one) DO UPDATE SET number = excluded.number
"""


async def prepare(connection: Connection, schema: str) -> None:
    """Make the schema or bring it up to date, where needed: one process at a time.

    Args:
        connection: with ``schema`` as its search path.
        schema: a plain identifier.

    Raises:
        StoreUnavailableError: it is another program's, or newer than this code.
    """
    if await _version(connection, schema) == len(MIGRATIONS):
        return  # with no lock, and no right to create anything
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")  # whoever opens has a deadline
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        version = await _version(connection, schema)
        if version is None:
            await connection.execute(f'CREATE SCHEMA "{schema}"')
        if not version:
            await connection.execute(_VERSION_TABLE)
        for script in MIGRATIONS[version or 0 :]:
            await connection.execute(script)
        await connection.execute(_SET_VERSION, len(MIGRATIONS))


async def _version(connection: Connection, schema: str) -> int | None:
    """Which one the schema is at; 0: it is empty, ``None``: it is not there."""
    found = await connection.fetchrow(_TABLES, schema)
    if found is None or not found["exists"]:
        return None
    if not found["tables"]:
        return 0
    if "schema_version" not in found["tables"]:
        raise StoreUnavailableError(
            f'Cannot open the PostgreSQL store: its schema "{schema}" is another program\'s; name '
            "another one with ?schema=... at the end of its URL."
        )
    version = int(await connection.fetchval(_VERSION))
    if version > len(MIGRATIONS):
        raise StoreUnavailableError(
            f"Cannot open the PostgreSQL store: a newer mpp-asgi wrote it (schema {version}, this "
            f"one knows {len(MIGRATIONS)}); upgrade mpp-asgi or use another database."
        )
    return version
