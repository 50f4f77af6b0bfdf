"""One request from its first sending to its answer: asked, ridden, paid, claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpp_asgi.client.conversation import PAYMENT_REQUIRED, Conversation, refusal_of
from mpp_asgi.client.offers import INTENT, METHOD
from mpp_asgi.client.session_offers import SESSION
from mpp_asgi.client.steps import send
from mpp_asgi.protocol.headers import ACCEPT_PAYMENT

if TYPE_CHECKING:
    import httpx

    from mpp_asgi.client.book import Owed
    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.steps import Steps

MOST_PAYMENTS: Final = 2
"""Payments signed for one request: a second one replaces one that the ledger declared void."""


def purchase(payer: Payer, request: httpx.Request, body: bytes) -> Steps[Owed | None]:
    """Get the request answered, paying for it if that is asked.

    The last response sent into the steps is the answer.

    Returns:
        The payment, if there was one; should the response's body get lost, it is to be kept.

    Raises:
        PaymentError: as its subclasses say.
    """
    request.headers.setdefault(ACCEPT_PAYMENT, _accepted(payer))
    conversation = Conversation(payer, request, body)
    owed = payer.book.take(conversation.key)
    if owed is None:
        refused = yield from _ask(conversation, request)
    else:
        refused = yield from _claim(payer, conversation, owed)
        if refused is None:
            return owed
    signed = 0
    while refused is not None:
        if (yield from conversation.ride(refused)):
            return None
        owed = yield from conversation.pay(refused)
        if owed is None:
            return None
        refused = yield from _claim(payer, conversation, owed)
        if refused is None:
            return owed
        signed += 1
        if signed == MOST_PAYMENTS:
            raise refusal_of(owed, refused, paid=False)
    return None


def _accepted(payer: Payer) -> str:
    """What the payer does, as ``Accept-Payment``."""
    charge = f"{METHOD}/{INTENT}"
    return f"{METHOD}/{SESSION}, {charge}" if payer.sessions.wanted else charge


def _ask(conversation: Conversation, request: httpx.Request) -> Steps[httpx.Response | None]:
    """Send the request, with a voucher if its price is known. A 402 if it is still to be paid for,
    ``None`` if it was answered."""
    if (yield from conversation.ride_unasked()):
        return None
    response = yield from send(request)
    return response if response.status_code == PAYMENT_REQUIRED else None


def _claim(payer: Payer, conversation: Conversation, owed: Owed) -> Steps[httpx.Response | None]:
    """As `Conversation.claim`. Whatever ends it, be it the end of the task, the payment is not
    lost."""
    try:
        return (yield from conversation.claim(owed))
    finally:
        if not owed.resolved:
            payer.book.keep(owed)
