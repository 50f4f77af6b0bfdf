"""What is bid for a place in a ledger.

The network charges its minimum, whatever is bid, as long as everybody finds a place; so a bid costs
nothing while nobody is in a hurry, and decides who is first when many are.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError
from mpp_asgi.stellar.envelope import MIN_INCLUSION_FEE
from mpp_asgi.stellar.rpc import FeeStats, get_fee_stats

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mpp_asgi.stellar.ledger import Ledger

INCLUSION_FEE: Final = 1_000
"""Stroops that are bid for each operation at least."""
REPLACEMENT_FACTOR: Final = 10
"""How many times the bid for a transaction that waits is needed to take its place."""
STATS_SECONDS: Final = 10
"""How long what others bid is good to know."""


class FeeBids:
    """Bids for transactions of one operation.

    Args:
        ledger: where it is read what others bid.
        max_fee: stroops, the most for one transaction with its resources.
        clock: Unix seconds.
        spawn: has work done in the background.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        max_fee: int,
        clock: Callable[[], float],
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self._ledger = ledger
        self._max_fee = max_fee
        self._clock = clock
        self._spawn = spawn
        self._asked_at = clock()
        self._stats: FeeStats | None = None

    def first(self, resource_fee: int, operations: int) -> int:
        """The fee for a transaction that is sent for the first time, in stroops.

        Args:
            resource_fee: stroops, as simulated.
            operations: what the network counts: 1, and 1 more for a fee bump.

        Raises:
            FaultError: it would be more than ``max_fee``.
        """
        self._look_if_it_is_long_ago()
        rate = max(INCLUSION_FEE, self._stats.p90 if self._stats else 0)
        fee = min(resource_fee + rate * operations, self._max_fee)
        if fee < resource_fee + MIN_INCLUSION_FEE * operations:
            raise FaultError("The network's fee is too high to be sponsored at the moment.")
        return fee

    def next(self, resource_fee: int, operations: int, *, bid: int) -> int | None:
        """The fee that takes the place of one that waits, in stroops; ``None``: it would be more
        than ``max_fee``.

        Args:
            resource_fee, operations: as with `first`; the bump that takes the place is one.
            bid: the rate for each operation that waits, stroops.
        """
        self._look_if_it_is_long_ago()
        rate = max(REPLACEMENT_FACTOR * bid, self._stats.p99 if self._stats else 0)
        fee = min(resource_fee + rate * operations, self._max_fee)
        enough = resource_fee + REPLACEMENT_FACTOR * bid * operations
        return fee if fee >= enough else None

    def look(self) -> None:
        """Ask what others bid, in the background."""
        self._asked_at = self._clock()
        self._spawn(self._read())

    def _look_if_it_is_long_ago(self) -> None:
        if self._clock() - self._asked_at >= STATS_SECONDS:
            self.look()

    async def _read(self) -> None:
        try:
            self._stats = await self._ledger.ask(get_fee_stats())
        except FaultError:
            self._stats = None  # as good as none: the bid is what it was without


def fee_charged(result: str | None) -> int | None:
    """What a transaction cost, in stroops, by its TransactionResult (base64 XDR); ``None`` if that
    is none."""
    try:
        (charged,) = struct.unpack_from(">q", base64.b64decode(result or "", validate=True))
    except (binascii.Error, struct.error):
        return None
    return int(charged)
