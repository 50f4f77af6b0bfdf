"""The ledger: takes transactions in, closes, and keeps what was closed.

Nothing here reads a clock or sleeps. :meth:`Ledger.advance` is told the time and closes every
ledger that is due by then; whoever asks the ledger anything calls it first.

Close times are whole seconds and never run back, but several ledgers may have the same: those less
than a second apart, closed by hand, or after a clock was set back. On the network they grow by a
second at least; here that would take them ahead of the clock, a second for each such ledger, and
whatever is compared with them would expire too early.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from heapq import heapify, heappop, heappush
from math import ceil
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.application import Application
from mpp_asgi.sandbox.diagnostics import Diagnostics
from mpp_asgi.sandbox.header import Header, Phase, result_set_hash, transaction_set
from mpp_asgi.sandbox.history import RETENTION, History, Stretch
from mpp_asgi.sandbox.network import Moment
from mpp_asgi.sandbox.queue import BANNED_LEDGERS, Queue
from mpp_asgi.sandbox.record import applied_transaction, closed_ledger, placed_events
from mpp_asgi.sandbox.room import Room, Selection, select
from mpp_asgi.sandbox.standing import Standing
from mpp_asgi.sandbox.state import Layer, State, live_until
from mpp_asgi.sandbox.validity import judge
from mpp_asgi.sandbox.wire.entries import Ttl
from mpp_asgi.sandbox.wire.keys import is_temporary, ttl_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.network import Network
    from mpp_asgi.sandbox.queue import Submission
    from mpp_asgi.sandbox.wire.entries import Entry

FIRST_LEDGER = 1_000
"""Not 1, so that clients can look a little back from the first moment on."""
_LONGEST_CHAIN = 256
"""Empty ledgers that are closed one by one; more are passed over in one step."""


@dataclass(slots=True)
class Schedule:
    """When ledgers close: every ``interval`` seconds from ``start``; never by itself if None."""

    start: float
    interval: float | None
    closed: int = 0
    frozen: bool = False

    def due(self, now: float) -> int:
        """How many ledgers are due by ``now``."""
        if self.interval is None or self.frozen or now < self.start:
            return 0
        return max(0, int((now - self.start) / self.interval) - self.closed)

    def time(self, number: int) -> float:
        """When the ``number``-th ledger from ``start`` closes."""
        return self.start + number * (self.interval or 0)


class Ledger:
    """One network's ledger."""

    def __init__(
        self,
        network: Network,
        *,
        now: float,
        close_interval: float | None,
        genesis: Iterable[Entry],
        retention: int = RETENTION,
    ) -> None:
        self.network = network
        self.state = State()
        self.queue = Queue(network)
        self.revision = 0
        """Grows whenever an entry changes."""
        self._fee_pool = 0
        self._expiring: list[tuple[int, bytes]] = []
        self._held_back: dict[bytes, int] = {}
        self._schedule = Schedule(now, close_interval)
        layer = Layer(self.state, FIRST_LEDGER)
        for entry in genesis:
            layer.put(entry)
        self._commit(layer)
        empty = transaction_set(bytes(32))
        header = Header(
            sequence=FIRST_LEDGER,
            close_time=int(now),
            previous_hash=bytes(32),
            transaction_set_hash=sha256(empty).digest(),
            result_hash=result_set_hash(()),
            state_hash=sha256(network.network_id).digest(),
            fee_pool=0,
        )
        self._header = header
        first = closed_ledger(header)
        self.history = History(FIRST_LEDGER, first, retention)
        self.history.add(first, Stretch(FIRST_LEDGER, int(now), 0))

    @property
    def sequence(self) -> int:
        """The latest closed ledger."""
        return self._header.sequence

    @property
    def close_time(self) -> int:
        return self._header.close_time

    @property
    def fee_pool(self) -> int:
        return self._fee_pool

    # Closing

    def advance(self, now: float) -> None:
        """Close every ledger that is due by ``now`` (Unix seconds)."""
        if now < self._schedule.time(self._schedule.closed):  # the clock was set back
            self._schedule = replace(self._schedule, start=now, closed=0)
        schedule = self._schedule
        due = schedule.due(now)
        while due and not self.queue.is_empty:
            schedule.closed += 1
            self._close_at(schedule.time(schedule.closed))
            due -= 1
        if due:
            self._pass_over(due)

    def close(self, now: float, count: int = 1) -> None:
        """Close ledgers now, due or not; the following ones are due from here on."""
        interval, frozen = self._schedule.interval, self._schedule.frozen
        self._schedule = Schedule(now, None)  # all of them close at once
        while count and not self.queue.is_empty:
            self._close_at(now)
            count -= 1
        if count:
            self._pass_over(count)
        self._schedule = Schedule(now, interval, frozen=frozen)

    def set_interval(self, interval: float | None, now: float) -> None:
        self._schedule = Schedule(now, interval, frozen=self._schedule.frozen)

    @property
    def interval(self) -> float | None:
        """Seconds from one ledger to the next; ``None``: they close on demand."""
        return self._schedule.interval

    @property
    def is_frozen(self) -> bool:
        return self._schedule.frozen

    def silence(self, now: float) -> float:
        """Seconds since the latest ledger closed; 0 where they close on demand only, as none is
        late there, unless it is frozen."""
        if self.interval is None and not self.is_frozen:
            return 0
        return now - self.close_time

    def freeze(self) -> None:
        """Close no ledger by itself until :meth:`thaw`."""
        self._schedule.frozen = True

    def thaw(self, now: float) -> None:
        self._schedule = Schedule(now, self._schedule.interval)

    def _close_at(self, time: float) -> None:
        moment = Moment(self.sequence + 1, max(int(time), self.close_time))
        selections = self._candidates(moment)
        frames = [frame for selection in selections for frame in selection.frames]
        if frames:
            self._close_with(selections, moment, time)
        else:
            self._append_empty(time, 1, self.history.latest.hash)
        self.queue.closed(frames)

    def _pass_over(self, count: int) -> None:
        """Close ``count`` ledgers nobody put anything in."""
        schedule = self._schedule
        skipped = max(0, count - _LONGEST_CHAIN)
        if skipped:
            # The chain of hashes does not run through ledgers nobody could have looked at.
            schedule.closed += skipped
            marker = sha256(self.history.latest.hash + skipped.to_bytes(8, "big")).digest()
            self._append_empty(schedule.time(schedule.closed), skipped, marker)
        for _ in range(count - skipped):
            schedule.closed += 1
            self._append_empty(schedule.time(schedule.closed), 1, self.history.latest.hash)
        for _ in range(min(count, BANNED_LEDGERS)):
            self.queue.closed(())

    def _append_empty(self, time: float, steps: int, previous_hash: bytes) -> None:
        """Append an empty ledger, ``steps`` after the latest one."""
        sequence = self.sequence + steps
        passed = (steps - 1) * (self._schedule.interval or 0)
        stretch = self._stretch(time - passed, self.sequence + 1)
        empty = transaction_set(previous_hash)
        self._header = Header(
            sequence=sequence,
            close_time=max(int(time), self.close_time),
            previous_hash=previous_hash,
            transaction_set_hash=sha256(empty).digest(),
            result_hash=result_set_hash(()),
            state_hash=self._header.state_hash,
            fee_pool=self._fee_pool,
        )
        self.history.add(closed_ledger(self._header, evicted=self._evict()), stretch)

    def _stretch(self, time: float, sequence: int) -> Stretch | None:
        """A new stretch of close times, unless the one that runs foretells this time."""
        return self.history.stretch_for(sequence, time, self._schedule.interval)

    def _candidates(self, moment: Moment) -> tuple[Selection, Selection]:
        """What goes into the next ledger, by phase; what has become invalid is banned."""
        valid: list[Frame] = []
        invalid: list[Frame] = []
        for frame in self.queue:
            if self._held_back.get(frame.full_hash, 0) > moment.sequence:
                continue
            result = judge(frame, self.network, self.state, moment, Diagnostics())
            (valid if result.succeeded else invalid).append(frame)
        self.queue.ban(invalid)
        return self._select(valid, soroban=False), self._select(valid, soroban=True)

    def _select(self, frames: Iterable[Frame], *, soroban: bool) -> Selection:
        room = Room.in_ledger(self.network.settings, soroban=soroban)
        rivals = (frame for frame in frames if frame.is_soroban is soroban)
        return select(rivals, room, self.network.base_fee)

    def _close_with(
        self, selections: tuple[Selection, Selection], moment: Moment, time: float
    ) -> None:
        previous = self.history.latest.hash
        classic, soroban = selections
        ordered = _apply_order([*classic.frames, *soroban.frames], previous)
        encoded = transaction_set(previous, _phase(classic), _phase(soroban))
        layer = Layer(self.state, moment.sequence)
        applications = [Application(frame, self.network, moment) for frame in ordered]
        for application in applications:
            phase = soroban if application.frame.is_soroban else classic
            self._fee_pool += application.charge(layer, phase.base_fee)
        for application in applications:
            application.apply(layer)
        for application in applications:
            self._fee_pool -= application.refund(layer)
        self._commit(layer)
        transactions = tuple(
            applied_transaction(application, moment, order)
            for order, application in enumerate(applications, start=1)
        )
        pairs = [transaction.hash + transaction.result for transaction in transactions]
        result_hash = result_set_hash(pairs)
        self._header = Header(
            sequence=moment.sequence,
            close_time=moment.close_time,
            previous_hash=previous,
            transaction_set_hash=sha256(encoded).digest(),
            result_hash=result_hash,
            state_hash=sha256(self._header.state_hash + result_hash).digest(),
            fee_pool=self._fee_pool,
        )
        evicted = self._evict()
        closed = closed_ledger(
            self._header,
            transactions=transactions,
            events=tuple(placed_events(applications, moment.sequence)),
            evicted=evicted,
        )
        self.history.add(closed, self._stretch(time, moment.sequence))

    # Entries

    def write(self, entries: Iterable[Entry]) -> None:
        """Write entries as if the latest ledger had; for setting the scene."""
        layer = Layer(self.state, self.sequence)
        for entry in entries:
            layer.put(entry)
        self._commit(layer)

    def _commit(self, layer: Layer) -> None:
        for entry in layer.written():
            if isinstance(entry, Ttl) and is_temporary(entry.of):
                heappush(self._expiring, (entry.live_until, entry.of))
        layer.commit()
        self.revision += 1

    def _evict(self) -> tuple[bytes, ...]:
        """Remove temporary entries that have expired."""
        evicted: list[bytes] = []
        while self._expiring and self._expiring[0][0] < self.sequence:
            _, key = heappop(self._expiring)
            if 0 < live_until(self.state, key) < self.sequence:
                self.state.write(key, None)
                self.state.write(ttl_key(key), None)
                evicted += (key, ttl_key(key))
        return tuple(evicted)

    # Going back

    def standing(self) -> Standing:
        """All that it is now, apart from what waits and when ledgers close."""
        return Standing(self._header, self.state.copy(), self.history.copy())

    def resume(self, standing: Standing, now: float) -> None:
        """Go on from there; nothing waits, and the next ledger is due an interval from now."""
        self.state = State(standing.entries)
        self.queue = Queue(self.network)
        self.history = standing.history.copy()
        self.revision += 1
        self._header = standing.header
        self._fee_pool = standing.header.fee_pool
        self._held_back = {}
        self._expiring = [
            (entry.live_until, entry.of)
            for entry in self.state
            if isinstance(entry, Ttl) and is_temporary(entry.of)
        ]
        heapify(self._expiring)
        self._schedule = Schedule(now, self.interval, frozen=self.is_frozen)

    # Transactions

    def hold_back(self, frame: Frame, ledgers: int) -> None:
        """Leave a waiting transaction out of the next ``ledgers`` ledgers."""
        held = self._held_back.items()
        self._held_back = {name: first for name, first in held if first > self.sequence}
        self._held_back[frame.full_hash] = self.sequence + 1 + ledgers

    def submit(self, frame: Frame, now: float) -> Submission:
        """Put a transaction into the queue, or say why not."""
        interval = self._schedule.interval
        expected = 0 if interval is None else ceil(interval)
        drift = max(0, int(now) - self.close_time)
        moment = Moment(self.sequence + 1, self.close_time, 2 * expected + drift)
        return self.queue.submit(frame, self.state, moment)


def _phase(selection: Selection) -> Phase:
    return Phase([frame.envelope.xdr for frame in selection.frames], selection.base_fee)


def _apply_order(frames: list[Frame], previous_hash: bytes) -> list[Frame]:
    """Classic before Soroban, within each an order nobody can foresee when submitting."""
    salt = int.from_bytes(previous_hash, "big")
    return sorted(
        frames,
        key=lambda frame: (frame.is_soroban, int.from_bytes(frame.full_hash, "big") ^ salt),
    )
