"""What a server asks for, read from its challenges, and whether to agree to it.

A challenge is an order to pay written by a stranger. Everything in it is checked here, before
anything is signed (core draft, "Amount Verification").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from stellar_sdk import StrKey

from mpp_asgi.client.amounts import price_tag
from mpp_asgi.protocol import ProtocolError, digest_matches
from mpp_asgi.protocol.headers import AUTHORIZATION, PAYMENT_AUTHORIZATION
from mpp_asgi.stellar.network import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from mpp_asgi.protocol import Challenge
    from mpp_asgi.stellar.network import Network, Token

METHOD: Final = "stellar"
INTENT: Final = "charge"

Mode = Literal["pull", "push"]

_AMOUNT: Final = re.compile(r"0|[1-9][0-9]{0,38}")


class OfferError(Exception):
    """Why an offer is not acceptable: a clause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the payer agrees to."""

    payer: str
    """The payer's own address."""
    network: Network
    tokens: Mapping[str, Token]
    """Those that may be spent, by address."""
    max_per_request: Mapping[str, int]
    """Base units, by token address; none where the budget alone limits."""
    recipients: Collection[str] | None
    """Who may be paid; ``None``: anybody."""
    mode: Mode
    prefer_sponsored: bool
    max_validity: float
    """Seconds that a challenge may be valid from now on at most: so long a signed authorization
    would lie at the server."""
    has_sessions: bool = False
    """The payer opens sessions, too; then what is said of their offers is said elsewhere."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that was answered with the challenges."""

    body: bytes
    has_authorization: bool
    """The app uses ``Authorization`` itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A challenge that the payer may agree to."""

    challenge: Challenge
    token: Token
    recipient: str
    amount: int
    """Base units."""
    sponsored: bool
    expires: float
    """Unix seconds."""
    header: str
    """The field that the credential goes into."""

    def same_price(self, other: Offer) -> bool:
        """The same money to the same recipient."""
        mine, theirs = (
            (offer.token.address, offer.recipient, offer.amount) for offer in (self, other)
        )
        return mine == theirs


def acceptable_offers(
    challenges: Sequence[Challenge], rules: Rules, asked: Asked, *, now: float
) -> tuple[list[Offer], list[str]]:
    """The offers to agree to, best first, and why the others are none."""
    offers: list[Offer] = []
    reasons: list[str] = []
    for challenge in challenges:
        try:
            offers.append(read_offer(challenge, rules, asked, now=now))
        except OfferError as error:
            reasons.append(str(error))
    # The sort is stable: among equals the server's order stands.
    offers.sort(key=lambda offer: offer.sponsored != rules.prefer_sponsored)
    return offers, reasons


def read_offer(challenge: Challenge, rules: Rules, asked: Asked, *, now: float) -> Offer:
    """The offer that a challenge makes.

    Raises:
        OfferError: the payer must not, cannot or does not want to agree.
        ProtocolError: its ``request`` holds no object; a challenge from a header always does.
    """
    if (challenge.method, challenge.intent) == (METHOD, "session"):
        raise OfferError(
            "it wants a session, and none was opened"
            if rules.has_sessions
            else "it wants a session, and this payer makes none: give channels= or sessions="
        )
    if (challenge.method, challenge.intent) != (METHOD, INTENT):
        raise OfferError(
            f"it wants {f'{challenge.method}/{challenge.intent}'[:40]!r}, "
            f"and this payer does {METHOD}/{INTENT}"
        )
    header = credential_header(challenge, asked)
    expires = _expiry(challenge, rules, now)
    if challenge.digest is not None and not digest_matches(challenge.digest, asked.body):
        raise OfferError("it is for another request body than the one sent")
    request = challenge.request_object()
    details = details_of(request, rules)
    token, amount = price_of(request, rules)
    return Offer(
        challenge=challenge,
        token=token,
        recipient=recipient_of(request, rules),
        amount=amount,
        sponsored=_sponsored(details, rules.mode),
        expires=expires,
        header=header,
    )


def credential_header(challenge: Challenge, asked: Asked) -> str:
    """Never another field than the two that are made for it: a stranger names it."""
    name = (challenge.header or AUTHORIZATION).lower()
    if name == PAYMENT_AUTHORIZATION.lower():
        return PAYMENT_AUTHORIZATION
    if name != AUTHORIZATION.lower():
        raise OfferError("it wants the credential in a header that is not for credentials")
    if asked.has_authorization:
        raise OfferError("the credential would replace the request's own Authorization")
    return AUTHORIZATION


def _expiry(challenge: Challenge, rules: Rules, now: float) -> float:
    try:
        expires = challenge.expires_at()
    except ProtocolError:
        raise OfferError("its expiry is not a date") from None
    if expires is None:
        raise OfferError("it never expires")
    seconds = expires.timestamp()
    if seconds <= now:
        raise OfferError("it has expired")
    if seconds > now + rules.max_validity:
        raise OfferError(f"it expires more than {rules.max_validity:g} s from now")
    return seconds


def details_of(request: Mapping[str, Any], rules: Rules) -> Mapping[str, Any]:
    """What is particular to Stellar. The network comes first: tokens of others are others."""
    details = request.get("methodDetails")
    if not isinstance(details, dict):
        raise OfferError("it does not say on which network")
    network = details.get("network")
    if network != rules.network.name:
        known = f"it is on {network}, not on" if network in [*NETWORKS] else "it is not on"
        raise OfferError(f"{known} {rules.network.name}")
    return details


def price_of(request: Mapping[str, Any], rules: Rules) -> tuple[Token, int]:
    amount = request.get("amount")
    if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
        raise OfferError("its amount is not an integer of base units")
    currency = request.get("currency")
    token = rules.tokens.get(currency) if isinstance(currency, str) else None
    if token is None:
        accepted = " or ".join(sorted(token.symbol for token in rules.tokens.values()))
        raise OfferError(f"it is not in {accepted}")
    units = int(amount)
    most = rules.max_per_request.get(token.address)
    if most is not None and units > most:
        raise OfferError(
            f"{price_tag(units, token)} is more than the {price_tag(most, token)} "
            "that one request may cost"
        )
    return token, units


def recipient_of(request: Mapping[str, Any], rules: Rules) -> str:
    recipient = request.get("recipient")
    if not isinstance(recipient, str) or not (
        StrKey.is_valid_ed25519_public_key(recipient) or StrKey.is_valid_contract(recipient)
    ):
        raise OfferError("its recipient is not an address")
    if recipient == rules.payer:
        raise OfferError("its recipient is the payer")
    if rules.recipients is not None and recipient not in rules.recipients:
        raise OfferError("its recipient is not one that may be paid")
    return recipient


def _sponsored(details: Mapping[str, Any], mode: Mode) -> bool:
    """Whether the server pays the fee, if its ways to pay go with the payer's."""
    sponsored = details.get("feePayer", False)
    if not isinstance(sponsored, bool):
        raise OfferError("its feePayer is neither true nor false")
    # Not in the draft, but deployed servers say which credentials they take.
    types = details.get("credentialTypes")
    if types is not None and (
        not isinstance(types, list) or not all(isinstance(each, str) for each in types)
    ):
        raise OfferError("its credentialTypes are not a list of names")
    if mode == "pull":
        if types is not None and "transaction" not in types:
            raise OfferError("it does not take transactions to submit, and this payer pulls")
        return sponsored
    if sponsored:
        raise OfferError("it is sponsored, and a payer who pushes submits for itself")
    # A bare hash is public: anybody could show it. So without signedHash there is no push.
    if types is None or "signedHash" not in types:
        raise OfferError("it does not take signed hashes, and this payer pushes")
    return False
