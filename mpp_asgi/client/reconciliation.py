"""What becomes of payments in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.client.leaving import Leaving
from mpp_asgi.client.ledger_truth import Verdict, verdict

if TYPE_CHECKING:
    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.steps import Chores


def reconcile(payer: Payer) -> Chores[None]:
    """Ask the ledger about every payment in doubt, and give back what never left."""
    for owed in payer.book.doubts():
        found = yield from verdict(owed.payment.trace)
        if found is Verdict.PAID:
            owed.reservation.spend()
        elif found is Verdict.VOID:
            owed.reservation.give_back()
            payer.book.forget(owed.payment)
    if payer.sessions.wanted:
        yield from Leaving(payer).reconcile()
