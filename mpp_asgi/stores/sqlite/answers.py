"""What each call of a `SqliteStore` does to kept answers inside its transaction, and every
statement it uses.

The functions take a connection with a transaction open; raising undoes what they did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stores.kept_answers import KeptAnswer

if TYPE_CHECKING:
    from sqlite3 import Connection

# The columns of an answer are the fields of `KeptAnswer`, in their order.
_FIND = """
    SELECT key, request, content, keep_until FROM answer WHERE key = ? AND keep_until > ?
"""
_KEEP = "INSERT OR REPLACE INTO answer (key, request, content, keep_until) VALUES (?, ?, ?, ?)"
_PURGE = """
    DELETE FROM answer
    WHERE key IN (SELECT key FROM answer WHERE keep_until <= ? ORDER BY keep_until LIMIT ?)
"""


def keep(connection: Connection, answer: KeptAnswer, now: int) -> KeptAnswer:
    """As `AnswerStore.keep_answer`."""
    found = find(connection, answer.key, now)
    if found is not None:
        return found
    connection.execute(_KEEP, answer)
    return answer


def find(connection: Connection, key: str, now: int) -> KeptAnswer | None:
    """As `AnswerStore.kept_answer`."""
    row = connection.execute(_FIND, (key, now)).fetchone()
    return None if row is None else KeptAnswer._make(row)


def purge(connection: Connection, now: int, limit: int) -> int:
    """Delete at most ``limit`` that are over; the oldest go first."""
    return connection.execute(_PURGE, (now, limit)).rowcount
