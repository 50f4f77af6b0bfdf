"""Loans, budgets and kept answers of every backend against plain dicts: random histories."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, invariant, multiple, rule

from mpp_asgi.stores.budgets import Budget
from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.loans import LONGEST_SECONDS, Loan
from tests.stores.histories import Histories, live_through, which

times = st.integers(0, 12)
moments = times | times.map(lambda time: time + LONGEST_SECONDS)
"""By a clock that is right, or runs ahead."""
limits = st.integers(0, 3)


@dataclass(frozen=True)
class Account:
    """Of the latest loan of it."""

    fence: int
    free_at: int
    sequence: int | None = None
    """What the next borrower is told."""


class LoanHistories(Histories):
    """Borrowers that prolong and return in time, too late, or never."""

    loans = Bundle("loans")

    @initialize()
    def begin(self):
        self.accounts: dict[str, Account] = {}
        self.returned: list[str] = []  # what was returned with its sequence, the last one first
        self.highest: dict[str, int] = {}  # the fences so far

    def _next(self, wanted, now):
        taken = {
            name
            for name, account in self.accounts.items()
            if now < account.free_at <= now + LONGEST_SECONDS
        }
        free = [name for name in wanted if name not in taken]
        return next((name for name in [*self.returned, *free] if name in free), None)

    def _put(self, name, account):
        self.accounts[name] = account
        if name in self.returned:
            self.returned.remove(name)
        if account.sequence is not None:
            self.returned.insert(0, name)

    def _has_it(self, loan):
        return loan.account in self.accounts and self.accounts[loan.account].fence == loan.fence

    @rule(target=loans, w=which, wanted=st.permutations("abcd").flatmap(
        lambda names: st.integers(0, 4).map(lambda n: names[:n])
    ), until=moments, now=moments)  # fmt: skip
    def borrow(self, w, wanted, until, now):
        loan = self.do(self.stores[w].borrow(wanted, until=until, now=now))
        expected = self._next(wanted, now)
        if expected is None:
            assert loan is None
            return multiple()
        known = self.accounts.get(expected)
        assert loan == Loan(expected, loan.fence, known and known.sequence)
        assert loan.fence > self.highest.get(expected, 0)
        self.highest[expected] = loan.fence
        self._put(expected, Account(loan.fence, until))
        return loan

    @rule(w=which, loan=loans, until=moments)
    def prolong(self, w, loan, until):
        assert self.do(self.stores[w].prolong(loan, until=until)) == self._has_it(loan)
        if self._has_it(loan):
            self._put(loan.account, Account(loan.fence, until))

    @rule(w=which, loan=loans | consumes(loans), sequence=st.none() | st.integers(0, 2**63 - 1),
          free_at=moments)  # fmt: skip
    def hand_back(self, w, loan, sequence, free_at):
        done = self.do(self.stores[w].hand_back(loan, sequence=sequence, free_at=free_at))
        assert done == self._has_it(loan)
        if done:
            self._put(loan.account, Account(loan.fence, free_at, sequence))

    @rule(w=which, names=st.lists(st.sampled_from("abcd"), max_size=2))
    def forget(self, w, names):
        self.do(self.stores[w].forget_loans(names))
        for name in names:
            self.accounts.pop(name, None)
        self.returned = [name for name in self.returned if name in self.accounts]


@dataclass(frozen=True)
class Drawn:
    amount: int
    keep_until: int


budgets = st.builds(
    Budget, st.sampled_from("abc"), limit=st.integers(0, 20), keep_until=st.integers(0, 12)
)
amounts = st.integers(0, 8)


class BudgetHistories(Histories):
    """Callers that draw, return, and do not agree on limits."""

    @initialize(unit=st.sampled_from([1, 2**58]))
    def begin(self, unit):
        """Amounts are small numbers of ``unit``."""
        self.unit = unit
        self.drawn: dict[str, Drawn] = {}

    def _exceeded(self, drawn_on, amount):
        for budget in drawn_on:
            if self.drawn.get(budget.name, Drawn(0, 0)).amount + amount > budget.limit:
                return budget.name
        return None

    @rule(w=which, some=st.lists(budgets, max_size=3, unique_by=lambda b: b.name), amount=amounts)
    def draw(self, w, some, amount):
        drawn_on = [budget._replace(limit=budget.limit * self.unit) for budget in some]
        amount *= self.unit
        expected = self._exceeded(drawn_on, amount)
        assert self.do(self.stores[w].draw(drawn_on, amount)) == expected
        if expected is None:
            for budget in drawn_on:
                before = self.drawn.get(budget.name, Drawn(0, 0))
                keep_until = max(before.keep_until, budget.keep_until)
                self.drawn[budget.name] = Drawn(before.amount + amount, keep_until)

    @rule(w=which, names=st.lists(st.sampled_from("abc"), unique=True), amount=amounts)
    def put_back(self, w, names, amount):
        amount *= self.unit
        self.do(self.stores[w].put_back(names, amount))
        for name in set(names) & set(self.drawn):
            left = max(0, self.drawn[name].amount - amount)
            self.drawn[name] = replace(self.drawn[name], amount=left)

    @rule(w=which, now=times)
    def purge(self, w, now):
        over = {name for name, drawn in self.drawn.items() if drawn.keep_until <= now}
        assert self.do(self.stores[w].purge(now=now, limit=3)) == len(over)
        self.drawn = {name: self.drawn[name] for name in set(self.drawn) - over}

    @invariant()
    def both_stores_count_what_the_model_counts(self):
        for store in self.stores:
            for name in "abc":
                expected = self.drawn.get(name, Drawn(0, 0)).amount
                assert self.do(store.drawn(name)) == expected


answers = st.builds(
    KeptAnswer,
    st.sampled_from("abc"),
    st.sampled_from(["r", "s"]),
    st.binary(max_size=3),
    keep_until=st.integers(1, 12),
)


class AnswerHistories(Histories):
    """Answers for few keys, some of which are over when they come."""

    @initialize()
    def begin(self):
        self.kept: dict[str, KeptAnswer] = {}

    @rule(w=which, answer=answers, now=times)
    def keep(self, w, answer, now):
        if answer.key not in self.kept or self.kept[answer.key].keep_until <= now:
            self.kept[answer.key] = answer
        assert self.do(self.stores[w].keep_answer(answer, now=now)) == self.kept[answer.key]

    @rule(w=which, now=times, limit=limits)
    def purge(self, w, now, limit):
        over = {key for key, answer in self.kept.items() if answer.keep_until <= now}
        gone = self.do(self.stores[w].purge(now=now, limit=limit))
        assert gone == min(limit, len(over))
        left = {key for key in self.kept if self.do(self.stores[w].kept_answer(key, now=0))}
        assert len(over - left) == gone  # which of them is for the store to say
        self.kept = {key: answer for key, answer in self.kept.items() if key in left}
        assert set(self.kept) == left

    @rule(now=times)
    def look(self, now):
        for store in self.stores:
            for key in "abc":
                kept = self.kept.get(key)
                expected = None if kept is None or kept.keep_until <= now else kept
                assert self.do(store.kept_answer(key, now=now)) == expected


@pytest.mark.repeating
def test_any_history_of_loans_ends_as_in_the_model(new_storage):
    live_through(LoanHistories, new_storage)


@pytest.mark.repeating
def test_any_history_of_budgets_ends_as_in_the_model(new_storage):
    live_through(BudgetHistories, new_storage)


@pytest.mark.repeating
def test_any_history_of_answers_ends_as_in_the_model(new_storage):
    live_through(AnswerHistories, new_storage)
