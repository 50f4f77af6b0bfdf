"""Whoever pays: what all its conversations share, and how one of them goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mpp_asgi.client.conversation import PAYMENT_REQUIRED, Conversation, refusal_of
from mpp_asgi.client.leaving import Leaving
from mpp_asgi.client.ledger_truth import Verdict, verdict
from mpp_asgi.client.offers import INTENT, METHOD, Rules
from mpp_asgi.client.session_offers import SESSION
from mpp_asgi.client.steps import send
from mpp_asgi.protocol.headers import ACCEPT_PAYMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from mpp_asgi.client.book import Book, Owed
    from mpp_asgi.client.budget import Budget
    from mpp_asgi.client.connection import Origin
    from mpp_asgi.client.retries import Patience
    from mpp_asgi.client.sessions import Sessions
    from mpp_asgi.client.steps import Chores, Steps
    from mpp_asgi.client.wallet import Wallet


MOST_PAYMENTS: Final = 2
"""Payments signed for one request: a second one replaces one that the ledger declared void."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Everything that conversations share."""

    rules: Rules
    origins: frozenset[Origin] | None
    wallet: Wallet
    budget: Budget
    book: Book
    patience: Patience
    clock: Callable[[], float]
    sessions: Sessions

    def converse(self, request: httpx.Request, body: bytes) -> Steps[Owed | None]:
        """Get the request answered, paying for it if that is asked.

        The last response sent into the steps is the answer.

        Returns:
            The payment, if there was one; should the response's body get lost, it is to be kept.

        Raises:
            PaymentError: as its subclasses say.
        """
        request.headers.setdefault(ACCEPT_PAYMENT, self._accepted())
        conversation = Conversation(self, request, body)
        owed = self.book.take(conversation.key)
        if owed is None:
            refused = yield from self._ask(conversation, request)
        else:
            refused = yield from self._claim(conversation, owed)
            if refused is None:
                return owed
        signed = 0
        while refused is not None:
            if (yield from conversation.ride(refused)):
                return None
            owed = yield from conversation.pay(refused)
            if owed is None:
                return None
            refused = yield from self._claim(conversation, owed)
            if refused is None:
                return owed
            signed += 1
            if signed == MOST_PAYMENTS:
                raise refusal_of(owed, refused, paid=False)
        return None

    def _accepted(self) -> str:
        """What this payer does, as ``Accept-Payment``."""
        charge = f"{METHOD}/{INTENT}"
        return f"{METHOD}/{SESSION}, {charge}" if self.sessions.wanted else charge

    def _ask(
        self, conversation: Conversation, request: httpx.Request
    ) -> Steps[httpx.Response | None]:
        """Send the request, with a voucher if its price is known. A 402 if it is still to be paid
        for, ``None`` if it was answered."""
        if (yield from conversation.ride_unasked()):
            return None
        response = yield from send(request)
        return response if response.status_code == PAYMENT_REQUIRED else None

    def _claim(self, conversation: Conversation, owed: Owed) -> Steps[httpx.Response | None]:
        """As `Conversation.claim`. Whatever ends it, be it the end of the task, the payment is not
        lost."""
        try:
            return (yield from conversation.claim(owed))
        finally:
            if not owed.resolved:
                self.book.keep(owed)

    def reconcile(self) -> Chores[None]:
        """Ask the ledger about every payment in doubt, and give back what never left."""
        for owed in self.book.doubts():
            found = yield from verdict(owed.payment.trace)
            if found is Verdict.PAID:
                owed.reservation.spend()
            elif found is Verdict.VOID:
                owed.reservation.give_back()
                self.book.forget(owed.payment)
        if self.sessions.wanted:
            yield from Leaving(self).reconcile()
