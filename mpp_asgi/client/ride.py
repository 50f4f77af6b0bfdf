"""One request that is paid for from a payment channel.

The rule of `conversation` holds here, too: **one payment for one request**. Vouchers are
cumulative, so a second one of the same channel for the same request adds nothing to the first. A
payment of another kind follows only when the ledger says that the channel has no money to take.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import httpx

from mpp_asgi.client.connection import origin_text, require_safe
from mpp_asgi.client.deposits import Deposits, NoRideError
from mpp_asgi.client.errors import PaymentNotMadeError
from mpp_asgi.client.held_channel import DepositTooSmallError, NotUsableError, Place, Status
from mpp_asgi.client.offers import Asked, OfferError
from mpp_asgi.client.session_offers import read_session_offer, session_offers
from mpp_asgi.client.showing import Showing, refusal
from mpp_asgi.client.trip import Trip
from mpp_asgi.protocol.headers import AUTHORIZATION

if TYPE_CHECKING:
    from mpp_asgi.client.held_channel import HeldChannel
    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.payments import Target
    from mpp_asgi.client.session_offers import SessionOffer
    from mpp_asgi.client.steps import Steps
    from mpp_asgi.protocol import Challenge

MOST_BEGINNINGS: Final = 6
"""Times that one request looks for a channel: it is opened, topped up, found closed, ..."""

SPARE_SECONDS: Final = 5.0
"""A challenge that expires sooner is not answered without asking."""


class Ride:
    """One request, and the channel that it is paid from."""

    def __init__(self, payer: Payer, request: httpx.Request, body: bytes) -> None:
        self._payer = payer
        self._sessions = payer.sessions
        self._request = request
        self._body = body
        self._by = secrets.token_hex(8)

    def known_offer(self) -> SessionOffer | None:
        """What the request costs, as far as that is known without asking."""
        challenge = self._sessions.prices.challenge(self._request.method, self._request.url)
        if challenge is None or not self._sessions.wanted:
            return None
        soon = self._payer.clock() + SPARE_SECONDS
        try:
            return read_session_offer(
                challenge,
                self._payer.rules,
                self._sessions.policy,
                self._asked(self._request.method),
                now=soon,
            )
        except OfferError:
            return None

    def offers_in(
        self, challenges: list[Challenge], at: httpx.Request
    ) -> tuple[list[SessionOffer], list[str]]:
        """The sessions that a 402 offers, and why others are not agreed to."""
        if not self._sessions.wanted:
            return [], []
        return session_offers(
            challenges,
            self._payer.rules,
            self._sessions.policy,
            self._asked(at.method),
            now=self._payer.clock(),
        )

    def place(self, offer: SessionOffer, url: httpx.URL) -> Place:
        """What a channel for the offer would be for."""
        rules = self._payer.rules
        return Place(
            payer=rules.payer,
            network=rules.network.name,
            origin=origin_text(url),
            recipient=offer.recipient,
            token=offer.token.address,
        )

    def take(
        self, offer: SessionOffer, target: Target, *, may_open: bool, worth: bool = False
    ) -> Steps[None]:
        """Have the request answered, paid from the channel of its place.

        Args:
            offer: the price.
            target: where it was asked.
            may_open: a channel may be opened.
            worth: only if enough can be deposited for it to be worth while.

        Raises:
            NoRideError: there is no channel, or not enough in it. Nothing was signed.
            PaymentError: as its subclasses say.
        """
        url = httpx.URL(target.url)
        require_safe(self._request.url, url, self._payer.origins)
        place = self.place(offer, url)
        showing = Showing(self._payer, self._request, self._body, target)
        deposits = Deposits(self._payer, showing, place, by=self._by)
        for _ in range(MOST_BEGINNINGS):
            held = self._sessions.channels.live(place)
            if held is None and may_open:
                held = yield from deposits.sign_opening(offer, worth=worth)
            elif held is None:
                break
            elif held.status is Status.OPENING:
                held = yield from deposits.resume_opening(held)
            if held is None:
                continue
            trip = Trip(
                self._payer, showing=showing, deposits=deposits, held=held, offer=offer, by=self._by
            )
            if (yield from _topped_up(trip, deposits, held, offer)):
                return
        raise _none_there()

    def _asked(self, method: str) -> Asked:
        body = self._body if method == self._request.method else b""
        return Asked(body, AUTHORIZATION in self._request.headers)


def _topped_up(
    trip: Trip, deposits: Deposits, held: HeldChannel, offer: SessionOffer
) -> Steps[bool]:
    """Whether the request was answered. If not, it is worth another look: there may be more in the
    channel now, or another channel."""
    try:
        return (yield from trip.go())
    except NotUsableError:
        return False
    except DepositTooSmallError as short:
        required = short.required
    try:
        yield from deposits.top_up(held, offer, required)
    except NoRideError:
        if trip.response is None:
            raise
        raise refusal("a voucher", offer, trip.response, paid=None) from None
    return False


def _none_there() -> NoRideError:
    return NoRideError(
        PaymentNotMadeError("Nothing was paid, because there is no payment channel to the server.")
    )
