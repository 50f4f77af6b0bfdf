"""What each call of a `SqliteStore` does to accounts on loan inside its transaction, and every
statement it uses.

The functions take a connection with a transaction open; raising undoes what they did.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mpp_asgi.stores.loans import LONGEST_SECONDS, Loan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from sqlite3 import Connection

_BEST_OF_THE_FREE = """
    SELECT wanted.value, loan.sequence
    FROM json_each(?) AS wanted LEFT JOIN loan ON loan.account = wanted.value
    WHERE loan.account IS NULL OR loan.free_at NOT BETWEEN ? AND ?
    ORDER BY coalesce(loan.returned, 0) DESC, wanted.key LIMIT 1
"""
_LEND = """
    INSERT INTO loan (account, fence, free_at, sequence, returned) VALUES (?, ?, ?, NULL, 0)
    ON CONFLICT (account) DO UPDATE
    SET fence = excluded.fence, free_at = excluded.free_at, sequence = NULL, returned = 0
"""
_REPLACE = """
    UPDATE loan SET free_at = ?, sequence = ?, returned = ? WHERE account = ? AND fence = ?
"""
_FORGET = "DELETE FROM loan WHERE account = ?"

_TAKE_TURN = "UPDATE loan_turn SET last = last + 1"
_TURN = "SELECT last FROM loan_turn"


def borrow(connection: Connection, accounts: Sequence[str], until: int, now: int) -> Loan | None:
    """As `LoanStore.borrow`."""
    wanted = json.dumps(list(accounts))
    taken = (now + 1, now + LONGEST_SECONDS)
    best = connection.execute(_BEST_OF_THE_FREE, (wanted, *taken)).fetchone()
    if best is None:
        return None
    account, sequence = best
    fence = _turn(connection)
    connection.execute(_LEND, (account, fence, until))
    return Loan(account, fence, sequence)


def prolong(connection: Connection, loan: Loan, until: int) -> bool:
    """As `LoanStore.prolong`."""
    row = (until, None, 0, loan.account, loan.fence)
    return connection.execute(_REPLACE, row).rowcount == 1


def hand_back(connection: Connection, loan: Loan, sequence: int | None, free_at: int) -> bool:
    """As `LoanStore.hand_back`."""
    returned = 0 if sequence is None else _turn(connection)
    row = (free_at, sequence, returned, loan.account, loan.fence)
    return connection.execute(_REPLACE, row).rowcount == 1


def forget(connection: Connection, accounts: Sequence[str]) -> None:
    """As `LoanStore.forget_loans`."""
    connection.executemany(_FORGET, [(account,) for account in accounts])


def _turn(connection: Connection) -> int:
    """The next number of all: it fences a loan, or says which return was the last."""
    connection.execute(_TAKE_TURN)
    return int(connection.execute(_TURN).fetchone()[0])
