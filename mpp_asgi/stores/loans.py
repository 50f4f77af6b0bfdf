"""Accounts that are lent to one process at a time, such as the sponsor's channel accounts.

The network takes one pending transaction of an account at a time, so whoever sends one needs the
account to itself until that transaction's fate is certain. A process that dies with a loan keeps it
until the loan lapses; ``until`` is chosen so that nothing it has sent can be included by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_SECONDS: Final = 900
"""No account is borrowed, prolonged or kept back for longer than this, by any process's clock."""


class Loan(NamedTuple):
    """An account that one process has to itself."""

    account: str
    """``G...``."""
    fence: int
    """Grows with every loan of the account, forgotten meanwhile or not, so that a borrower whose
    loan has lapsed is known."""
    sequence: int | None
    """The sequence number it is known to have; ``None``: ask the ledger."""


class LoanStore(Protocol):
    """What every backend guarantees of loans. Each call is atomic, and durable when it returns.

    Every call raises `mpp_asgi.stores.contract.StoreUnavailableError` if the backend fails, having
    changed nothing that the caller can rely on. Times are Unix seconds and always passed in.

    Whose a loan is, the fence alone decides: an account that has lapsed, or was handed back, is its
    last borrower's to prolong or hand back (once more) until somebody else has borrowed it.
    """

    async def borrow(self, accounts: Sequence[str], *, until: int, now: int) -> Loan | None:
        """Take one of ``accounts`` that nobody has at ``now``; ``None`` if there is none.

        Nobody has what was never borrowed, what was returned with ``free_at <= now`` and what
        lapsed (``until <= now``); the sequence of the latter is ``None``. Of several, the one whose
        sequence is known and that was returned last is taken, then the first in the order given.

        What is lent, or kept back, for more than `LONGEST_SECONDS` from ``now`` was lent by a clock
        that ran ahead, and nobody has that either. Should it be ``now`` that is wrong, an account
        is taken from whoever has it. That costs a sequence number: the network takes one of their
        transactions, the other is built anew. No money depends on a loan.
        """
        ...

    async def prolong(self, loan: Loan, *, until: int) -> bool:
        """Keep it until then instead, its sequence unknown should it lapse; ``False`` if somebody
        else has borrowed it since, or it is forgotten."""
        ...

    async def hand_back(self, loan: Loan, *, sequence: int | None, free_at: int) -> bool:
        """Return it, to be lent from ``free_at`` on, with the sequence number it has by now.

        ``False`` if somebody else has borrowed it since, or it is forgotten: then nothing changes.
        """
        ...

    async def forget_loans(self, accounts: Sequence[str]) -> None:
        """Forget accounts that are in use no more, whoever has them."""
        ...
