"""One connection to the PostgreSQL server: whereto, on which terms, and what its failures mean."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg  # type: ignore[import-untyped] # it has no types; `Connection` has what we use

from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

FORM = "postgresql://user:password@host:5432/database"
SCHEMA = "mpp_asgi"
CONNECTIONS = 8
"""At most, of one process."""
APPLICATION = "mpp-asgi"
"""What the server's own lists call us."""
TIMEOUT = 5.0
"""Seconds for one call, with all its waiting."""

# The last of the driver's own is for whoever asks when the server has just said farewell.
_LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError)
FAILURES = (asyncpg.PostgresError, *_LOST, OSError, TimeoutError)
"""What the driver raises when the server, the network or the statement fails."""


class StandbyError(StoreUnavailableError):
    """This server takes no writes as long as another one does."""


HOST_FAILURES = (
    *_LOST,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # it starts, or stops
    OSError,
    TimeoutError,
    StandbyError,
)
"""What is wrong with one host and says nothing of the others."""

_DEMOTED = asyncpg.ReadOnlySQLTransactionError
"""Another server may be the primary by now."""

_OPTIONS = ("schema", "connections", "timeout", "application_name")
_DURABLE = ("on", "remote_apply")


class Connection(Protocol):
    """What is used of the driver's connection. A row is read by position or by name."""

    async def execute(self, statement: str, *arguments: object) -> str: ...

    async def fetch(self, statement: str, *arguments: object) -> list[Any]: ...

    async def fetchrow(self, statement: str, *arguments: object) -> Any: ...

    async def fetchval(self, statement: str, *arguments: object) -> Any: ...

    def transaction(self) -> AbstractAsyncContextManager[None]: ...

    def is_closed(self) -> bool: ...

    async def close(self, *, timeout: float) -> None: ...  # noqa: ASYNC109 # the driver's word

    def terminate(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where the records are. Its text holds a password, so no representation shows it."""

    url: str = field(repr=False)
    """As the driver reads it."""
    schema: str = SCHEMA
    connections: int = CONNECTIONS
    timeout: float = TIMEOUT
    application: str = APPLICATION

    @classmethod
    def from_url(cls, url: str) -> Target:
        """Part our options (``schema``, ``connections``, ``timeout`` in seconds,
        ``application_name``) from the driver's.

        Raises:
            ValueError: one sentence that repeats nothing of the URL.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(f"The PostgreSQL URL cannot be read: write {FORM}.") from None
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        options = dict(pair for pair in pairs if pair[0] in _OPTIONS)
        others = urlencode([pair for pair in pairs if pair[0] not in _OPTIONS])
        schema = options.get("schema", SCHEMA)
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema) or schema.startswith("pg_"):
            raise ValueError(
                "The schema of a PostgreSQL URL is a name of lower-case letters, digits and _, "
                "and does not begin with pg_."
            )
        connections = options.get("connections", str(CONNECTIONS))
        if not re.fullmatch(r"[1-9][0-9]{0,2}", connections):
            raise ValueError("The connections of a PostgreSQL URL are a number from 1 to 999.")
        timeout = options.get("timeout", str(TIMEOUT))
        if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", timeout) or float(timeout) < 0.1:
            raise ValueError("The timeout of a PostgreSQL URL is in seconds, from 0.1 to 999.")
        driver_url = urlunsplit(parts._replace(query=others))
        name = options.get("application_name", APPLICATION)
        return cls(driver_url, schema, int(connections), float(timeout), name)


async def connect(target: Target, url: str) -> Connection:
    """Connect, and see to it that a commit is durable when it is acknowledged.

    Args:
        target: on which terms.
        url: that of the target, or of one of its hosts.

    Raises:
        StoreUnavailableError: the URL cannot be read, or this server is not one to keep payments
            on; one sentence.
        StandbyError: it is not the primary.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: it cannot be reached or refuses.
    """
    # A call begins its statement in the first half of its time. The server gives up before the
    # second half is over, so that nothing happens after we have said that it failed.
    patience = str(int(target.timeout * 1000 * 0.45))
    connection: Connection | None = None
    with contextlib.suppress(ValueError):  # whose text holds parts of the URL
        connection = await asyncpg.connect(
            url,
            timeout=target.timeout,
            server_settings={
                "application_name": target.application,
                "search_path": target.schema,
                "statement_timeout": patience,
                "default_transaction_isolation": "read committed",
                "jit": "off",
            },
        )
    if connection is None:
        raise StoreUnavailableError(
            f"The PostgreSQL store failed: its URL cannot be read; write {FORM}."
        )
    try:
        await _check(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _check(connection: Connection) -> None:
    row = await connection.fetchrow(
        "SELECT current_setting('synchronous_commit'), pg_is_in_recovery()"
    )
    assert row is not None  # noqa: S101 # a SELECT without FROM has one row
    commit, in_recovery = row
    if in_recovery:
        raise StandbyError(
            "The PostgreSQL store is on a standby, which takes no writes: name the primary."
        )
    if commit not in _DURABLE:
        # "local" and "remote_write" would be forgotten by a synchronous standby that takes over.
        raise StoreUnavailableError(
            f"The PostgreSQL store would forget payments in a crash, as synchronous_commit is "
            f"{commit}: have it on, with ALTER ROLE ... SET synchronous_commit = on."
        )


_STATES = {
    "28": "it refuses this user or password",
    "3D000": "there is no such database",
    "3F000": "its schema is gone; restart to make it anew",
    "42501": "its user lacks a right (to make the schema it needs CREATE on the database)",
    "42P01": "its tables are gone; restart to make them anew",
    "42883": "its functions are gone; restart to make them anew",
    "25006": "it takes no writes at the moment",
    "53100": "its disk is full",
    "53200": "it is out of memory",
    "53300": "it has no connection left; allow it more, or the store fewer",
    "55P03": "it did not answer in time",
    "57014": "it did not answer in time",
    "57P": "it is starting up or shutting down",
    "08": "the connection was lost",
    "58": "its disk failed",
    "XX": "its data are damaged",
}


def reason(error: Exception) -> str:
    """What is wrong, for an operator: no SQL, no address, no value."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    if isinstance(error, asyncpg.PostgresError):
        return _state(str(error.sqlstate or ""))
    if isinstance(error, ValueError):
        return "a value cannot be kept"
    if is_standby(error):
        return "it takes no writes at the moment"
    if isinstance(error, _LOST):
        return "the connection was lost"
    return "it cannot be reached"


def _state(state: str) -> str:
    for length in (5, 3, 2):
        if state[:length] in _STATES:
            return _STATES[state[:length]]
    return f"PostgreSQL answered {state or 'with an error'}"


def is_standby(error: Exception) -> bool:
    """Whether a host was passed over because it is not the primary."""
    return isinstance(error, (StandbyError, asyncpg.TargetServerAttributeNotMatched))


def is_transient(error: BaseException) -> bool:
    """Nothing was written, and the same may go well when it is done again."""
    return isinstance(error, (asyncpg.SerializationError, asyncpg.DeadlockDetectedError))


def is_reusable(connection: Connection, error: BaseException) -> bool:
    """Whether the connection can serve others after this failure."""
    fine = isinstance(error, asyncpg.PostgresError) and not isinstance(error, _DEMOTED)
    return fine and not connection.is_closed()


def is_server_lost(connection: Connection, error: BaseException) -> bool:
    """Whether other connections have probably failed with this one: a fail-over, or a network that
    has forgotten them, is silent about each until it is used."""
    silent = isinstance(error, (asyncio.CancelledError, TimeoutError, OSError))
    return silent or isinstance(error, _DEMOTED) or connection.is_closed()
