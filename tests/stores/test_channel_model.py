"""Channels of every backend against plain sums and a ledger that moves on: random histories."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, invariant, precondition, rule

from mpp_asgi.stores.channels import (
    KEPT_ENTRIES,
    RETURNED,
    SPENT,
    Channel,
    ChannelStatus,
    Close,
    CloseOutcome,
    SpendOutcome,
)
from tests.stores.histories import Histories, live_through, which

FIRST_LEDGER = 50


@dataclass(frozen=True)
class Facts:
    """One channel on one ledger."""

    deposited: int
    settled: int = 0
    closes_at: int | None = None
    closed: bool = False


class Grant(NamedTuple):
    """Something that was spent and may still be given back."""

    channel_id: str
    cost: int
    units: int
    entry: str


@dataclass
class Account:
    """What the record has to say, as sums of what happened to it."""

    facts: Facts
    ledger: int
    opened_at: int
    accepted: int = 0
    signature: str = ""
    published: int = 0
    grants: list[tuple[int, int]] = field(default_factory=list)
    returned: list[tuple[int, int]] = field(default_factory=list)
    entries: list[tuple[str, str]] = field(default_factory=list)
    """Marks and entries."""
    unknown: int = 0
    settled_units: int = 0
    settled_at: int = 0
    closing: tuple[int, str] | None = None
    is_closing: bool = False
    is_closed: bool = False
    used_at: int = 0

    @property
    def spent(self) -> int:
        costs = sum(cost for cost, _ in self.grants) - sum(cost for cost, _ in self.returned)
        return costs + self.unknown

    @property
    def units(self) -> int:
        return sum(units for _, units in self.grants) - sum(units for _, units in self.returned)

    def mark_of(self, entry: str) -> str | None:
        return next((mark for mark, name in self.entries if name == entry), None)

    def remember(self, mark: str, entry: str) -> None:
        if entry:
            self.entries = [*self.entries, (mark, entry)][-KEPT_ENTRIES:]

    def spend(
        self, amount: int, cost: int, units: int, min_delta: int, now: int, *, shown: bool,
        entry: str,
    ) -> SpendOutcome:  # fmt: skip
        mark = self.mark_of(entry)
        if mark is not None:
            return SpendOutcome.SPENT if mark == SPENT else SpendOutcome.VOID
        if self.is_closed:
            return SpendOutcome.CLOSED
        if self.is_closing or self.facts.closes_at is not None:
            return SpendOutcome.CLOSING
        raised = amount - self.accepted
        if raised < 0:
            return SpendOutcome.LOWER
        if raised > 0:
            if raised < min_delta:
                return SpendOutcome.DELTA_TOO_SMALL
            if amount > self.facts.deposited:
                return SpendOutcome.EXCEEDS_DEPOSIT
            self.accepted, self.signature, self.used_at = amount, f"s{amount}", now
        if self.spent + cost > self.accepted:
            return SpendOutcome.INSUFFICIENT
        if shown and cost > 0 and max(self.published, self.facts.settled) >= amount:
            return SpendOutcome.PUBLISHED
        self.grants.append((cost, units))
        self.used_at = now
        self.remember(SPENT, entry)
        return SpendOutcome.SPENT

    def give_back(self, cost: int, units: int, entry: str, *, certain: bool) -> None:
        mark = self.mark_of(entry)
        if mark == RETURNED:
            return
        if mark == SPENT:
            at = self.entries.index((SPENT, entry))
            self.entries[at] = (RETURNED, entry)
        else:
            self.remember(RETURNED, entry)
        if mark == SPENT or certain:
            self.returned.append((cost, units))

    def observe(self, ledger: int, facts: Facts, now: int) -> None:
        if ledger < self.ledger:
            return
        if facts.settled > self.facts.settled:
            self.settled_at, self.settled_units = now, self.units
        self.ledger, self.facts = ledger, facts
        self.published = max(self.published, facts.settled)
        if facts.closed and not self.is_closed:
            self.is_closed, self.used_at = True, now
        self.count_unknown()

    def count_unknown(self) -> None:
        if self.facts.settled > self.accepted:
            self.unknown += self.facts.settled - self.accepted
            self.accepted, self.signature = self.facts.settled, ""

    def begin_close(self, amount: int, signature: str, now: int) -> CloseOutcome:
        if self.is_closed:
            return CloseOutcome.CLOSED
        if amount != self.spent:
            return CloseOutcome.NOT_SPENT
        self.is_closing, self.closing, self.used_at = True, (amount, signature), now
        return CloseOutcome.BEGUN

    def cancel_close(self, amount: int) -> None:
        if self.is_closing and not self.is_closed and self.closing and self.closing[0] == amount:
            self.is_closing, self.closing = False, None

    @property
    def status(self) -> ChannelStatus:
        if self.is_closed:
            return ChannelStatus.CLOSED
        return ChannelStatus.CLOSING if self.is_closing else ChannelStatus.OPEN

    def record(self, channel_id: str) -> Channel:
        amount, signature = self.closing or (None, "")
        return Channel(
            **terms(channel_id),
            deposited=self.facts.deposited,
            settled=self.facts.settled,
            seen_ledger=self.ledger,
            opened_at=self.opened_at,
            closes_at=self.facts.closes_at,
            accepted=self.accepted,
            signature=self.signature,
            published=self.published,
            spent=self.spent,
            units=self.units,
            settled_units=self.settled_units,
            status=self.status,
            closing_amount=amount,
            closing_signature=signature,
            used_at=self.used_at,
            settled_at=self.settled_at,
            recent="".join(mark + entry for mark, entry in self.entries),
        )


def terms(channel_id: str) -> dict[str, str | int]:
    return {
        "id": channel_id,
        "key": "ab" * 32,
        "funder": "GF",
        "recipient": "GR",
        "token": "CT",
        "waiting_period": 100,
    }


ids = st.sampled_from("ab")
small = st.integers(0, 12)
costs = st.integers(0, 5)
unit_counts = st.integers(0, 3)
times = st.integers(1, 20)
heights = st.integers(0, 9)
numbers = st.none() | st.integers(0, 4)
"""Of entries, each of which is always for the same: so much, and a unit."""


def entry_of(number: int) -> str:
    return f"{number:015x}"


class ChannelHistories(Histories):
    """What two stores on one storage may live through, as two workers do, while the ledger moves on
    and each of them sees some ledger of the past."""

    grants = Bundle("grants")

    @initialize(unit=st.sampled_from([1, 2**61, 10**37]))
    def begin(self, unit):
        """Amounts are small numbers of ``unit``."""
        self.unit = unit
        self.accounts: dict[str, Account] = {}
        self.ledgers = {channel_id: [Facts(deposited=4 * unit)] for channel_id in "ab"}
        self.given_back: set[int] = set()

    # the ledger

    def _close_ledger(self, channel_id, **changes):
        history = self.ledgers[channel_id]
        if not history[-1].closed:
            history.append(replace(history[-1], **changes))

    @rule(channel_id=ids, more=small)
    def top_up(self, channel_id, more):
        now = self.ledgers[channel_id][-1]
        self._close_ledger(channel_id, deposited=now.deposited + more * self.unit)

    @precondition(lambda self: self.accounts)
    @rule(channel_id=ids)
    def settle(self, channel_id):
        """The highest voucher, unless more is settled already."""
        if channel_id in self.accounts:
            accepted = self.accounts[channel_id].accepted
            settled = max(self.ledgers[channel_id][-1].settled, accepted)
            self._close_ledger(channel_id, settled=settled)

    @rule(channel_id=ids, amount=small)
    def settle_what_is_on_no_record(self, channel_id, amount):
        now = self.ledgers[channel_id][-1]
        settled = min(max(now.settled, amount * self.unit), now.deposited)
        self._close_ledger(channel_id, settled=settled)

    @rule(channel_id=ids)
    def start_close(self, channel_id):
        self._close_ledger(channel_id, closes_at=900)

    @rule(channel_id=ids)
    def end(self, channel_id):
        """The funder has the rest back."""
        now = self.ledgers[channel_id][-1]
        self._close_ledger(channel_id, deposited=now.settled, closes_at=900, closed=True)

    def _look(self, channel_id, ago):
        """Some ledger and the facts as of then."""
        history = self.ledgers[channel_id]
        height = max(0, len(history) - 1 - ago)
        return FIRST_LEDGER + height, history[height]

    # the workers

    @rule(w=which, channel_id=ids, ago=heights, now=times)
    def add(self, w, channel_id, ago, now):
        ledger, facts = self._look(channel_id, ago)
        new = Account(facts, ledger, opened_at=now, is_closed=facts.closed, published=facts.settled)
        added = self.do(self.stores[w].add_channel(new.record(channel_id)))
        if channel_id in self.accounts:
            self.accounts[channel_id].observe(ledger, facts, now)
        else:
            new.count_unknown()
            self.accounts[channel_id] = new
        assert added == self.accounts[channel_id].record(channel_id)

    @rule(target=grants, w=which, channel_id=ids, amount=small, above=st.booleans(), cost=costs,
          units=unit_counts, min_delta=st.sampled_from([0, 0, 3]), now=times,
          shown=st.sampled_from([True, True, False]), number=numbers)  # fmt: skip
    def spend(self, w, channel_id, amount, above, cost, units, min_delta, now, shown, number):
        """With a voucher for some amount, or for so much more than the highest."""
        account = self.accounts.get(channel_id)
        entry = ""
        if number is not None:
            entry, cost, units = entry_of(number), number, 1
        amount, cost = amount * self.unit, cost * self.unit
        if above and account is not None:
            amount += account.accepted
        found = self.do(
            self.stores[w].spend(
                channel_id,
                amount=amount,
                signature=f"s{amount}",
                cost=cost,
                units=units,
                min_delta=min_delta * self.unit,
                now=now,
                shown=shown,
                entry=entry,
            )
        )
        if account is None:
            assert found == (SpendOutcome.UNKNOWN, None)
            return None
        outcome = account.spend(
            amount, cost, units, min_delta * self.unit, now, shown=shown, entry=entry
        )
        assert found == (outcome, account.record(channel_id))
        return Grant(channel_id, cost, units, entry) if outcome is SpendOutcome.SPENT else None

    @rule(w=which, channel_id=ids, below=st.sampled_from([0, 0, 1]))
    def publish(self, w, channel_id, below):
        """The highest voucher, or one of before."""
        account = self.accounts.get(channel_id)
        amount = max(0, (account.accepted if account else 0) - below * self.unit)
        self.do(self.stores[w].publish(channel_id, amount=amount))
        if account is not None:
            account.published = max(account.published, amount)

    @rule(w=which, grant=grants)
    def fail(self, w, grant):
        """A handler fails, once for each grant and as late as it likes."""
        if grant is None or id(grant) in self.given_back or grant.channel_id not in self.accounts:
            return
        self.given_back.add(id(grant))
        channel_id, cost, units, entry = grant
        self.do(self.stores[w].give_back(channel_id, cost=cost, units=units, entry=entry))
        self.accounts[channel_id].give_back(cost, units, entry, certain=True)

    @rule(w=which, channel_id=ids, number=numbers.filter(lambda number: number is not None))
    def doubt(self, w, channel_id, number):
        """Nobody knows whether it was spent."""
        entry, cost = entry_of(number), number * self.unit
        self.do(
            self.stores[w].give_back(channel_id, cost=cost, units=1, entry=entry, certain=False)
        )
        if channel_id in self.accounts:
            self.accounts[channel_id].give_back(cost, 1, entry, certain=False)

    @rule(w=which, channel_id=ids, ago=heights, now=times)
    def observe(self, w, channel_id, ago, now):
        ledger, facts = self._look(channel_id, ago)
        found = self.do(
            self.stores[w].observe(
                channel_id,
                ledger=ledger,
                deposited=facts.deposited,
                settled=facts.settled,
                closes_at=facts.closes_at,
                closed=facts.closed,
                now=now,
            )
        )
        if channel_id not in self.accounts:
            assert found is None
            return
        self.accounts[channel_id].observe(ledger, facts, now)
        assert found == self.accounts[channel_id].record(channel_id)

    @rule(w=which, channel_id=ids, off=st.sampled_from([0, 0, 0, 1, -1]), now=times)
    def begin_close(self, w, channel_id, off, now):
        account = self.accounts.get(channel_id)
        amount = max(0, (account.spent if account else 0) + off)
        found = self.do(
            self.stores[w].begin_close(channel_id, amount=amount, signature=f"c{amount}", now=now)
        )
        if account is None:
            assert found == (CloseOutcome.UNKNOWN, None)
            return
        outcome = account.begin_close(amount, f"c{amount}", now)
        assert found == Close(outcome, account.record(channel_id))

    @rule(w=which, channel_id=ids, off=st.sampled_from([0, 0, 0, 1]))
    def cancel_close(self, w, channel_id, off):
        account = self.accounts.get(channel_id)
        amount = off + (account.closing[0] if account and account.closing else 0)
        self.do(self.stores[w].cancel_close(channel_id, amount=amount))
        if account is not None:
            account.cancel_close(amount)

    @rule(w=which, limit=st.integers(0, 3), after=st.sampled_from(["", "a"]),
          statuses=st.sets(st.sampled_from(ChannelStatus)))  # fmt: skip
    def list(self, w, limit, after, statuses):
        found = self.do(self.stores[w].channels(limit=limit, after=after, statuses=statuses))
        expected = [
            account.record(channel_id)
            for channel_id, account in sorted(self.accounts.items())
            if channel_id > after and account.status in statuses
        ]
        assert [*found] == expected[:limit]

    # what holds at any time

    @invariant()
    def every_store_holds_what_the_sums_say(self):
        for store in self.stores:
            for channel_id in "ab":
                account = self.accounts.get(channel_id)
                found = self.do(store.channel(channel_id))
                assert found == (account and account.record(channel_id))

    @invariant()
    def nobody_gets_more_than_was_promised_or_promises_more_than_there_is(self):
        for channel_id in self.accounts:
            found = self.do(self.stores[0].channel(channel_id))
            assert 0 <= found.spent <= found.accepted
            assert found.settled <= found.published <= found.accepted
            deposits = [facts.deposited for facts in self.ledgers[channel_id]]
            assert found.accepted <= max(deposits)
            if found.status is not ChannelStatus.CLOSED:
                assert found.accepted <= found.deposited


@pytest.mark.repeating
def test_any_history_ends_as_the_sums_say(new_storage):
    live_through(ChannelHistories, new_storage, examples=40, steps=40)
