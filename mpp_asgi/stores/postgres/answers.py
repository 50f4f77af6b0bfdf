"""What each call of a `PostgresStore` does to kept answers, and every statement it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stores.kept_answers import KeptAnswer

if TYPE_CHECKING:
    from mpp_asgi.stores.postgres.connection import Connection

# The columns of an answer are the fields of `KeptAnswer`, in their order.
_FIND = """
    SELECT key, request, content, keep_until FROM answer WHERE key = $1 AND keep_until > $2
"""
_KEEP = """
    INSERT INTO answer (key, request, content, keep_until) VALUES ($1, $2, $3, $4)
    ON CONFLICT (key) DO UPDATE
    SET request = excluded.request, content = excluded.content, keep_until = excluded.keep_until
    WHERE answer.keep_until <= $5
    RETURNING true
"""


async def keep(connection: Connection, answer: KeptAnswer, now: int) -> KeptAnswer:
    """As `AnswerStore.keep_answer`."""
    while True:
        if await connection.fetchval(_KEEP, *answer, now) is not None:
            return answer
        kept = await find(connection, answer.key, now)
        if kept is not None:  # else it was purged a moment ago
            return kept


async def find(connection: Connection, key: str, now: int) -> KeptAnswer | None:
    """As `AnswerStore.kept_answer`."""
    row = await connection.fetchrow(_FIND, key, now)
    return None if row is None else KeptAnswer._make(row)
