"""What each call of a `SqliteStore` does to budgets inside its transaction, and every statement it
uses.

The functions take a connection with a transaction open; raising undoes what they did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from sqlite3 import Connection

    from mpp_asgi.stores.budgets import Budget

_DRAWN = "SELECT drawn FROM budget WHERE name = ?"
_DRAW = """
    INSERT INTO budget (name, drawn, keep_until) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE
    SET drawn = drawn + excluded.drawn, keep_until = max(keep_until, excluded.keep_until)
"""
_PUT_BACK = "UPDATE budget SET drawn = max(0, drawn - ?) WHERE name = ?"
_PURGE = """
    DELETE FROM budget
    WHERE name IN (SELECT name FROM budget WHERE keep_until <= ? ORDER BY keep_until LIMIT ?)
"""


def draw(connection: Connection, budgets: Sequence[Budget], amount: int) -> str | None:
    """As `BudgetStore.draw`."""
    for budget in budgets:
        if drawn(connection, budget.name) + amount > budget.limit:
            return budget.name
    rows = [(budget.name, amount, budget.keep_until) for budget in budgets]
    connection.executemany(_DRAW, rows)
    return None


def put_back(connection: Connection, names: Sequence[str], amount: int) -> None:
    """As `BudgetStore.put_back`."""
    connection.executemany(_PUT_BACK, [(amount, name) for name in names])


def drawn(connection: Connection, name: str) -> int:
    """As `BudgetStore.drawn`."""
    row = connection.execute(_DRAWN, (name,)).fetchone()
    return 0 if row is None else int(row[0])


def purge(connection: Connection, now: int, limit: int) -> int:
    """Delete at most ``limit`` that are over; the oldest go first."""
    return connection.execute(_PURGE, (now, limit)).rowcount
