"""The decision: challenge, refuse or admit. No HTTP, no framework, no money.

What an unpaid request gets is stateless: the challenge id is an HMAC over everything that was
offered, and ``opaque`` carries a digest of the resource it was offered for. So the gate knows its
own challenges again without having stored one, and a credential is good for one resource only.
"""

from __future__ import annotations

import functools
import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mpp_asgi.intents import FaultError, Intent, PendingError, Quote, RefusalError
from mpp_asgi.pricing import Price, PriceError, Tariff
from mpp_asgi.protocol import (
    Challenge,
    ChallengeTemplate,
    IssuedChallenge,
    ProtocolError,
    Secrets,
    arrange,
    b64url_encode,
    decode_object,
    digest_bytes,
    encode_object,
    format_timestamp,
    parse_seconds,
    problems,
    resource_binding,
)
from mpp_asgi.recognition import Recognition, not_ours
from mpp_asgi.stores.contract import OwnershipLostError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mpp_asgi.protocol import Credential, Problem

Trouble = RefusalError | PendingError | FaultError | StoreUnavailableError | OwnershipLostError
"""What keeps a payment from being made, whoever's fault it is."""

MOST_CACHED_OFFERS = 1024
"""Static offers kept ready; the realm may come from the request, so there could be many."""
MOST_LISTINGS = 4096
LONGEST_CACHED_RESOURCE = 256
"""Characters of path and query; longer ones come from few honest clients, and could fill memory."""
NONCE_BYTES = 12
RENEWAL_PART = 0.1
"""Of its time, after which a reusable challenge is followed by a fresh one."""
_UNBOUND = b64url_encode(b'"}')
"""How the ``opaque`` of a reusable challenge ends: nothing but the nonce."""
_PREFIX_CHARACTERS = 15
"""Of the nonce, the same for all challenges of a process; with ``{"n":"`` before them and as many
digits after them they end where groups of base64 do, so that each part is encoded once."""


class Resource:
    """What a challenge is good for: one request, told apart from every other.

    Args:
        digest: RFC 9530 digest of the body; ``None`` for a request without one.
        vary: the request headers that the price depends on, name and value.
    """

    __slots__ = ("digest", "method", "realm", "seal")

    def __init__(
        self,
        realm: str,
        method: str,
        path: str,
        query: bytes,
        *,
        digest: str | None = None,
        vary: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.realm = realm
        self.method = method
        self.digest = digest
        binding = resource_binding(method, path, query, vary)
        self.seal = b64url_encode(f'","r":"{binding}"}}'.encode())
        """How the ``opaque`` of each of its challenges ends: base64url of what follows the
        nonce."""


_ANY_RESOURCE = Resource("", "", "", b"")


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to pay one price, ready to become a challenge."""

    intent: Intent
    request: Mapping[str, Any]
    encoded: str
    template: ChallengeTemplate
    reusable_seconds: int | None
    """As `Intent.reusable_seconds`."""
    sponsorship: bool | None
    """As `Intent.sponsorship`."""

    @property
    def kind(self) -> tuple[str, str]:
        """Method and intent, as ``Accept-Payment`` tells offers apart."""
        return self.intent.method, self.intent.name

    def with_request(self, request: Mapping[str, Any]) -> Offer:
        """The same way, with other words for its terms."""
        template = self.template.with_request(encode_object(request))
        seconds, sponsorship = self.reusable_seconds, self.sponsorship
        return Offer(self.intent, request, template.request, template, seconds, sponsorship)


@dataclass(frozen=True, slots=True)
class Offers:
    """Every way to pay for a resource; none if it is free."""

    ways: tuple[Offer, ...]
    required: Problem
    """What to tell a payer who has not paid."""
    required_body: bytes
    is_personal: bool
    """Whether some of it depends on who asks: see `Intent.is_personal`."""

    requests: Mapping[tuple[str, str, str], Mapping[str, Any]]
    """The request objects of the ways, by method, intent and how they read on the wire."""

    def way(self, intent: Intent, request: Mapping[str, Any]) -> Offer | None:
        """The offer of this very request by this intent, if there is one."""
        return next((w for w in self.ways if w.intent is intent and w.request == request), None)

    def terms_of(self, challenge: Challenge, intent: Intent) -> Mapping[str, Any] | None:
        """The request object of an authentic challenge of this intent, as it is offered now;
        ``None`` if it is not."""
        request = self.requests.get((challenge.method, challenge.intent, challenge.request))
        if request is None:
            way = self.way(intent, intent.offered(_request_object(challenge)))
            request = None if way is None else way.request
        return request


Address = tuple[str, str, bytes]
"""Method, path and query of a request."""


class Listing(NamedTuple):
    """What is sold at one address for the same to everybody."""

    resource: Resource
    offers: Offers


class Presented(NamedTuple):
    """A credential that answers to an authentic challenge for this resource."""

    credential: Credential
    intent: Intent
    quote: Quote
    is_reusable: bool
    """Whether the challenge is good for requests of other costs, so that what this one costs has to
    be asked."""


class Gate:
    """Issues challenges and admits credentials.

    Args:
        intents: the ways to pay, the seller's favourite first.
        secrets: bind the challenges.
        clock: Unix seconds.
        challenge_seconds: how long a challenge is good.
        currency: of prices that name none, as people call it.
        sponsors: whether we can pay the network's fees for payers now.
        random_bytes: as `os.urandom`.
    """

    def __init__(
        self,
        intents: Sequence[Intent],
        secrets: Secrets,
        *,
        clock: Callable[[], float],
        challenge_seconds: int,
        currency: str,
        sponsors: Callable[[], bool] = lambda: True,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._intents = tuple(intents)
        self._secrets = secrets
        self._clock = clock
        self._challenge_seconds = challenge_seconds
        self._currency = currency
        self._sponsors = sponsors
        # A nonce must be unique among all processes, and need not be unpredictable.
        prefix = b64url_encode(random_bytes(NONCE_BYTES))[:_PREFIX_CHARACTERS]
        self._opaque_head = b64url_encode(f'{{"n":"{prefix}'.encode())
        self._nonces = itertools.count()
        self._static: dict[tuple[Tariff, str, str | None], Offers] = {}
        self._listings: dict[tuple[Tariff, str | None, str, Address], Listing] = {}
        self._recognition = Recognition(intents, secrets)

    def kinds(self, tariff: Tariff) -> list[tuple[str, str]]:
        """Method and intent of every way to pay by this tariff, whatever the price."""
        return [
            (intent.method, intent.name)
            for intent in self._intents
            if tariff.intents is None or intent.name in tariff.intents
        ]

    def listing(
        self,
        tariff: Tariff,
        header: str | None,
        realm: str,
        address: Address,
    ) -> Listing:
        """What a request without a body buys, where the price is fixed and bound to no header.

        Args:
            header: as `offers`.

        Raises:
            PriceError: as `offers`.
        """
        key = (tariff, header, realm, address)
        listing = self._listings.get(key)
        if listing is None:
            method, path, query = address
            resource = Resource(realm, method, path, query)
            listing = Listing(
                resource, self.offers(tariff, tariff.prices, realm=realm, header=header)
            )
            if len(path) + len(query) <= LONGEST_CACHED_RESOURCE:
                if len(self._listings) >= MOST_LISTINGS:
                    self._listings.clear()
                self._listings[key] = listing
        return listing

    @property
    def intent_names(self) -> tuple[str, ...]:
        """The ways to pay."""
        return tuple(intent.name for intent in self._intents)

    def offers(
        self, tariff: Tariff, prices: Sequence[Price], *, realm: str, header: str | None
    ) -> Offers:
        """Every way to pay one of the prices.

        Args:
            header: the credential header, where it is not ``Authorization``.

        Raises:
            PriceError: a price that no intent can take.
        """
        if prices is not tariff.prices:
            return self._offers(tariff, prices, realm, header)
        key = (tariff, realm, header)
        offers = self._static.get(key)
        if offers is None:
            if len(self._static) >= MOST_CACHED_OFFERS:
                self._static.clear()
            offers = self._static[key] = self._offers(tariff, prices, realm, header)
        return offers

    def _offers(
        self, tariff: Tariff, prices: Sequence[Price], realm: str, header: str | None
    ) -> Offers:
        ways = []
        for price in prices:
            requests = [
                (intent, request)
                for intent in self._intents
                if tariff.intents is None or intent.name in tariff.intents
                for request in intent.requests(price, description=tariff.description)
            ]
            if not requests:
                raise PriceError(f"no way to pay is configured that takes {price}")
            for intent, request in requests:
                ways.append(_offer(intent, request, realm, header))
        cost = " or ".join(f"{p.amount:f} {p.currency or self._currency}" for p in prices)
        required = problems.PAYMENT_REQUIRED.because(f"This resource costs {cost}.")
        is_personal = any(way.intent.is_personal for way in ways)
        return Offers(
            tuple(ways),
            required,
            required.to_json(),
            is_personal,
            {(*way.kind, way.encoded): way.request for way in ways},
        )

    def challenge(
        self,
        offers: Sequence[Offer],
        resource: Resource,
        *,
        accept: str | None,
        sponsored: bool = True,
    ) -> list[IssuedChallenge]:
        """Fresh challenges for the resource, as the payer's ``Accept-Payment`` prefers them.

        Args:
            sponsored: whether fees are paid for this payer, if they are for anybody.
        """
        sponsored = sponsored and self._sponsors()
        offers = [each for each in offers if each.sponsorship in (None, sponsored)]
        if accept is not None:
            offers = arrange(accept, offers, key=lambda offer: offer.kind)
        return self._issue(offers, resource)

    def _issue(self, offers: Sequence[Offer], resource: Resource) -> list[IssuedChallenge]:
        now = int(self._clock())
        number = b64url_encode(b"%015x" % next(self._nonces))
        # {"n":"<nonce>","r":"<binding>"}, which is JCS as it stands.
        bound = f"{self._opaque_head}{number}{resource.seal}"
        expires = format_timestamp(now + self._challenge_seconds)
        return [
            offer.template.issue(
                self._secrets, expires=expires, digest=resource.digest, opaque=bound
            )
            if offer.reusable_seconds is None
            else offer.template.issue(
                self._secrets,
                expires=format_timestamp(now + offer.reusable_seconds),
                digest=None,
                opaque=f"{self._opaque_head}{number}{_UNBOUND}",
            )
            for offer in offers
        ]

    async def resumed(self, offers: Sequence[Offer], session: str) -> list[Offer]:
        """The offers as they are for a payer who names a session.

        Raises:
            FaultError: it could not be looked up.
        """
        try:
            found = [await _resumed(offer, session) for offer in offers]
            return [offer for offer in found if offer is not None]
        except StoreUnavailableError as trouble:
            raise fault(trouble) from trouble

    def renewal(self, presented: Presented, offers: Offers) -> IssuedChallenge | None:
        """A fresh challenge for a payer whose reusable one ends soon."""
        lasts = presented.intent.reusable_seconds
        if lasts is None or presented.quote.expires - self._clock() > lasts * RENEWAL_PART:
            return None
        way = offers.way(presented.intent, presented.quote.request)
        if way is None:
            return None
        return self._issue([way], _ANY_RESOURCE)[0]

    def examine(self, value: str, resource: Resource, offers: Offers | None) -> Presented:
        """Know our own challenge again in a credential, and that it is for this resource.

        Args:
            value: the credential header's value, scheme included.
            offers: what the resource costs now, where that is known without asking a price. If the
                challenge `is_reusable` it has to be asked, and is told by `requote`.

        Raises:
            RefusalError: the credential is none, or of another challenge, server or resource.
        """
        credential, intent, is_reusable = self._recognition.of(value)
        challenge = credential.challenge
        if challenge.realm != resource.realm:
            raise not_ours("This challenge is for another realm.", challenge)
        if not (is_reusable or _is_bound(challenge, resource)):
            raise not_ours(
                "This challenge was issued for another request: "
                "method, path, query and body must be the same.",
                challenge,
            )
        manages = intent.manages(credential, resource.method)
        quote = self._quote(challenge, intent, offers, manages)
        return Presented(credential, intent, quote, is_reusable)

    def requote(self, presented: Presented, offers: Offers) -> Presented:
        """The same credential by what the resource costs now."""
        challenge, manages = presented.credential.challenge, presented.quote.manages
        quote = self._quote(challenge, presented.intent, offers, manages)
        return presented._replace(quote=quote)

    def _quote(
        self, challenge: Challenge, intent: Intent, offers: Offers | None, manages: bool
    ) -> Quote:
        if challenge.expires is None:
            raise not_ours("This challenge has no expiry.", challenge)
        expires = parse_seconds(challenge.expires)
        lapsed: Problem | None = None
        request = None if offers is None else offers.terms_of(challenge, intent)
        if offers is not None and request is None:
            lapsed = problems.INVALID_CHALLENGE.because(
                "The price has changed since this challenge.", challenge_id=challenge.id
            )
        if self._clock() >= expires:
            lapsed = problems.PAYMENT_EXPIRED.because(
                "This challenge has expired.", challenge_id=challenge.id
            )
        is_current = offers is None or request is not None
        if request is None:
            request = challenge.request_object()
        return Quote(challenge.id, request, expires, manages, lapsed, is_current)


def fault(trouble: Trouble) -> RefusalError | PendingError | FaultError:
    """What it is for the payer, also where it is the store's."""
    if isinstance(trouble, OwnershipLostError):
        return PendingError()
    if isinstance(trouble, StoreUnavailableError):
        return FaultError("The payment could not be recorded; nothing was lost.")
    return trouble


def _offer(intent: Intent, request: Mapping[str, Any], realm: str, header: str | None) -> Offer:
    encoded = encode_object(request)
    template = ChallengeTemplate(realm, intent.method, intent.name, encoded, header=header)
    seconds, sponsorship = intent.reusable_seconds, intent.sponsorship(request)
    return Offer(intent, request, encoded, template, seconds, sponsorship)


async def _resumed(offer: Offer, session: str) -> Offer | None:
    request = await offer.intent.resume(offer.request, session)
    if request is None:
        return None if offer.intent.is_personal else offer
    return offer.with_request(request)


def _request_object(challenge: Challenge) -> Mapping[str, Any]:
    """Of an authentic challenge, which many requests show."""
    return _remembered_request(challenge.request)


@functools.lru_cache(maxsize=1024)
def _remembered_request(encoded: str) -> Mapping[str, Any]:
    return decode_object(encoded)


def _is_bound(challenge: Challenge, resource: Resource) -> bool:
    # The opaque is authentic, so it was put together here.
    if challenge.opaque is None or not challenge.opaque.endswith(resource.seal):
        return False
    try:
        if challenge.digest is None or resource.digest is None:
            return challenge.digest is resource.digest
        return digest_bytes(challenge.digest) == digest_bytes(resource.digest)
    except ProtocolError:  # authentic, but by another program that shares the secret
        return False
