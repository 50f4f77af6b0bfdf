"""One request that may have to be paid for, from its first sending to its answer.

The rule that everything here serves: **one payment for one request**. A second one is signed only
when the ledger itself says that the first never moved and never will. No problem type is enough for
that: the server that sends it holds the first payment and can still take it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx

from mpp_asgi.client.amounts import price_tag
from mpp_asgi.client.answers import challenges_in, payment_receipt, problem_in, problem_slug
from mpp_asgi.client.book import Owed
from mpp_asgi.client.connection import (
    CarryingHeaders,
    origin_of,
    origin_text,
    require_direct,
    require_safe,
)
from mpp_asgi.client.deposits import NoRideError
from mpp_asgi.client.errors import (
    BudgetExceededError,
    PaymentOutcomeUnknownError,
    PaymentRefusedError,
    TransferFailedError,
    UnacceptableOfferError,
    UnsafeConnectionError,
)
from mpp_asgi.client.held_channel import Place
from mpp_asgi.client.ledger_truth import Verdict, verdict
from mpp_asgi.client.offers import Asked, Offer, acceptable_offers
from mpp_asgi.client.payments import PaidRequest, RequestKey, Target
from mpp_asgi.client.reconciliation import reconcile
from mpp_asgi.client.retries import failed_at_the_server, may_repeat
from mpp_asgi.client.ride import Ride
from mpp_asgi.client.session_offers import SESSION
from mpp_asgi.client.steps import RequestLostError, send, wait
from mpp_asgi.protocol.headers import AUTHORIZATION

if TYPE_CHECKING:
    from mpp_asgi.client.budget import Reservation
    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.payments import PushedTransaction, SignedPayment
    from mpp_asgi.client.steps import Chores, Steps
    from mpp_asgi.protocol import Challenge, Receipt


MOST_SHOWINGS: Final = 3
"""Challenges under which one pushed payment is shown for one request."""

PAYMENT_REQUIRED: Final = 402


class Conversation:
    """The state of one request."""

    def __init__(self, payer: Payer, request: httpx.Request, body: bytes) -> None:
        self._payer = payer
        self._request = request
        self._body = body
        self._ride = Ride(payer, request, body)
        self._reasons: list[str] = []
        self._cookies = httpx.Cookies()
        """What the server has set meanwhile: that may be what brings the credential to the node
        that asked for it."""
        self.key = RequestKey.of(request, body)

    # --- sessions ---------------------------------------------------------------------------------

    def ride_unasked(self) -> Steps[bool]:
        """Whether the request was answered, paid from a channel at a price that is known."""
        offer = self._ride.known_offer()
        if offer is None:
            return False
        target = Target(self._request.method, str(self._request.url))
        try:
            yield from self._ride.take(offer, target, may_open=False)
        except (NoRideError, BudgetExceededError, UnsafeConnectionError):
            return False  # asking costs nothing, and may show another way
        return True

    def ride(self, priced: httpx.Response) -> Steps[bool]:
        """Whether the request was answered, paid from a channel."""
        challenges, at = challenges_in(priced), priced.request
        offers, self._reasons = self._ride.offers_in(challenges, at)
        if not offers:
            return False
        require_safe(self._request.url, at.url, self._payer.origins)
        require_direct(priced)
        offer, sessions = offers[0], self._payer.sessions
        sessions.prices.learn(at.method, at.url, offer.challenge)
        charged, _ = self._offers(challenges, at)
        place = self._ride.place(offer, at.url)
        try:
            yield from self._ride.take(
                offer,
                Target(at.method, str(at.url)),
                may_open=not charged or sessions.worth_opening(place),
                worth=bool(charged),
            )
        except NoRideError as no_ride:
            if not charged:
                raise no_ride.why from None
            return False
        except TransferFailedError:
            if not charged:
                raise
            return False
        return True

    # --- signing ----------------------------------------------------------------------------------

    def pay(self, priced: httpx.Response) -> Chores[Owed | None]:
        """Choose an offer of the 402 and sign a payment; ``None`` if it makes none."""
        challenges = challenges_in(priced)
        if not challenges:
            return None
        at = priced.request
        require_safe(self._request.url, at.url, self._payer.origins)
        require_direct(priced)
        self._cookies.extract_cookies(priced)
        offer, reservation = yield from self._choose(challenges, at)
        try:
            payment = yield from self._payer.wallet.sign(
                offer,
                self._payer.rules.mode,
                request=self.key,
                target=Target(at.method, str(at.url)),
            )
        except BaseException:
            reservation.give_back()
            raise
        if self._payer.clock() >= offer.expires:
            reservation.give_back()
            raise UnacceptableOfferError(("it expired while it was being paid",))
        return Owed(payment, reservation)

    def _choose(
        self, challenges: list[Challenge], at: httpx.Request
    ) -> Chores[tuple[Offer, Reservation]]:
        fresh = [each for each in challenges if not self._payer.book.knows(each.id)]
        offers, reasons = self._offers(fresh, at)
        reasons = [*self._reasons, *reasons]
        if len(fresh) < len(challenges):
            reasons.append("it was answered before")
        if not offers:
            raise UnacceptableOfferError(tuple(reasons))
        try:
            return self._reserve(offers)
        except BudgetExceededError:
            yield from reconcile(self._payer)
            return self._reserve(offers)

    def _offers(
        self, challenges: list[Challenge], at: httpx.Request
    ) -> tuple[list[Offer], list[str]]:
        asked = Asked(self._body_at(at.method), AUTHORIZATION in self._request.headers)
        if self._payer.sessions.wanted:
            challenges = [each for each in challenges if each.intent != SESSION]
        return acceptable_offers(challenges, self._payer.rules, asked, now=self._payer.clock())

    def _reserve(self, offers: list[Offer]) -> tuple[Offer, Reservation]:
        """The best offer that the budget has the money for."""
        for offer in offers[:-1]:
            try:
                return offer, self._payer.budget.reserve(offer.token, offer.amount)
            except BudgetExceededError:
                continue
        return offers[-1], self._payer.budget.reserve(offers[-1].token, offers[-1].amount)

    def _body_at(self, method: str) -> bytes:
        """A redirect may have turned the request into a GET without a body."""
        return self._body if method == self._request.method else b""

    # --- showing ----------------------------------------------------------------------------------

    def claim(self, owed: Owed) -> Steps[httpx.Response | None]:
        """Show the payment until there is an answer.

        Returns:
            ``None`` when the request is answered, or a 402 for a payment that is void for good.
        """
        require_safe(self._request.url, httpx.URL(owed.payment.target.url), self._payer.origins)
        self._payer.book.begin(owed)
        pushed = owed.payment.pushed
        if pushed is not None:
            yield from self._push(owed, pushed)
        showings = 1
        attempt = 1
        while True:
            response = yield from self._show(owed)
            if response.status_code == PAYMENT_REQUIRED:
                if pushed is None:
                    return (yield from self._refused(owed, response))
                if showings >= MOST_SHOWINGS or not self._renew(owed, pushed, response):
                    raise refusal_of(owed, response, paid=True)
                showings += 1
                if problem_slug(response) == "payment-expired":
                    continue
            elif not failed_at_the_server(response):
                self._answered(owed, response)
                return None
            elif attempt >= self._payer.patience.attempts or not may_repeat(
                response.request, response
            ):
                raise _unknown(owed, f"the server answered HTTP {response.status_code}")
            yield from wait(self._payer.patience.delay(response, attempt, self._payer.clock))
            attempt += 1

    def _push(self, owed: Owed, pushed: PushedTransaction) -> Chores[None]:
        """The payer's own transaction is in the ledger, or an error says where it is."""
        before, owed.submitted = owed.submitted, True  # first: this may be its last step
        found = yield from self._payer.wallet.submit(pushed, submitted_before=before)
        if found is Verdict.PAID:
            owed.reservation.spend()
        elif found is Verdict.VOID:
            owed.reservation.give_back()
            owed.resolved = True
            raise TransferFailedError("Nothing was paid, because the ledger refused the transfer.")
        else:
            raise _unknown(owed, "the ledger could not be asked about the transaction")

    def _show(self, owed: Owed) -> Steps[httpx.Response]:
        """Send the request with the credential."""
        request = self._carrying(owed.payment)
        try:
            response = yield from send(request)
        except RequestLostError as lost:
            if lost.never_sent and not owed.shown and owed.payment.pushed is None:
                owed.reservation.give_back()
                owed.resolved = True
                raise
            owed.shown = True
            if isinstance(lost.cause, httpx.TransportError):
                raise _unknown(owed, "the connection was lost") from lost.cause
            if isinstance(lost.cause, httpx.TooManyRedirects):
                raise _unknown(owed, "the answer was one redirect too many") from lost.cause
            raise
        owed.shown = True
        if origin_of(response.request.url) == origin_of(request.url):
            self._cookies.extract_cookies(response)
        return response

    def _carrying(self, payment: SignedPayment) -> httpx.Request:
        target = payment.target
        headers = self._request.headers.copy()
        if target.method != self._request.method:
            for name in ("Content-Length", "Content-Type", "Transfer-Encoding"):
                headers.pop(name, None)
        request = httpx.Request(
            target.method,
            target.url,
            stream=httpx.ByteStream(self._body_at(target.method)),
            extensions=self._request.extensions,
            headers=headers,
        )
        self._cookies.set_cookie_header(request)
        carried = {payment.offer.header: payment.credential()}
        request.headers = CarryingHeaders(request.headers, carried)
        return request

    # --- the answer -------------------------------------------------------------------------------

    def _answered(self, owed: Owed, response: httpx.Response) -> None:
        """The app gets this response. With an error status of the app's own, whether the money
        left stays in doubt."""
        owed.resolved = True
        if response.is_error:
            return
        owed.reservation.spend()
        if not owed.entered:
            owed.entered = True
            self._enter(owed.payment, payment_receipt(response))

    def _enter(self, payment: SignedPayment, receipt: Receipt | None) -> None:
        self._payer.sessions.experience.add(self._place(payment))
        transaction_hash = payment.transaction_hash
        if transaction_hash is None and receipt is not None:
            transaction_hash = receipt.reference
        self._payer.book.enter(
            PaidRequest(
                method=self._request.method,
                url=str(self._request.url),
                challenge_id=payment.challenge_id,
                currency=payment.offer.token.symbol,
                token=payment.offer.token.address,
                amount=payment.offer.amount,
                decimals=payment.offer.token.decimals,
                recipient=payment.offer.recipient,
                transaction_hash=transaction_hash,
                receipt=receipt,
            )
        )

    def _place(self, payment: SignedPayment) -> Place:
        rules, offer = self._payer.rules, payment.offer
        origin = origin_text(httpx.URL(payment.target.url))
        return Place(rules.payer, rules.network.name, origin, offer.recipient, offer.token.address)

    def _refused(self, owed: Owed, response: httpx.Response) -> Chores[httpx.Response]:
        """A pulled payment was answered with 402: what does the ledger say?"""
        found = yield from verdict(owed.payment.trace)
        owed.resolved = True
        if found is Verdict.VOID:
            owed.reservation.give_back()
            return response
        if found is Verdict.PAID:
            owed.reservation.spend()
        raise refusal_of(owed, response, paid=True if found is Verdict.PAID else None)

    def _renew(self, owed: Owed, pushed: PushedTransaction, response: httpx.Response) -> bool:
        """Answer a fresh challenge for the same price with the same pushed payment."""
        if str(response.request.url) != owed.payment.target.url:
            return False  # a redirect was followed: somebody else's challenge
        try:
            challenges = challenges_in(response)
        except UnacceptableOfferError:
            return False
        offers, _ = self._offers(challenges, response.request)
        for offer in offers:
            if offer.same_price(owed.payment.offer):
                owed.payment = self._payer.wallet.shown_again(owed.payment, pushed, offer)
                self._payer.book.begin(owed)
                return True
        return False


def _price(owed: Owed) -> str:
    offer = owed.payment.offer
    return price_tag(offer.amount, offer.token)


def _unknown(owed: Owed, why: str) -> PaymentOutcomeUnknownError:
    return PaymentOutcomeUnknownError(
        f"It is not known what came of a payment of {_price(owed)}, because {why}; "
        "send the same request again to show the same payment.",
        payment=owed.payment,
    )


def refusal_of(owed: Owed, response: httpx.Response, *, paid: bool | None) -> PaymentRefusedError:
    problem = problem_in(response)
    said = f" ({problem.slug[:40]!r}: {problem.detail[:200]!r})" if problem else ""
    money = {True: "and the money has left", False: "and no money left", None: "and may take it"}
    return PaymentRefusedError(
        f"The server refused a payment of {_price(owed)}, {money[paid]}{said}.",
        challenge_id=owed.payment.challenge_id,
        transaction_hash=owed.payment.transaction_hash,
        problem=problem,
        paid=paid,
        response=response,
    )
