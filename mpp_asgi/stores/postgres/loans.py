"""What each call of a `PostgresStore` does to accounts on loan and to budgets, and every statement
it uses.

Each function is one statement, so it is atomic, and durable when it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stores.loans import LONGEST_SECONDS, Loan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.stores.budgets import Budget
    from mpp_asgi.stores.postgres.connection import Connection

_BORROW = "SELECT account, fence, sequence FROM borrow_v2($1, $2, $3, $4)"
_PROLONG = """
    UPDATE loan SET free_at = $3, sequence = NULL, returned = 0 WHERE account = $1 AND fence = $2
    RETURNING true
"""
_HAND_BACK = """
    UPDATE loan
    SET free_at = $3, sequence = $4,
        returned = CASE WHEN $4::bigint IS NULL THEN 0 ELSE nextval('loan_turn') END
    WHERE account = $1 AND fence = $2
    RETURNING true
"""
_FORGET = """
    DELETE FROM loan
    WHERE account = ANY (ARRAY (
        SELECT account FROM loan WHERE account = ANY ($1) ORDER BY account FOR UPDATE
    ))
"""

_DRAW = "SELECT draw_v1($1, $2, $3, $4)"
_PUT_BACK = "SELECT put_back_v1($1, $2)"
_DRAWN = "SELECT drawn FROM budget WHERE name = $1"


async def borrow(
    connection: Connection, accounts: Sequence[str], until: int, now: int
) -> Loan | None:
    """As `LoanStore.borrow`."""
    row = await connection.fetchrow(_BORROW, accounts, until, now, now + LONGEST_SECONDS)
    return None if row is None or row["account"] is None else Loan._make(row)


async def prolong(connection: Connection, loan: Loan, until: int) -> bool:
    """As `LoanStore.prolong`."""
    return await connection.fetchval(_PROLONG, loan.account, loan.fence, until) is not None


async def hand_back(connection: Connection, loan: Loan, sequence: int | None, free_at: int) -> bool:
    """As `LoanStore.hand_back`."""
    row = (loan.account, loan.fence, free_at, sequence)
    return await connection.fetchval(_HAND_BACK, *row) is not None


async def forget(connection: Connection, accounts: Sequence[str]) -> None:
    """As `LoanStore.forget_loans`."""
    await connection.execute(_FORGET, accounts)


async def draw(connection: Connection, budgets: Sequence[Budget], amount: int) -> str | None:
    """As `BudgetStore.draw`."""
    names = [budget.name for budget in budgets]
    limits = [budget.limit for budget in budgets]
    keep_until = [budget.keep_until for budget in budgets]
    exceeded = await connection.fetchval(_DRAW, names, limits, keep_until, amount)
    return None if exceeded is None else str(exceeded)


async def put_back(connection: Connection, names: Sequence[str], amount: int) -> None:
    """As `BudgetStore.put_back`."""
    await connection.execute(_PUT_BACK, names, amount)


async def drawn(connection: Connection, name: str) -> int:
    """As `BudgetStore.drawn`."""
    found = await connection.fetchval(_DRAWN, name)
    return 0 if found is None else int(found)
