"""Fee sponsorship: the account that pays for payers' transactions, and all that it takes.

The sponsor pays; *channel accounts* lend the transactions their sequence numbers, so that as many
can be under way at a time as there are accounts. Without channel accounts the sponsor lends its
own, and one is under way at a time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mpp_asgi.stellar.sponsor_budget import NO_LIMITS, SponsorBudget, SponsorLimits
from mpp_asgi.stellar.sponsor_fees import FeeBids
from mpp_asgi.stellar.sponsor_funds import SponsorFunds
from mpp_asgi.stellar.sponsor_pool import Pool
from mpp_asgi.stellar.sponsor_queue import MOST_OF_A_PAYER, MOST_WAITING, FairQueue
from mpp_asgi.stores.budgets import BudgetStore
from mpp_asgi.stores.loans import LoanStore
from mpp_asgi.stores.memory.loans import MemoryLoans

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from stellar_sdk import Keypair

    from mpp_asgi.stellar.ledger import Ledger


class SponsorStore(LoanStore, BudgetStore, Protocol):
    """What all processes with one sponsor share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SponsorTerms:
    """What a sponsor is willing to do. Fees are stroops."""

    max_fee: int
    """The most that is paid for one transaction."""
    limits: SponsorLimits = NO_LIMITS
    """The most that is spent in a day."""
    alarm: int = 0
    """With less than that there is a warning."""
    patience_seconds: float = 30
    """How long a transaction waits for an account."""
    poll_seconds: float = 1
    """Between two looks for an account while other processes have them all."""
    most_waiting: int = MOST_WAITING
    """How many transactions may wait for an account in one process."""


class Sponsor:
    """An account that pays.

    Args:
        keypair: the account's key.
        ledger: where balances, fees and sequence numbers are read.
        store: what all processes with this sponsor share.
        terms: what it is willing to do.
        clock: Unix seconds.
        sleep: as `asyncio.sleep`.
        channel_accounts: the keys of the accounts that lend sequence numbers.
    """

    def __init__(
        self,
        keypair: Keypair,
        ledger: Ledger,
        store: SponsorStore,
        terms: SponsorTerms,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        channel_accounts: Sequence[Keypair] = (),
    ) -> None:
        self.keypair = keypair
        self.address = keypair.public_key
        self.has_channel_accounts = bool(channel_accounts)
        self._tasks: set[asyncio.Task[Any]] = set()
        accounts = {each.public_key: each for each in channel_accounts or (keypair,)}
        self.addresses = frozenset({self.address, *accounts})
        """Every account that pays or lends; none may be a payer."""
        self.pool = Pool(
            accounts,
            # One account is not worth sharing: whoever finds its number wrong tries again.
            store if self.has_channel_accounts else MemoryLoans(),
            ledger,
            clock=clock,
            sleep=sleep,
            is_shared=self.has_channel_accounts,
            patience_seconds=terms.patience_seconds,
            poll_seconds=terms.poll_seconds,
            queue=FairQueue(
                most=terms.most_waiting, most_of_a_payer=min(MOST_OF_A_PAYER, terms.most_waiting)
            ),
        )
        self.bids = FeeBids(ledger, max_fee=terms.max_fee, clock=clock, spawn=self._spawn)
        self.budget = SponsorBudget(self.address, terms.limits, store, clock=clock)
        self.funds = SponsorFunds(
            self.address,
            ledger,
            needed=terms.max_fee,
            alarm=terms.alarm,
            clock=clock,
            spawn=self._spawn,
        )

    @property
    def operations(self) -> int:
        """What the network counts in a transaction of ours, for its fee."""
        return 2 if self.has_channel_accounts else 1

    def look(self) -> None:
        """Learn in the background what it has, and what others bid."""
        self.funds.look()
        self.bids.look()

    async def aclose(self) -> None:
        """Look at nothing any more, and leave no question behind that is on its way."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        loop = asyncio.get_running_loop()
        here = [task for task in tasks if task.get_loop() is loop]  # others end with their loop
        if here:
            await asyncio.wait(here)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
