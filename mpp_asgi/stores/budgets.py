"""Limits on what is spent, counted over all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Budget(NamedTuple):
    """So much may be spent under one name. The name holds the window, if there is one, as in
    ``sponsor:day:20779``, so a new window is a new budget."""

    name: str
    limit: int
    """Base units (stroops for fees), below 2**63."""
    keep_until: int
    """Unix seconds; from then on what was counted may be purged. The latest of all that were drawn
    on counts."""


class BudgetStore(Protocol):
    """What every backend guarantees of budgets. Each call is atomic, and durable when it returns.

    Every call raises `mpp_asgi.stores.contract.StoreUnavailableError` if the backend fails, having
    changed nothing that the caller can rely on. `Store.purge` deletes what is over.
    """

    async def draw(self, budgets: Sequence[Budget], amount: int) -> str | None:
        """Count ``amount`` (0 or more) on every one of ``budgets``, whose names differ, or on none:
        ``None``, or the name of the first that it would exceed. What was counted counts until it is
        purged."""
        ...

    async def put_back(self, names: Sequence[str], amount: int) -> None:
        """What was drawn was not spent, or not all of it. Nothing falls below 0; names that are
        unknown by now are passed over."""
        ...

    async def drawn(self, name: str) -> int:
        """How much was counted under a name."""
        ...
