"""Transactions that wait for the next ledger.

One transaction per source account, in one of two lanes: classic and Soroban. A waiting transaction
can be replaced only by a fee bump with the same sequence number and ten times the bid. Each lane
holds twice what a ledger does; when it is full, higher bids drive out the lowest. What could not be
included for four ledgers expires; what expired, was driven out, found no room or turned out invalid
is banned for ten.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.diagnostics import Diagnostics
from mpp_asgi.sandbox.refusal import RefusedError
from mpp_asgi.sandbox.resources import check_resources
from mpp_asgi.sandbox.room import Room, bid, fee_above, rank
from mpp_asgi.sandbox.state import find_account
from mpp_asgi.sandbox.validity import judge
from mpp_asgi.sandbox.wire.entries import INT64_MAX
from mpp_asgi.sandbox.wire.results import Code, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from fractions import Fraction

    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.network import Moment, Network
    from mpp_asgi.sandbox.state import View

PENDING_LEDGERS = 4
BANNED_LEDGERS = 10
REPLACEMENT_FACTOR = 10
LEDGERS_HELD = 2
"""How many ledgers a lane has room for."""


class Status(StrEnum):
    PENDING = "PENDING"
    DUPLICATE = "DUPLICATE"
    TRY_AGAIN_LATER = "TRY_AGAIN_LATER"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of submitting a transaction; ``result`` and diagnostics go with an error."""

    status: Status
    result: Result | None = None
    diagnostics: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Waiting:
    """An account in a lane: the transaction it is the source of, and the fees it is to pay."""

    frame: Frame | None = None
    fees: int = 0
    age: int = 0


class NoRoomError(Exception):
    """A lane is full; ``fee`` would get in, unless it is 0: then nothing would."""

    def __init__(self, fee: int) -> None:
        super().__init__(f"a fee of {fee} is needed" if fee else "no fee gets in")
        self.fee = fee


class Lane:
    """The waiting transactions of one sort."""

    def __init__(self) -> None:
        self._accounts: dict[bytes, Waiting] = {}
        self._used = Room()
        self._outbid: Fraction | None = None
        """The bid last driven out; until the next ledger, nobody gets in who does not bid more."""
        self._banned: deque[set[bytes]] = deque(
            (set() for _ in range(BANNED_LEDGERS)), maxlen=BANNED_LEDGERS
        )

    def __iter__(self) -> Iterator[Frame]:
        return (w.frame for w in self._accounts.values() if w.frame is not None)

    def has_account(self, public_key: bytes) -> bool:
        return public_key in self._accounts

    def waiting(self, public_key: bytes) -> Frame | None:
        account = self._accounts.get(public_key)
        return None if account is None else account.frame

    def fees(self, public_key: bytes) -> int:
        account = self._accounts.get(public_key)
        return 0 if account is None else account.fees

    def is_banned(self, frame: Frame) -> bool:
        return any(frame.full_hash in banned for banned in self._banned)

    def losers(self, frame: Frame, limit: Room) -> list[Frame]:
        """Who has to make room for ``frame``: the lowest bids, as many as it takes.

        Raises :class:`NoRoomError` if it does not outbid all of them.
        """
        offer = bid(frame)
        if self._outbid is not None and offer <= self._outbid:
            raise NoRoomError(fee_above(self._outbid, frame))
        replaced = self.waiting(frame.source)
        needed = Room.of(frame) - (Room() if replaced is None else Room.of(replaced))
        if not limit.holds(needed):
            raise NoRoomError(0)
        missing = self._used + needed - limit
        losers: list[Frame] = []
        for rival in sorted(self, key=rank) if missing else ():
            if not missing:
                break
            if bid(rival) >= offer:
                raise NoRoomError(fee_above(bid(rival), frame))
            if rival is replaced:
                raise NoRoomError(0)
            losers.append(rival)
            missing -= Room.of(rival)
        return losers

    def add(self, frame: Frame, losers: Sequence[Frame] = ()) -> None:
        """Take it in, and ban those who make room for it."""
        for loser in losers:
            self._outbid = bid(loser)
        self.ban(losers)
        self.drop(frame.source)
        self._used += Room.of(frame)
        self._accounts.setdefault(frame.source, Waiting()).frame = frame
        self._accounts.setdefault(frame.fee_source, Waiting()).fees += frame.full_fee

    def drop(self, public_key: bytes) -> None:
        """Forget what the account is the source of."""
        account = self._accounts.get(public_key)
        if account is None or account.frame is None:
            return
        frame = account.frame
        account.frame = None
        account.age = 0
        self._used -= Room.of(frame)
        self._accounts[frame.fee_source].fees -= frame.full_fee
        for key in {public_key, frame.fee_source}:
            left = self._accounts[key]
            if left.frame is None and not left.fees:
                del self._accounts[key]

    def ban(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self._banned[0].add(frame.full_hash)
            waiting = self.waiting(frame.source)
            if waiting is not None and waiting.full_hash == frame.full_hash:
                self.drop(frame.source)

    def applied(self, frames: Iterable[Frame]) -> None:
        """Remove what a ledger took, and what its sequence numbers have made stale."""
        for frame in frames:
            waiting = self.waiting(frame.source)
            if waiting is not None and waiting.sequence <= frame.sequence:
                self.drop(frame.source)

    def shift(self) -> None:
        """A ledger has closed: what waits grows older, bans grow lighter."""
        self._outbid = None
        self._banned.appendleft(set())
        expired = []
        for account in self._accounts.values():
            if account.frame is None:
                continue
            account.age += 1
            if account.age >= PENDING_LEDGERS:
                expired.append(account.frame)
        self.ban(expired)


class Queue:
    """Both lanes."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.classic = Lane()
        self.soroban = Lane()

    def __iter__(self) -> Iterator[Frame]:
        yield from self.classic
        yield from self.soroban

    @property
    def is_empty(self) -> bool:
        return next(iter(self), None) is None

    def submit(self, frame: Frame, view: View, moment: Moment) -> Submission:
        """Take a transaction in, or say why not. ``moment`` is that of the next ledger."""
        lane, other = self._lanes(frame)
        refusal = self._refuse_unread(frame, lane, other)
        if refusal is not None:
            return refusal
        try:
            losers = lane.losers(frame, self._limit(frame))
        except NoRoomError as error:
            lane.ban([frame])
            return _no_room(error.fee)
        diagnostics = Diagnostics()
        result = judge(frame, self._network, view, moment, diagnostics)
        if not result.succeeded:
            return _error(result, diagnostics)
        if not self._can_pay(frame, lane.waiting(frame.source), lane, view):
            return _error(Result(0, Code.INSUFFICIENT_BALANCE))
        lane.add(frame, losers)
        return Submission(Status.PENDING)

    def _lanes(self, frame: Frame) -> tuple[Lane, Lane]:
        if frame.is_soroban:
            return self.soroban, self.classic
        return self.classic, self.soroban

    def _refuse_unread(self, frame: Frame, lane: Lane, other: Lane) -> Submission | None:
        """Why ``frame`` is not even looked into; ``None`` when it is."""
        if other.has_account(frame.source) or lane.is_banned(frame):
            return Submission(Status.TRY_AGAIN_LATER)
        if not _has_sane_fee(frame):
            return _error(Result(0, Code.MALFORMED))
        waiting = lane.waiting(frame.source)
        return None if waiting is None else self._refuse_replacing(frame, waiting)

    def _limit(self, frame: Frame) -> Room:
        """Of the lane that the transaction is for."""
        return Room.in_ledger(self._network.settings, soroban=frame.is_soroban) * LEDGERS_HELD

    def _refuse_replacing(self, frame: Frame, waiting: Frame) -> Submission | None:
        """Why ``frame`` may not take the place of what waits; ``None`` when it may."""
        if _is_same(waiting, frame):
            return Submission(Status.DUPLICATE)
        if frame.sequence < waiting.sequence:
            return _error(Result(0, Code.BAD_SEQ))
        if frame.is_soroban:
            diagnostics = Diagnostics()
            try:
                check_resources(frame, self._network.settings, diagnostics)
            except RefusedError as refusal:
                return _error(Result(0, refusal.code), diagnostics)
        if not frame.is_fee_bump or frame.sequence != waiting.sequence:
            return Submission(Status.TRY_AGAIN_LATER)
        needed = _replacement_fee(frame, waiting)
        return _error(Result(needed, Code.INSUFFICIENT_FEE)) if needed else None

    def _can_pay(self, frame: Frame, waiting: Frame | None, lane: Lane, view: View) -> bool:
        """Whether the payer can pay this and everything else of it that waits."""
        payer = find_account(view, frame.fee_source)
        if payer is None:
            return False
        promised = lane.fees(frame.fee_source) + frame.full_fee
        if waiting is not None and waiting.fee_source == frame.fee_source:
            promised -= waiting.full_fee
        return payer.available_balance(self._network.base_reserve) >= promised

    def ban(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self._lanes(frame)[0].ban([frame])

    def closed(self, applied: Iterable[Frame]) -> None:
        """A ledger has closed with these transactions."""
        for frame in applied:
            self._lanes(frame)[0].applied([frame])
        self.classic.shift()
        self.soroban.shift()


def _has_sane_fee(frame: Frame) -> bool:
    if frame.is_soroban and frame.soroban is None:
        return False
    return frame.full_fee >= 0 and frame.resource_fee >= 0


def _replacement_fee(frame: Frame, waiting: Frame) -> int:
    """The fee needed to replace what waits; 0 when ``frame`` offers enough."""
    old_count = max(1, waiting.operation_count)
    new_count = max(1, frame.operation_count)
    wanted = REPLACEMENT_FACTOR * waiting.inclusion_fee * new_count
    if frame.inclusion_fee * old_count >= wanted:
        return 0
    return min(-(-wanted // old_count) + frame.resource_fee, INT64_MAX)


def _no_room(fee: int) -> Submission:
    if not fee:
        return Submission(Status.TRY_AGAIN_LATER)
    return _error(Result(fee, Code.INSUFFICIENT_FEE))


def _is_same(waiting: Frame, frame: Frame) -> bool:
    """The same envelope, or the inside of a fee bump that waits."""
    if waiting.is_fee_bump and not frame.is_fee_bump:
        return waiting.inner_full_hash == frame.full_hash
    return waiting.full_hash == frame.full_hash


def _error(result: Result, diagnostics: Diagnostics | None = None) -> Submission:
    encoded = () if diagnostics is None else tuple(diagnostics.encoded)
    return Submission(Status.ERROR, result, encoded)
