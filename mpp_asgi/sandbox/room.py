"""Room for transactions, in a ledger and in the queue before it, and who goes without.

There is room of its own for classic transactions and for Soroban's. Where it is short, bids
compete: the inclusion fee for each operation.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.entries import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.settings import Settings


@dataclass(frozen=True, slots=True)
class Room:
    """Operations, and of Soroban's transactions, which are one each, bytes, too."""

    operations: int = 0
    size: int = 0

    @classmethod
    def of(cls, frame: Frame) -> Room:
        """What a transaction takes."""
        return cls(1, frame.size) if frame.is_soroban else cls(frame.operation_count)

    @classmethod
    def in_ledger(cls, settings: Settings, *, soroban: bool) -> Room:
        if soroban:
            return cls(settings.ledger_max_transactions, settings.ledger_max_transaction_bytes)
        return cls(settings.ledger_max_classic_operations)

    def __add__(self, other: Room) -> Room:
        return Room(self.operations + other.operations, self.size + other.size)

    def __sub__(self, other: Room) -> Room:
        """What is left, or missing: never less than nothing."""
        return Room(max(0, self.operations - other.operations), max(0, self.size - other.size))

    def __mul__(self, factor: int) -> Room:
        return Room(self.operations * factor, self.size * factor)

    def __bool__(self) -> bool:
        return bool(self.operations or self.size)

    def holds(self, other: Room) -> bool:
        return not other - self


def bid(frame: Frame) -> Fraction:
    """Stroops for each operation."""
    return Fraction(frame.inclusion_fee, max(1, frame.operation_count))


def rank(frame: Frame) -> tuple[Fraction, bytes]:
    """By this, transactions are in the order of their bids."""
    return bid(frame), frame.full_hash


def fee_above(rival: Fraction, frame: Frame) -> int:
    """The least fee that ``frame`` would have to offer to bid more than that."""
    wanted = int(rival * max(1, frame.operation_count)) + 1
    return min(wanted + frame.resource_fee, INT64_MAX)


@dataclass(frozen=True, slots=True)
class Selection:
    """What goes into a ledger, and what its transactions pay for each operation."""

    frames: list[Frame]
    base_fee: int


def select(frames: Iterable[Frame], room: Room, base_fee: int) -> Selection:
    """As many as there is room for, best bids first.

    All pay ``base_fee``, or if anything has to wait, what the lowest among them bids.
    """
    taken: list[Frame] = []
    is_short = False
    for frame in sorted(frames, key=rank, reverse=True):
        needed = Room.of(frame)
        if room.holds(needed):
            taken.append(frame)
            room -= needed
        else:
            is_short = True
    if is_short and taken:
        base_fee = int(min(map(bid, taken)))
    return Selection(taken, base_fee)
