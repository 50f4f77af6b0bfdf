"""Sends a request with a session's credential, and reads what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from mpp_asgi.client.amounts import price_tag
from mpp_asgi.client.answers import challenges_in, payment_receipt, problem_in
from mpp_asgi.client.connection import CarryingHeaders, origin_text, require_safe
from mpp_asgi.client.errors import PaymentRefusedError, UnacceptableOfferError
from mpp_asgi.client.offers import Asked
from mpp_asgi.client.session_offers import Claim, claim_in, session_offers
from mpp_asgi.client.steps import send, wait
from mpp_asgi.protocol import Credential
from mpp_asgi.protocol.headers import AUTHORIZATION, PAYMENT_SESSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.payments import Target
    from mpp_asgi.client.session_offers import SessionOffer
    from mpp_asgi.client.steps import Steps
    from mpp_asgi.protocol import Challenge, Problem, Receipt

PAYMENT_REQUIRED: Final = 402
CONFLICT: Final = 409
GONE: Final = 410

INSUFFICIENT: Final = "session/insufficient-balance"
REVERTED: Final = "session/transaction-reverted"
CHANNEL_NOT_FOUND: Final = "session/channel-not-found"
CHANNEL_FINALIZED: Final = "session/channel-finalized"

_BUSY: Final = frozenset({CONFLICT, 425, 429, 503})
"""The server did not get to it, and says so."""


@dataclass(frozen=True, slots=True)
class Showing:
    """One request, as often as it is sent with a credential."""

    payer: Payer
    request: httpx.Request
    body: bytes
    target: Target
    """Where the price was asked."""

    @property
    def url(self) -> httpx.URL:
        return httpx.URL(self.target.url)

    @property
    def asked(self) -> Asked:
        return Asked(self._body(), AUTHORIZATION in self.request.headers)

    def show(
        self, offer: SessionOffer, action: str, payload: Mapping[str, str], *, channel: str
    ) -> Steps[httpx.Response]:
        """The response; one that says "come back" only when patience is at its end.

        Raises:
            UnsafeConnectionError: the credential must not go there.
            RequestLostError: there is none.
        """
        require_safe(self.request.url, httpx.URL(self.target.url), self.payer.origins)
        credential = Credential(
            offer.challenge, {"action": action, **payload}, self.payer.sessions.wallet.source
        ).to_header()
        fields = {offer.header: credential, PAYMENT_SESSION: channel}
        attempt = 1
        while True:
            response = yield from send(self._carrying(fields))
            if not is_busy(response) or attempt >= self.payer.patience.attempts:
                return response
            yield from wait(self.payer.patience.delay(response, attempt, self.payer.clock))
            attempt += 1

    def _carrying(self, fields: Mapping[str, str]) -> httpx.Request:
        headers = self.request.headers.copy()
        if self.target.method != self.request.method:
            for name in ("Content-Length", "Content-Type", "Transfer-Encoding"):
                headers.pop(name, None)
        request = httpx.Request(
            self.target.method,
            self.target.url,
            stream=httpx.ByteStream(self._body()),
            extensions=self.request.extensions,
        )
        request.headers = CarryingHeaders(headers, fields)
        return request

    def _body(self) -> bytes:
        return self.body if self.target.method == self.request.method else b""

    # --- reading ----------------------------------------------------------------------------------

    def from_target(self, response: httpx.Response) -> bool:
        """It answers the request with the credential, and is not where a redirect led to."""
        return str(response.request.url) == self.target.url

    def from_server(self, response: httpx.Response) -> bool:
        """It is of the server that the credential was for, wherever there a redirect led to."""
        return origin_text(response.request.url) == origin_text(httpx.URL(self.target.url))

    def challenges(self, response: httpx.Response) -> list[Challenge]:
        """The fresh challenges in a response."""
        if not self.from_target(response):
            return []
        try:
            return challenges_in(response)
        except UnacceptableOfferError:
            return []

    def renewed(self, response: httpx.Response, offer: SessionOffer) -> SessionOffer | None:
        """A fresh offer of the same session, whatever its price."""
        payer = self.payer
        offers, _ = session_offers(
            self.challenges(response),
            payer.rules,
            payer.sessions.policy,
            self.asked,
            now=payer.clock(),
        )
        for each in offers:
            if (each.token, each.recipient) == (offer.token, offer.recipient):
                return each
        return None

    def claim(self, response: httpx.Response, channel: str) -> Claim:
        """What the server says of the channel, in a problem or a fresh challenge."""
        said: list[Mapping[str, object]] = []
        problem = problem_in(response) if self.from_server(response) else None
        if problem is not None:
            said.append(problem.extra)
        for challenge in self.challenges(response):
            details = challenge.request_object().get("methodDetails")
            if isinstance(details, dict) and details.get("channelId") == channel:
                said.append(details)
        claims = [claim_in(each) for each in said]
        own = [each for each in claims if each.channel in {None, channel}]
        return Claim(
            channel=channel,
            accepted=_most(each.accepted for each in own),
            spent=_most(each.spent for each in own),
            deposit=_most(each.deposit for each in own),
        )

    def receipt(self, response: httpx.Response, channel: str) -> tuple[Receipt | None, Claim]:
        """The receipt, and what it says of the channel."""
        receipt = payment_receipt(response)
        claim = claim_in({} if receipt is None else receipt.extra)
        if claim.channel != channel or not self.from_server(response):
            claim = claim_in({})
        return receipt, claim


def is_busy(response: httpx.Response) -> bool:
    """The server did nothing yet: the same again, later."""
    if response.status_code not in _BUSY:
        return False
    return slug_of(problem_in(response)) != REVERTED


def refusal(
    what: str, offer: SessionOffer, response: httpx.Response, *, paid: bool | None
) -> PaymentRefusedError:
    """The server does not take what it was given."""
    problem = problem_in(response)
    said = f" ({problem.slug[:40]!r}: {problem.detail[:200]!r})" if problem else ""
    money = "and no money left" if paid is False else "and may take it"
    return PaymentRefusedError(
        f"The server refused {what} at a price of {price_tag(offer.amount, offer.token)}, "
        f"{money}{said}.",
        challenge_id=offer.challenge.id,
        transaction_hash=None,
        problem=problem,
        paid=paid,
        response=response,
    )


def slug_of(problem: Problem | None) -> str:
    return "" if problem is None else problem.slug


def _most(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known, default=None)
