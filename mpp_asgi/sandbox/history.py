"""What was closed: headers, transactions and events, as far back as they are kept."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mpp_asgi.sandbox.host.events import Event

RETENTION = 120_960
"""Ledgers that are kept, as public RPC servers do: a week of five-second ledgers."""
MAX_TRANSACTIONS = 10_000
"""Transactions that are kept at most; the oldest kept ledger moves up beyond that, so that memory
stays flat however much is going on.
"""
FEES_BEFORE = 0
FEES_AFTER = 0xFFFFF


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where an event stands: its ledger, transaction (from 1), operation and number."""

    ledger: int
    transaction: int = 0
    operation: int = 0
    event: int = 0

    @property
    def id(self) -> str:
        place = self.ledger << 32 | self.transaction << 12 | self.operation
        return f"{place:019d}-{self.event:010d}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read an event id or cursor; ``ValueError`` when it is none."""
        place, _, event = text.partition("-")
        if not (place.isascii() and place.isdecimal() and event.isascii() and event.isdecimal()):
            raise ValueError("invalid cursor")
        number = int(place)
        if number >= 1 << 64 or int(event) >= 1 << 32:
            raise ValueError("invalid cursor")
        return cls(number >> 32, number >> 12 & 0xFFFFF, number & 0xFFF, int(event))


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    position: Position
    event: Event
    transaction_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedTransaction:
    """A transaction that is in a ledger, with everything RPC tells of it."""

    hash: bytes
    inner_hash: bytes
    ledger: int
    close_time: int
    order: int
    """Position in the ledger, from 1."""
    is_fee_bump: bool
    is_soroban: bool
    succeeded: bool
    inclusion_fee: int
    """What was paid per operation, stroops, resources aside."""
    envelope: bytes
    result: bytes
    meta: bytes
    fee_changes: tuple[bytes, ...]
    refund_changes: tuple[bytes, ...]
    transaction_events: tuple[bytes, ...]
    contract_events: tuple[tuple[bytes, ...], ...]
    diagnostics: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLedger:
    """A ledger that closed with transactions in it, or the latest one."""

    sequence: int
    close_time: int
    hash: bytes
    header: bytes
    previous_hash: bytes
    transactions: tuple[AppliedTransaction, ...] = ()
    events: tuple[PlacedEvent, ...] = ()
    evicted: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """Ledgers that closed in equal steps: the close time of each follows from its sequence."""

    first: int
    time: float
    step: float

    def close_time(self, sequence: int) -> int:
        return int(self.time + (sequence - self.first) * self.step)


@dataclass(slots=True)
class History:
    """Ledgers from the oldest kept one to the latest."""

    oldest: int
    latest: ClosedLedger
    retention: int = RETENTION
    _ledgers: deque[ClosedLedger] = field(default_factory=deque)
    _by_sequence: dict[int, ClosedLedger] = field(default_factory=dict)
    _by_hash: dict[bytes, AppliedTransaction] = field(default_factory=dict)
    _stretches: list[Stretch] = field(default_factory=list)
    _count: int = 0

    @classmethod
    def of(
        cls,
        oldest: int,
        retention: int,
        stretches: Iterable[Stretch],
        ledgers: Iterable[ClosedLedger],
        latest: ClosedLedger,
    ) -> History:
        """One that goes on where another one stood; ``ledgers`` are those with transactions."""
        history = cls(oldest, latest, retention, _stretches=list(stretches))
        for ledger in ledgers:
            history._keep(ledger)
        return history

    def copy(self) -> History:
        return replace(
            self,
            _ledgers=self._ledgers.copy(),
            _by_sequence=self._by_sequence.copy(),
            _by_hash=self._by_hash.copy(),
            _stretches=self._stretches.copy(),
        )

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        return tuple(self._stretches)

    def add(self, ledger: ClosedLedger, stretch: Stretch | None = None) -> None:
        """Append the next closed ledger; ``stretch`` begins where steps are no longer equal."""
        if stretch is not None:
            self._stretches.append(stretch)
        self.latest = ledger
        if ledger.transactions:
            self._keep(ledger)
        self._forget()

    def _keep(self, ledger: ClosedLedger) -> None:
        self._ledgers.append(ledger)
        self._by_sequence[ledger.sequence] = ledger
        for transaction in ledger.transactions:
            self._by_hash[transaction.hash] = transaction
            self._by_hash.setdefault(transaction.inner_hash, transaction)
        self._count += len(ledger.transactions)

    def _forget(self) -> None:
        self.oldest = max(self.oldest, self.latest.sequence - self.retention + 1)
        while self._ledgers and (
            self._ledgers[0].sequence < self.oldest or self._count > MAX_TRANSACTIONS
        ):
            if len(self._ledgers) == 1 and self._ledgers[0].sequence >= self.oldest:
                return
            gone = self._ledgers.popleft()
            del self._by_sequence[gone.sequence]
            for transaction in gone.transactions:
                for name in (transaction.hash, transaction.inner_hash):
                    if self._by_hash.get(name) is transaction:
                        del self._by_hash[name]
            self._count -= len(gone.transactions)
            self.oldest = max(self.oldest, gone.sequence + 1)
        keep = bisect_right(self._stretches, self.oldest, key=lambda s: s.first) - 1
        if keep > 0:
            del self._stretches[:keep]

    def close_time(self, sequence: int) -> int:
        index = bisect_right(self._stretches, sequence, key=lambda s: s.first) - 1
        return self._stretches[max(0, index)].close_time(sequence)

    def stretch_for(self, sequence: int, time: float, step: float | None) -> Stretch | None:
        """A stretch beginning with this ledger; ``None`` when the current one foretells it."""
        current = self._stretches[-1]
        if step is not None and current.step == step:
            foretold = current.time + (sequence - current.first) * step
            if abs(foretold - time) < 1e-6:
                return None
        floor = self.latest.close_time
        return Stretch(sequence, max(time, floor), step or 0)

    def transaction(self, transaction_hash: bytes) -> AppliedTransaction | None:
        """By the hash of the transaction, of its fee bump, or of what its fee bump wraps."""
        return self._by_hash.get(transaction_hash)

    def ledgers_from(self, sequence: int) -> Iterator[ClosedLedger]:
        """Ledgers with transactions, from ``sequence`` on."""
        start = bisect_left(self._ledgers, sequence, key=lambda ledger: ledger.sequence)
        return islice(self._ledgers, start, None)

    def recent(self, count: int) -> list[ClosedLedger]:
        """Ledgers with transactions among the latest ``count``."""
        first = self.latest.sequence - count + 1
        found = []
        for ledger in reversed(self._ledgers):
            if ledger.sequence < first:
                break
            found.append(ledger)
        return found
