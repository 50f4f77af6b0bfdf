"""What a sponsor has left, and the warning before it has nothing.

Looked at in the background: at the start, and whenever somebody asks whether the sponsor can pay,
at most every `LOOK_SECONDS`. Nobody waits for it, and a process that nobody visits asks nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.accounts import get_account

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mpp_asgi.stellar.ledger import Ledger

log = logging.getLogger("mpp_asgi.sponsor")

LOOK_SECONDS: Final = 30
WARN_AGAIN_SECONDS: Final = 3_600


class SponsorFunds:
    """What an account has to spend.

    Args:
        address: the account (``G…``).
        ledger: where its balance is read.
        needed: stroops, the most that one transaction costs: with less nothing is sponsored.
        alarm: stroops; with less there is a warning.
        clock: Unix seconds.
        spawn: has work done in the background.
    """

    def __init__(
        self,
        address: str,
        ledger: Ledger,
        *,
        needed: int,
        alarm: int,
        clock: Callable[[], float],
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self._address = address
        self._ledger = ledger
        self._needed = needed
        self._alarm = alarm
        self._clock = clock
        self._spawn = spawn
        self._looked_at = clock()
        self._warned_at = float("-inf")
        self.spendable: int | None = None
        """Stroops, when the ledger was last asked, less what was spent since; ``None``: it has not
        been asked yet."""

    def suffice(self) -> bool:
        """Whether the next transaction can be paid. What is not known is hoped for."""
        if self._clock() - self._looked_at >= LOOK_SECONDS:
            self.look()
        return self.spendable is None or self.spendable >= self._needed

    def spent(self, amount: int) -> None:
        """Stroops were paid."""
        if self.spendable is not None:
            self._note(self.spendable - amount)

    def look(self) -> None:
        """Ask the ledger, in the background."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # somebody only wants to know what would be offered
        self._looked_at = self._clock()
        self._spawn(self._read())

    async def _read(self) -> None:
        try:
            account = await self._ledger.ask(get_account(self._address))
        except FaultError as error:
            log.warning("the sponsor's balance cannot be read: %s", error)
        else:
            self._note(0 if account is None else account.spendable)

    def _note(self, spendable: int) -> None:
        self.spendable = spendable
        if spendable >= self._alarm:
            self._warned_at = float("-inf")
            return
        now = self._clock()
        if now - self._warned_at < WARN_AGAIN_SECONDS:
            return
        self._warned_at = now
        log.warning(
            "the sponsor %s has %s stroops left to spend: send it XLM",
            self._address,
            spendable,
            extra={
                "sponsor": self._address,
                "spendable_stroops": spendable,
                "alarm_stroops": self._alarm,
                "is_dry": spendable < self._needed,
            },
        )
