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
    Credential,
    IssuedChallenge,
    ProtocolError,
    Secrets,
    arrange,
    b64url_encode,
    digest_bytes,
    encode_object,
    format_timestamp,
    parse_seconds,
    problems,
    resource_binding,
)
from mpp_asgi.stores.contract import OwnershipLostError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mpp_asgi.intents import Admission
    from mpp_asgi.protocol import Problem

MOST_CACHED_OFFERS = 1024
"""Static offers kept ready; the realm may come from the request, so there could be many."""
LONGEST_CACHED_RESOURCE = 256
"""Characters of path and query; longer ones come from few honest clients, and could fill memory."""
NONCE_BYTES = 12
_PREFIX_CHARACTERS = 15
"""Of the nonce, the same for all challenges of a process; with ``{"n":"`` before them and as many
digits after them they end where groups of base64 do, so that each part is encoded once."""


class Resource(NamedTuple):
    """What a challenge is good for: one request, told apart from every other."""

    realm: str
    method: str
    path: str
    query: bytes
    digest: str | None
    """RFC 9530 digest of the body; ``None`` for a request without one."""
    vary: tuple[tuple[str, str], ...] = ()
    """The request headers that the price depends on, name and value."""

    def seal(self) -> str:
        """How the ``opaque`` of each of its challenges ends: base64url of what follows the
        nonce."""
        if self.vary or len(self.path) + len(self.query) > LONGEST_CACHED_RESOURCE:
            return _seal(self.method, self.path, self.query, self.vary)
        return _remembered_seal(self.method, self.path, self.query)


def _seal(method: str, path: str, query: bytes, vary: tuple[tuple[str, str], ...] = ()) -> str:
    return b64url_encode(f'","r":"{resource_binding(method, path, query, vary)}"}}'.encode())


_remembered_seal = functools.lru_cache(maxsize=4096)(_seal)


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to pay one price, ready to become a challenge."""

    intent: Intent
    request: Mapping[str, Any]
    encoded: str
    template: ChallengeTemplate

    @property
    def kind(self) -> tuple[str, str]:
        """Method and intent, as ``Accept-Payment`` tells offers apart."""
        return self.intent.method, self.intent.name


@dataclass(frozen=True, slots=True)
class Offers:
    """Every way to pay for a resource; none if it is free."""

    ways: tuple[Offer, ...]
    required: Problem
    """What to tell a payer who has not paid."""
    required_body: bytes

    def request_as(self, encoded: str) -> Mapping[str, Any] | None:
        """The request object of the offer that reads so, if there is one."""
        return next((way.request for way in self.ways if way.encoded == encoded), None)


class Presented(NamedTuple):
    """A credential that answers to an authentic challenge for this resource."""

    credential: Credential
    intent: Intent
    quote: Quote


class Gate:
    """Issues challenges and admits credentials.

    Args:
        intents: the ways to pay, the seller's favourite first.
        secrets: bind the challenges.
        clock: Unix seconds.
        challenge_seconds: how long a challenge is good.
        currency: of prices that name none, as people call it.
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
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._intents = tuple(intents)
        self._by_name = {(intent.method, intent.name): intent for intent in intents}
        self._secrets = secrets
        self._clock = clock
        self._challenge_seconds = challenge_seconds
        self._currency = currency
        # A nonce must be unique among all processes, and need not be unpredictable.
        prefix = b64url_encode(random_bytes(NONCE_BYTES))[:_PREFIX_CHARACTERS]
        self._opaque_head = b64url_encode(f'{{"n":"{prefix}'.encode())
        self._nonces = itertools.count()
        self._static: dict[tuple[Tariff, str, str | None], Offers] = {}
        self._expires = (0, "")

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
                for request in intent.requests(price, description=tariff.description)
            ]
            if not requests:
                raise PriceError(f"no way to pay is configured that takes {price}")
            for intent, request in requests:
                encoded = encode_object(request)
                template = ChallengeTemplate(
                    realm, intent.method, intent.name, encoded, header=header
                )
                ways.append(Offer(intent, request, encoded, template))
        cost = " or ".join(f"{p.amount:f} {p.currency or self._currency}" for p in prices)
        required = problems.PAYMENT_REQUIRED.because(f"This resource costs {cost}.")
        return Offers(tuple(ways), required, required.to_json())

    def challenge(
        self, offers: Sequence[Offer], resource: Resource, *, accept: str | None
    ) -> list[IssuedChallenge]:
        """Fresh challenges for the resource, as the payer's ``Accept-Payment`` prefers them."""
        if accept is not None:
            offers = arrange(accept, offers, key=lambda offer: offer.kind)
        expires = self._expiry()
        # {"n":"<nonce>","r":"<binding>"}, which is JCS as it stands.
        number = b64url_encode(b"%015x" % next(self._nonces))
        opaque = f"{self._opaque_head}{number}{resource.seal()}"
        return [
            offer.template.issue(
                self._secrets, expires=expires, digest=resource.digest, opaque=opaque
            )
            for offer in offers
        ]

    def _expiry(self) -> str:
        now = int(self._clock())
        if self._expires[0] != now:
            self._expires = (now, format_timestamp(now + self._challenge_seconds))
        return self._expires[1]

    def examine(self, value: str, resource: Resource, offers: Offers | None) -> Presented:
        """Know our own challenge again in a credential, and that it is for this resource.

        Args:
            value: the credential header's value, scheme included.
            offers: what the resource costs now, where that is known without asking a price.

        Raises:
            RefusalError: the credential is none, or of another challenge, server or resource.
        """
        try:
            credential = Credential.from_header(value)
        except ProtocolError as error:
            raise RefusalError(problems.MALFORMED_CREDENTIAL.because(str(error))) from None
        challenge = credential.challenge
        if not self._secrets.authentic(challenge):
            raise _invalid("This challenge was not issued here, or was changed.", challenge)
        if challenge.realm != resource.realm:
            raise _invalid("This challenge is for another realm.", challenge)
        if not _is_bound(challenge, resource):
            raise _invalid(
                "This challenge was issued for another request: "
                "method, path, query and body must be the same.",
                challenge,
            )
        intent = self._by_name.get((challenge.method, challenge.intent))
        if intent is None:
            raise RefusalError(
                problems.METHOD_UNSUPPORTED.because(
                    "This way to pay is not taken here.", challenge_id=challenge.id
                )
            )
        return Presented(credential, intent, self._quote(challenge, offers))

    def _quote(self, challenge: Challenge, offers: Offers | None) -> Quote:
        if challenge.expires is None:
            raise _invalid("This challenge has no expiry.", challenge)
        expires = parse_seconds(challenge.expires)
        request: Mapping[str, Any] | None = None
        lapsed: Problem | None = None
        if offers is not None:
            request = offers.request_as(challenge.request)
            if request is None:
                lapsed = problems.INVALID_CHALLENGE.because(
                    "The price has changed since this challenge.", challenge_id=challenge.id
                )
        if self._clock() >= expires:
            lapsed = problems.PAYMENT_EXPIRED.because(
                "This challenge has expired.", challenge_id=challenge.id
            )
        if request is None:
            request = challenge.request_object()
        return Quote(challenge.id, request, expires, lapsed)

    async def admit(self, presented: Presented) -> Admission:
        """Have the intent verify and claim the credential.

        Raises:
            RefusalError, PendingError, FaultError: as `Intent.verify`.
        """
        try:
            return await presented.intent.verify(presented.credential, presented.quote)
        except (StoreUnavailableError, OwnershipLostError) as trouble:
            raise fault(trouble) from trouble


def fault(trouble: StoreUnavailableError | OwnershipLostError) -> FaultError | PendingError:
    """What the store's trouble is for the payer."""
    if isinstance(trouble, OwnershipLostError):
        return PendingError()
    return FaultError("The payment could not be recorded; nothing was lost.")


def _is_bound(challenge: Challenge, resource: Resource) -> bool:
    # The opaque is authentic, so it was put together here.
    if challenge.opaque is None or not challenge.opaque.endswith(resource.seal()):
        return False
    try:
        if challenge.digest is None or resource.digest is None:
            return challenge.digest is resource.digest
        return digest_bytes(challenge.digest) == digest_bytes(resource.digest)
    except ProtocolError:  # authentic, but by another program that shares the secret
        return False


def _invalid(detail: str, challenge: Challenge) -> RefusalError:
    return RefusalError(problems.INVALID_CHALLENGE.because(detail, challenge_id=challenge.id))
