"""Every backend against the shortest program that could be a store, over random histories."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from mpp_asgi.stores.contract import Charge, Claim, Outcome, OwnershipLostError, State
from tests.stores.histories import Histories, live_through, which

if TYPE_CHECKING:
    from collections.abc import Sequence


class Model:
    """The contract in plain dicts, one sentence a line."""

    def __init__(self) -> None:
        self.charges: dict[str, Charge] = {}
        self.proofs: dict[str, str] = {}
        self.alive: dict[str, int] = {}

    def _foreign(self, charge_id: str, proofs: Sequence[str]) -> bool:
        return any(self.proofs.get(proof, charge_id) != charge_id for proof in proofs)

    def _lives(self, owner: str | None, now: int) -> bool:
        return owner in self.alive and self.alive[owner] > now

    def _keep(self, charge: Charge, proofs: Sequence[str]) -> Charge:
        self.charges[charge.id] = charge
        self.proofs |= dict.fromkeys(proofs, charge.id)
        return charge

    def forget(self, charge_id: str) -> None:
        del self.charges[charge_id]
        self.proofs = {proof: of for proof, of in self.proofs.items() if of != charge_id}

    def claim(self, charge: Charge, proofs: Sequence[str], now: int) -> Claim:
        if self._foreign(charge.id, proofs):
            return Claim(Outcome.CONFLICT, None)
        if charge.id not in self.charges:
            return Claim(Outcome.NEW, self._keep(charge, proofs))
        found = self.charges[charge.id]
        if found.credential != charge.credential:
            return Claim(Outcome.CONFLICT, found)
        if found.state in (State.DELIVERED, State.FAILED):
            return Claim(Outcome.OVER, found)
        if found.owner in (None, charge.owner) or not self._lives(found.owner, now):
            return Claim(Outcome.TAKEN, self._keep(found._replace(owner=charge.owner), proofs))
        return Claim(Outcome.BUSY, found)

    def write(self, charge: Charge, proofs: Sequence[str], owner: str) -> bool:
        found = self.charges.get(charge.id)
        if found is None or found.owner != owner or self._foreign(charge.id, proofs):
            return False
        self._keep(charge, proofs)
        return True

    def release(self, charge_id: str, owner: str) -> None:
        found = self.charges.get(charge_id)
        if found is not None and (found.owner, found.state) == (owner, State.CLAIMED):
            self.forget(charge_id)

    def open_charges(self, now: int, limit: int) -> list[Charge]:
        found = [
            charge
            for charge in self.charges.values()
            if charge.state in (State.CLAIMED, State.SUBMITTED)
            and not self._lives(charge.owner, now)
        ]
        return sorted(found, key=lambda charge: (charge.keep_until, charge.id))[:limit]


challenges = st.sampled_from("abc")
owners = st.sampled_from(["v", "w"])
proof_lists = st.lists(st.sampled_from(["p", "q", "r", "s"]), max_size=2)
credentials = st.sampled_from(["c", "c", "c", "d"])
envelopes = st.sampled_from([None, "A", "B"])
times = st.integers(0, 12)
limits = st.integers(0, 3)


class ChargeHistories(Histories):
    """What two stores on one storage may live through, as two processes do."""

    @initialize()
    def begin(self):
        self.model = Model()

    @rule(w=which, challenge=challenges, credential=credentials, keep=times, owner=owners,
          proofs=proof_lists, now=times)  # fmt: skip
    def claim(self, w, challenge, credential, keep, owner, proofs, now):
        charge = Charge(
            id=challenge, credential=credential, state=State.CLAIMED, keep_until=keep, owner=owner
        )
        claim = self.do(self.stores[w].claim(charge, proofs, now=now))
        assert claim == self.model.claim(charge, proofs, now)

    @precondition(lambda self: self.model.charges)
    @rule(w=which, data=st.data(), state=st.sampled_from(State), keep=times,
          to=st.none() | owners, envelope=envelopes, proofs=proof_lists,
          wrong=st.booleans())  # fmt: skip
    def write(self, w, data, state, keep, to, envelope, proofs, wrong):
        found = data.draw(
            st.sampled_from(sorted(self.model.charges.values(), key=attrgetter("id")))
        )
        owner = "w" if wrong or found.owner is None else found.owner
        charge = found._replace(state=state, keep_until=keep, owner=to, envelope=envelope)
        self._write(w, charge, proofs, owner)

    @rule(w=which, challenge=challenges, owner=owners, proofs=proof_lists)
    def write_blindly(self, w, challenge, owner, proofs):
        charge = Charge(
            id=challenge,
            credential="c",
            state=State.SUBMITTED,
            keep_until=7,
            owner=owner,
            payer="G",
        )
        self._write(w, charge, proofs, owner)

    def _write(self, w, charge, proofs, owner):
        try:
            self.do(self.stores[w].write(charge, proofs, owner=owner))
        except OwnershipLostError:
            written = False
        else:
            written = True
        assert written == self.model.write(charge, proofs, owner)

    @rule(w=which, challenge=challenges, owner=owners)
    def release(self, w, challenge, owner):
        self.do(self.stores[w].release(challenge, owner=owner))
        self.model.release(challenge, owner)

    @rule(w=which, owner=owners, alive_until=times)
    def heartbeat(self, w, owner, alive_until):
        self.do(self.stores[w].heartbeat(owner, alive_until=alive_until))
        self.model.alive[owner] = alive_until

    @rule(w=which, now=times, limit=limits)
    def open_charges(self, w, now, limit):
        found = self.do(self.stores[w].open_charges(now=now, limit=limit))
        assert list(found) == self.model.open_charges(now, limit)

    @rule(w=which, now=times, limit=limits)
    def purge(self, w, now, limit):
        due = {
            challenge
            for challenge, charge in self.model.charges.items()
            if charge.keep_until <= now
        }
        gone = self.do(self.stores[w].purge(now=now, limit=limit))
        assert gone == min(limit, len(due))
        left = {key for key in due if self.do(self.stores[w].get(key)) is not None}
        assert len(due - left) == gone
        for challenge in due - left:  # which of them is for the store to say
            self.model.forget(challenge)
        self.model.alive = {o: t for o, t in self.model.alive.items() if t > now}

    @invariant()
    def both_stores_hold_what_the_model_holds(self):
        for store in self.stores:
            for challenge in "abc":
                found = self.do(store.get(challenge))
                assert found == self.model.charges.get(challenge)


@pytest.mark.repeating
def test_any_history_ends_as_in_the_model(new_storage):
    live_through(ChargeHistories, new_storage)
