"""What it took a crowd of payers to settle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_CALLS_A_LEDGER: Final = 16
"""However many payments are under way: a look at the chain every second, a look at the sponsor's
balance and one at what others bid now and then, and one for each transaction if they are few."""

_OF_A_CHARGE: Final = ("simulateTransaction", "sendTransaction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What it took to settle all payments of a crowd."""

    accounts: int
    payers: int
    ledgers: int
    calls: Mapping[str, int]
    earned: int
    """Base units."""

    @property
    def bound(self) -> int:
        return math.ceil(self.payers / max(1, self.accounts)) + 2

    @property
    def calls_a_charge(self) -> float:
        return sum(self.calls.get(each, 0) for each in _OF_A_CHARGE) / self.payers

    @property
    def calls_a_ledger(self) -> float:
        """Those that are not of one charge, and not the first look at an account's number."""
        of_ledgers = sum(self.calls.values()) - sum(
            self.calls.get(each, 0) for each in _OF_A_CHARGE
        )
        return max(0, of_ledgers - self.accounts) / self.ledgers
