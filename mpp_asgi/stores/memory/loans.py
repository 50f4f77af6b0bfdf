"""Accounts on loan, in the memory of one process."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from mpp_asgi.stores.loans import LONGEST_SECONDS, Loan

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Account(NamedTuple):
    """What is known of an account that was ever lent."""

    fence: int
    """Of the loan it is on, or was on last."""
    free_at: int
    """When it was, or will be, returned or lapsed."""
    sequence: int | None = None
    """Known from when it is handed back until it is borrowed again."""
    returned: int = 0
    """Which return that was, of all; 0: its sequence is not known."""


_NEVER_LENT = _Account(0, 0)


class MemoryLoans:
    """A `LoanStore` that lasts as long as the object does.

    No call awaits anything, so each one is atomic on its event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._accounts: dict[str, _Account] = {}
        self._turns = itertools.count(1)

    async def borrow(self, accounts: Sequence[str], *, until: int, now: int) -> Loan | None:
        """As `LoanStore.borrow`."""
        free = [name for name in accounts if self._is_free(name, now)]
        if not free:
            return None
        # Of equals, max takes the first.
        best = max(free, key=lambda name: self._accounts.get(name, _NEVER_LENT).returned)
        sequence = self._accounts.get(best, _NEVER_LENT).sequence
        fence = next(self._turns)
        self._accounts[best] = _Account(fence, until)
        return Loan(best, fence, sequence)

    async def prolong(self, loan: Loan, *, until: int) -> bool:
        """As `LoanStore.prolong`."""
        return self._replace(loan, _Account(loan.fence, until))

    async def hand_back(self, loan: Loan, *, sequence: int | None, free_at: int) -> bool:
        """As `LoanStore.hand_back`."""
        returned = 0 if sequence is None else next(self._turns)
        return self._replace(loan, _Account(loan.fence, free_at, sequence, returned))

    async def forget_loans(self, accounts: Sequence[str]) -> None:
        """As `LoanStore.forget_loans`."""
        for name in accounts:
            self._accounts.pop(name, None)

    def _is_free(self, name: str, now: int) -> bool:
        found = self._accounts.get(name)
        return found is None or not now < found.free_at <= now + LONGEST_SECONDS

    def _replace(self, loan: Loan, account: _Account) -> bool:
        found = self._accounts.get(loan.account)
        if found is None or found.fence != loan.fence:
            return False
        self._accounts[loan.account] = account
        return True
