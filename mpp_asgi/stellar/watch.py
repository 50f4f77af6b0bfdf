"""One caller's wait for the fate of one transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from mpp_asgi.stellar.rpc import TransactionStatus


class Following(Protocol):
    """Whoever brings the news."""

    def join(self, watch: Watch) -> None: ...

    def leave(self, watch: Watch) -> None: ...


class Watch:
    """Used as a context, by one task. `news` tells what a node says of the transaction."""

    def __init__(
        self,
        following: Following,
        transaction_hash: str,
        *,
        valid_until: int,
        since: int | None,
        until: float,
    ) -> None:
        self.hash = transaction_hash
        self.valid_until = valid_until
        self.since = since
        """The latest ledger in which it is certainly not, as far as it was not sent by others: what
        follows has to be read or asked for. ``None`` if that is not known."""
        self.until = until
        self.is_doubtful = False
        """It may never be included: ask for it by its hash in every ledger."""
        self.asked_at: int | None = None
        """The latest ledger when it was asked for by its hash."""
        self.turn = 0
        """Grows whenever it is asked for."""
        self.rounds = 0
        """How often the chain was looked at since."""
        self._wake_at_round: int | None = None
        self._following = following
        self._status: TransactionStatus | None = None
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._following.leave(self)

    @property
    def is_over(self) -> bool:
        """The ledger has it."""
        return self._is_over

    async def news(self, *, wake_at_round: int | None) -> TransactionStatus | None:
        """What a node says of the transaction now.

        Returns:
            ``None`` if there is nothing new by that round, or by the time that was set.

        Raises:
            FaultError: nobody brings news any more.
        """
        self._wake_at_round = wake_at_round
        self._following.join(self)
        if self._status is None and self._error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._error is not None:
            raise self._error
        status, self._status = self._status, None
        return status

    def tell(self, status: TransactionStatus) -> None:
        """Here is what a node says of it."""
        if self._is_over:
            return
        self._status = status
        self._is_over = status.status != "NOT_FOUND"
        if not self._is_over and (self.since is None or self.since < status.latest_ledger):
            self.since = status.latest_ledger
        self._wake()

    def passed(self, now: float) -> None:
        """The chain was looked at."""
        self.rounds += 1
        if self._wake_at_round is not None and self.rounds >= self._wake_at_round:
            self._wake()
        self.tell_time(now)

    def tell_time(self, now: float) -> None:
        if now >= self.until:
            self._wake()

    def fail(self, error: BaseException) -> None:
        """There will be no news."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
