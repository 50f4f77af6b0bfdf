"""What was drawn on budgets, in the memory of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stores.memory.expiry import Expiry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.stores.budgets import Budget


class MemoryBudgets:
    """A `BudgetStore` that lasts as long as the object does.

    No call awaits anything, so each one is atomic on its event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn: dict[str, tuple[int, int]] = {}  # how much, and how long it is kept
        self._budget_expiry = Expiry()

    async def draw(self, budgets: Sequence[Budget], amount: int) -> str | None:
        """As `BudgetStore.draw`."""
        for budget in budgets:
            drawn, _ = self._drawn.get(budget.name, (0, 0))
            if drawn + amount > budget.limit:
                return budget.name
        for budget in budgets:
            self._count(budget, amount)
        return None

    async def put_back(self, names: Sequence[str], amount: int) -> None:
        """As `BudgetStore.put_back`."""
        for name in names:
            if name in self._drawn:
                drawn, keep_until = self._drawn[name]
                self._drawn[name] = max(0, drawn - amount), keep_until

    async def drawn(self, name: str) -> int:
        """As `BudgetStore.drawn`."""
        return self._drawn.get(name, (0, 0))[0]

    def _count(self, budget: Budget, amount: int) -> None:
        drawn, known = self._drawn.get(budget.name, (0, None))
        keep_until = budget.keep_until if known is None else max(known, budget.keep_until)
        if keep_until != known:
            if known is not None:
                self._budget_expiry.discard(budget.name, known)
            self._budget_expiry.add(budget.name, keep_until)
        self._drawn[budget.name] = drawn + amount, keep_until

    def _purge_budgets(self, *, now: int, limit: int) -> int:
        over = self._budget_expiry.take(now=now, limit=limit)
        for name in over:
            del self._drawn[name]
        return len(over)
