"""Following a stream that is paid for while it flows (session intent, "Streaming").

When the headroom of the channel runs out, the stream says so and waits for a higher voucher on
another request. What it asks for is a server's word: it gets no more than the app allowed.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import httpx

from mpp_asgi.client.amounts import base_units, price_tag
from mpp_asgi.client.answers import payment_receipt
from mpp_asgi.client.connection import origin_text
from mpp_asgi.client.deposits import Deposits, NoRideError
from mpp_asgi.client.errors import BudgetExceededError, ChannelDisputedError, UnacceptableOfferError
from mpp_asgi.client.events import EventReader, ServerEvent
from mpp_asgi.client.held_channel import (
    DepositTooSmallError,
    FalseClaimError,
    NotUsableError,
    Status,
)
from mpp_asgi.client.offers import Asked
from mpp_asgi.client.payments import Target
from mpp_asgi.client.session_offers import claim_in, session_offers
from mpp_asgi.client.showing import Showing, refusal
from mpp_asgi.protocol import ProtocolError
from mpp_asgi.protocol.encoding import parse_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from typing import Any

    from mpp_asgi.client.amounts import Amount
    from mpp_asgi.client.errand import AsyncErrands, Errands
    from mpp_asgi.client.held_channel import HeldChannel
    from mpp_asgi.client.payer import Payer
    from mpp_asgi.client.session_offers import Claim, SessionOffer
    from mpp_asgi.client.steps import Chores, Steps
    from mpp_asgi.stellar.network import Token

NEED_VOUCHER = "payment-need-voucher"
RECEIPT = "payment-receipt"


class StreamPayer:
    """Answers what one stream says about money."""

    def __init__(
        self, payer: Payer, response: httpx.Response, *, limit: Amount | None, ahead: int
    ) -> None:
        self._payer = payer
        self._sessions = payer.sessions
        self._method = response.request.method
        self._url = response.request.url
        self._limit = limit
        self._ahead = ahead
        receipt = payment_receipt(response)
        self._channel = None if receipt is None else claim_in(receipt.extra).channel
        self._signed = 0
        """Base units that were signed for this stream beyond its price."""

    def hear(self, event: ServerEvent) -> Steps[None]:
        """Do what an event wants. Others than those about money want nothing.

        Raises:
            BudgetExceededError: it wants more than is allowed.
            PaymentError: as its subclasses say.
        """
        held = self._held()
        if held is None or event.name not in {NEED_VOUCHER, RECEIPT}:
            return
        said = _object(event.data)
        claim = claim_in(said)
        if claim.channel != held.id:
            return
        held = yield from self._believed(held, claim)
        if event.name == NEED_VOUCHER:
            required = claim_in({"spent": said.get("requiredCumulative")}).spent
            if required is not None:
                yield from self._raise_to(held, required)

    def _held(self) -> HeldChannel | None:
        """The channel that pays for the stream, if it is one of this payer's and for there."""
        if self._channel is None:
            return None
        held, rules = self._sessions.channels.get(self._channel), self._payer.rules
        if held is None or held.status is not Status.OPEN:
            return None
        place = held.place
        ours = (place.payer, place.network) == (rules.payer, rules.network.name)
        return held if ours and place.origin == origin_text(self._url) else None

    def _believed(self, held: HeldChannel, claim: Claim) -> Chores[HeldChannel]:
        try:
            return (
                yield from self._sessions.note(
                    held, lambda each: each.believe(accepted=claim.accepted, spent=claim.spent)
                )
            )
        except FalseClaimError:
            yield from self._sessions.change(held, lambda each: each.ended(Status.FORSAKEN))
            raise ChannelDisputedError(
                "The server claims more of a payment channel than was ever signed.",
                channel=held.id,
            ) from None

    def _raise_to(self, held: HeldChannel, required: int) -> Steps[None]:
        offer = self._offer(held)
        token = offer.token
        showing = Showing(
            self._payer,
            httpx.Request("HEAD", self._url),
            b"",
            Target("HEAD", str(self._url)),
        )
        most = self._most(token)

        def stretch(each: HeldChannel) -> HeldChannel:
            room = each.signed + most - self._signed
            if required > room:
                raise BudgetExceededError(
                    f"The stream costs more than the {price_tag(most, token)} beyond its price "
                    "that it may."
                )
            missing = max(required - each.signed, offer.least_raise)
            return each.stretch(required, min(each.signed + self._ahead * missing, room))

        before = held.signed
        try:
            held = yield from self._sessions.change(held, self._sessions.signing(token, stretch))
        except NotUsableError:
            return
        except DepositTooSmallError as short:
            deposits = Deposits(self._payer, showing, held.place, by=secrets.token_hex(8))
            try:
                yield from deposits.top_up(held, offer, short.required)
            except NoRideError as no_ride:
                raise no_ride.why from None
            held = yield from self._sessions.change(held, self._sessions.signing(token, stretch))
        self._signed += held.signed - before
        yield from self._show(held, offer, showing)

    def _show(self, held: HeldChannel, offer: SessionOffer, showing: Showing) -> Steps[None]:
        voucher = self._sessions.wallet.voucher(held.id, held.signed)
        response = yield from showing.show(offer, "voucher", voucher, channel=held.id)
        renewed = None if response.is_success else showing.renewed(response, offer)
        if renewed is not None:
            offer = renewed
            self._sessions.prices.learn(self._method, self._url, offer.challenge)
            response = yield from showing.show(offer, "voucher", voucher, channel=held.id)
        if not response.is_success:
            raise refusal("a voucher for a stream", offer, response, paid=None)

    def _most(self, token: Token) -> int:
        if self._limit is not None:
            return base_units(self._limit, token)
        most = self._payer.rules.max_per_request.get(token.address)
        return self._payer.budget.left()[token] + self._signed if most is None else most

    def _offer(self, held: HeldChannel) -> SessionOffer:
        """A challenge that a voucher can answer."""
        last = self._sessions.prices.challenge(self._method, self._url)
        offers, reasons = session_offers(
            [] if last is None else [last],
            self._payer.rules,
            self._sessions.policy,
            Asked(b"", has_authorization=False),
            now=self._payer.clock(),
        )
        for offer in offers:
            if (offer.token.address, offer.recipient) == (held.place.token, held.place.recipient):
                return offer
        raise UnacceptableOfferError(tuple(reasons) or ("the stream outlived its challenge",))


class EventStream:
    """The events of a response, as they come; those about money are answered and left out.

    ``response`` is the answer itself: its status, its headers, and what it says if it is no stream.
    """

    def __init__(self, response: httpx.Response, payer: StreamPayer, errands: Errands) -> None:
        self.response = response
        self._payer = payer
        self._errands = errands

    def __iter__(self) -> Iterator[ServerEvent]:
        if not self.response.is_success:
            self.response.read()
        _require_events(self.response)
        reader = EventReader()
        for piece in self.response.iter_bytes():
            for event in reader.feed(piece):
                self._errands.run(self._payer.hear(event))
                if not event.name.startswith("payment-"):
                    yield event


class AsyncEventStream:
    """`EventStream` in an event loop."""

    def __init__(self, response: httpx.Response, payer: StreamPayer, errands: AsyncErrands) -> None:
        self.response = response
        self._payer = payer
        self._errands = errands

    async def __aiter__(self) -> AsyncIterator[ServerEvent]:
        if not self.response.is_success:
            await self.response.aread()
        _require_events(self.response)
        reader = EventReader()
        async for piece in self.response.aiter_bytes():
            for event in reader.feed(piece):
                await self._errands.run(self._payer.hear(event))
                if not event.name.startswith("payment-"):
                    yield event


def _require_events(response: httpx.Response) -> None:
    """See that an answer without events is not taken for a stream that had none."""
    response.raise_for_status()
    kind = response.headers.get("content-type", "text/event-stream").partition(";")[0].strip()
    if kind.lower() != "text/event-stream":
        raise httpx.DecodingError(
            f"The answer is no event stream but {kind[:40]!r}: read it as events.response.",
            request=response.request,
        )


def _object(data: str) -> Mapping[str, Any]:
    """What an event's data says, if it is an object."""
    try:
        return parse_object(data.encode("utf-8", "replace"), name="event", part="event")
    except ProtocolError:
        return {}
