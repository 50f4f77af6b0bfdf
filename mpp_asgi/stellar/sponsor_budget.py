"""How much a sponsor spends in a day, in total and for one payer.

Before a transaction is sent, the most that it can cost is drawn; once the ledger says what it did
cost, the rest is put back. What nobody saw the end of counts in full: so a budget is never
overdrawn, whoever dies, and over all processes of a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stores.budgets import Budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.stores.budgets import BudgetStore

DAY_SECONDS: Final = 86_400
_NO_LIMIT: Final = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class SponsorLimits:
    """The most that is spent between one midnight (UTC) and the next; ``None``: no limit."""

    total: int | None = None
    """Stroops."""
    payer: int | None = None
    """Stroops, for any one payer."""


NO_LIMITS: Final = SponsorLimits()


class Draw:
    """What one transaction has drawn, until it is known what it cost.

    Args:
        budgets: what it counts on.
        store: where they are.
    """

    def __init__(self, budgets: tuple[Budget, ...], store: BudgetStore) -> None:
        self._budgets = budgets
        self._store = store
        self.amount = 0
        """Stroops."""

    async def raise_to(self, amount: int) -> str | None:
        """Draw so much in all; ``None``, or the name of the budget that has not so much left.

        Raises:
            StoreUnavailableError: the store fails.
        """
        if self._budgets and amount > self.amount:
            short = await self._store.draw(self._budgets, amount - self.amount)
            if short is not None:
                return short
            self.amount = amount
        return None

    async def spent(self, amount: int) -> None:
        """It cost so much: put the rest back.

        Raises:
            StoreUnavailableError: the store fails; then it counts in full.
        """
        rest, self.amount = self.amount - amount, amount
        if self._budgets and rest > 0:
            await self._store.put_back([budget.name for budget in self._budgets], rest)


class SponsorBudget:
    """Counts what a sponsor spends.

    Args:
        sponsor: its address (``G…``).
        limits: what it may spend.
        store: what all processes share.
        clock: Unix seconds.
    """

    def __init__(
        self,
        sponsor: str,
        limits: SponsorLimits,
        store: BudgetStore,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._sponsor = sponsor
        self._limits = limits
        self._store = store
        self._clock = clock

    async def draw(self, amount: int, *, payer: str, is_owed: bool) -> Draw:
        """Draw what a transaction costs at most.

        Args:
            amount: stroops.
            payer: for whom.
            is_owed: it is counted and done, whatever is left.

        Raises:
            RefusalError: the payer's budget, or the sponsor's, has not so much left today:
                ``sponsorship-exhausted``.
            StoreUnavailableError: the store fails; nothing was drawn.
        """
        draw = Draw(self.budgets(payer, is_owed=is_owed), self._store)
        short = await draw.raise_to(amount)
        if short is not None:
            raise _exhausted(is_payers=short.endswith(payer))
        return draw

    def budgets(self, payer: str, *, is_owed: bool = False) -> tuple[Budget, ...]:
        """What is spent for a payer now counts on: the payer's budget and the total, as far as
        there are limits."""
        day = int(self._clock()) // DAY_SECONDS
        keep_until = (day + 2) * DAY_SECONDS
        names = (self.name_of(payer), self.name_of(None))
        limits = zip(names, (self._limits.payer, self._limits.total), strict=True)
        return tuple(
            Budget(name, _NO_LIMIT if is_owed else limit, keep_until)
            for name, limit in limits
            if limit is not None
        )

    def name_of(self, payer: str | None) -> str:
        """Under which name today's fees for a payer are counted; for ``None``, all of them."""
        total = f"sponsor:{self._sponsor}:{int(self._clock()) // DAY_SECONDS}"
        return total if payer is None else f"{total}:{payer}"

    async def drawn(self, payer: str | None = None) -> int:
        """Stroops that were spent today, or may have been.

        Raises:
            StoreUnavailableError: the store fails.
        """
        return await self._store.drawn(self.name_of(payer))


def _exhausted(*, is_payers: bool) -> RefusalError:
    whose = "of yours" if is_payers else "here"
    return RefusalError(
        problems.SPONSORSHIP_EXHAUSTED.because(
            f"No more fees {whose} are sponsored today; nothing was paid. "
            "Pay with a challenge that has no feePayer."
        )
    )
