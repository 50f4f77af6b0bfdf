"""Everything in one process's memory: for tests, demos, and a single worker that may forget."""

from __future__ import annotations

import heapq
import secrets
from typing import TYPE_CHECKING, Any

from mpp_asgi.stores.contract import Charge, Claim, Outcome, OwnershipLostError, State
from mpp_asgi.stores.memory.answers import MemoryAnswers
from mpp_asgi.stores.memory.budgets import MemoryBudgets
from mpp_asgi.stores.memory.channels import MemoryChannels
from mpp_asgi.stores.memory.expiry import Expiry
from mpp_asgi.stores.memory.loans import MemoryLoans
from mpp_asgi.stores.ruling import OVER, UNSETTLED, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class MemoryStore(MemoryChannels, MemoryLoans, MemoryBudgets, MemoryAnswers):
    """A `Store` that lasts as long as the object does, closed or not.

    No call awaits anything, so each one is atomic on its event loop. Memory is bounded by `purge`
    and `forget_channels`.

    Args:
        new_secret: makes a secret of so many random bytes, base64url.
    """

    def __init__(self, *, new_secret: Callable[[int], str] = secrets.token_urlsafe) -> None:
        super().__init__()
        self._new_secret = new_secret
        self._secret: str | None = None
        self._open: dict[str, Charge] = {}
        self._over: dict[str, _Row] = {}
        self._proofs: dict[str, tuple[str, ...]] = {}
        self._challenge_of: dict[str, str] = {}
        self._expiry = Expiry()
        self._alive_until: dict[str, int] = {}

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def secret(self) -> str:
        """As `Store.secret`; a new one for each store."""
        if self._secret is None:
            self._secret = self._new_secret(32)
        return self._secret

    async def claim(self, charge: Charge, proofs: Sequence[str], *, now: int) -> Claim:
        """As `Store.claim`."""
        charge_id = charge.id
        if proofs and self._conflicts(charge_id, proofs):
            return Claim(Outcome.CONFLICT, None)
        found = self._find(charge_id)
        if found is None:
            self._expiry.add(charge_id, charge.keep_until)
            self._put(charge, proofs)
            return Claim(Outcome.NEW, charge)
        outcome = rule(found, charge, owner_lives=self._lives(found.owner, now))
        if outcome is Outcome.TAKEN:
            if found.owner != charge.owner:
                found = found._replace(owner=charge.owner)
            self._put(found, proofs)
        return Claim(outcome, found)

    async def write(self, charge: Charge, proofs: Sequence[str] = (), *, owner: str) -> None:
        """As `Store.write`."""
        charge_id, keep_until = charge.id, charge.keep_until
        found = self._open.get(charge_id) or self._find(charge_id)
        if found is None or found.owner != owner or (proofs and self._conflicts(charge_id, proofs)):
            raise OwnershipLostError(charge_id)
        known_until = found.keep_until
        if known_until != keep_until:
            self._expiry.discard(charge_id, known_until)
            self._expiry.add(charge_id, keep_until)
        self._put(charge, proofs)

    async def release(self, charge_id: str, *, owner: str) -> None:
        """As `Store.release`."""
        found = self._open.get(charge_id)
        if found is not None and found.owner == owner and found.state is State.CLAIMED:
            self._expiry.discard(found.id, found.keep_until)
            self._forget(charge_id)

    async def get(self, charge_id: str) -> Charge | None:
        """As `Store.get`."""
        return self._find(charge_id)

    async def open_charges(self, *, now: int, limit: int) -> Sequence[Charge]:
        """As `Store.open_charges`; what would be purged first comes first."""
        unsettled = (charge for charge in self._open.values() if charge.state in UNSETTLED)
        ownerless = (charge for charge in unsettled if not self._lives(charge.owner, now))
        return heapq.nsmallest(limit, ownerless, key=lambda charge: (charge.keep_until, charge.id))

    async def heartbeat(self, owner: str, *, alive_until: int) -> None:
        """As `Store.heartbeat`."""
        self._alive_until[owner] = alive_until

    async def purge(self, *, now: int, limit: int) -> int:
        """As `Store.purge`."""
        for owner in [owner for owner in self._alive_until if not self._lives(owner, now)]:
            del self._alive_until[owner]
        self._purge_leases(now=now)
        expired = self._expiry.take(now=now, limit=limit)
        for charge_id in expired:
            self._forget(charge_id)
        gone = len(expired)
        gone += self._purge_budgets(now=now, limit=limit - gone)
        return gone + self._purge_answers(now=now, limit=limit - gone)

    def _lives(self, owner: str | None, now: int) -> bool:
        return owner is not None and self._alive_until.get(owner, now) > now

    def _conflicts(self, charge_id: str, proofs: Sequence[str]) -> bool:
        for proof in proofs:  # noqa: SIM110 # any() over a generator costs as much as the rest
            if self._challenge_of.get(proof, charge_id) != charge_id:
                return True
        return False

    def _find(self, charge_id: str) -> Charge | None:
        row = self._over.get(charge_id)
        return self._open.get(charge_id) if row is None else _from_row(row)

    def _put(self, charge: Charge, proofs: Sequence[str]) -> None:
        charge_id = charge.id
        if charge.state in OVER:
            self._open.pop(charge_id, None)
            self._over[charge_id] = _as_row(charge)
        else:
            self._open[charge_id] = charge
            self._over.pop(charge_id, None)
        if proofs:
            known = self._proofs.get(charge_id, ())
            self._proofs[charge_id] = tuple(dict.fromkeys((*known, *proofs)))
            for proof in proofs:
                self._challenge_of[proof] = charge_id

    def _forget(self, charge_id: str) -> None:
        if self._open.pop(charge_id, None) is None:
            del self._over[charge_id]
        for proof in self._proofs.pop(charge_id, ()):
            del self._challenge_of[proof]


_Row = tuple[Any, ...]
"""A charge that is over, in values that the garbage collector need not look at: there may be a
million of them, and each of its full rounds would stop the event loop for as long as that takes."""


def _as_row(charge: Charge) -> _Row:
    charge_id, credential, state, *rest = charge
    return (charge_id, credential, _WORDS[state], *rest)


def _from_row(row: _Row) -> Charge:
    charge = Charge._make(row)
    return charge._replace(state=State(charge.state))


_WORDS = {state: state.value for state in State}
