"""Who gets a charge that exists already: the rule of `Store.claim`, for backends that decide in
Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stores.contract import Outcome, State

if TYPE_CHECKING:
    from mpp_asgi.stores.contract import Charge

OVER = frozenset({State.DELIVERED, State.FAILED})
UNSETTLED = frozenset({State.CLAIMED, State.SUBMITTED})


def rule(found: Charge, claimed: Charge, *, owner_lives: bool) -> Outcome:
    """Decide between the record that was found and the one that claims its place.

    Args:
        found: the record in the store.
        claimed: what the claimer would have written; its owner is the claimer.
        owner_lives: whether the owner of ``found`` has a heartbeat beyond now.
    """
    if found.credential != claimed.credential:
        return Outcome.CONFLICT
    if found.state in OVER:
        return Outcome.OVER
    if owner_lives and found.owner != claimed.owner:
        return Outcome.BUSY
    return Outcome.TAKEN
