"""What a server asks for who sells by session, and whether to agree to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.client.amounts import price_tag
from mpp_asgi.client.offers import (
    METHOD,
    Asked,
    OfferError,
    Rules,
    credential_header,
    details_of,
    price_of,
    recipient_of,
)
from mpp_asgi.protocol import ProtocolError, digest_matches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpp_asgi.client.session_policy import SessionPolicy
    from mpp_asgi.protocol import Challenge
    from mpp_asgi.stellar.network import Token

SESSION: Final = "session"

LONGEST_OPENING: Final = 300.0
"""Seconds that a signed opening or top-up is good for at most, however long its challenge is."""

_UNITS: Final = re.compile(r"0|[1-9][0-9]{0,38}")
_CONTRACT: Final = re.compile(r"C[A-Z2-7]{55}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the server says of a channel: to be believed as far as it was signed."""

    channel: str | None
    accepted: int | None
    spent: int | None
    deposit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOffer:
    """A session challenge that the payer may agree to. Amounts in base units."""

    challenge: Challenge
    token: Token
    recipient: str
    amount: int
    """The price of one request, or of whatever the server counts."""
    sponsored: bool
    expires: float
    """Unix seconds."""
    header: str
    """The field that the credential goes into."""
    suggested: int | None
    """The deposit that the server suggests."""
    least_raise: int
    """By which a voucher must exceed the one before."""
    factory: str | None
    """A factory that the server takes channels of, and that the payer trusts."""
    code: str | None
    """Code (64 hex digits) that the server knows and the payer trusts."""
    waiting_period: int
    """Ledgers that the server wants between ``close_start`` and ``refund``."""
    claim: Claim


def session_offers(
    challenges: Sequence[Challenge],
    rules: Rules,
    policy: SessionPolicy,
    asked: Asked,
    *,
    now: float,
) -> tuple[list[SessionOffer], list[str]]:
    """The session offers to agree to, in the server's order, and why others are none."""
    offers: list[SessionOffer] = []
    reasons: list[str] = []
    for challenge in challenges:
        if (challenge.method, challenge.intent) != (METHOD, SESSION):
            continue
        try:
            offers.append(read_session_offer(challenge, rules, policy, asked, now=now))
        except OfferError as error:
            reasons.append(str(error))
    return offers, reasons


def read_session_offer(
    challenge: Challenge, rules: Rules, policy: SessionPolicy, asked: Asked, *, now: float
) -> SessionOffer:
    """The session that a challenge offers.

    Raises:
        OfferError: the payer must not, cannot or does not want to agree.
    """
    header = credential_header(challenge, asked)
    expires = _expiry(challenge, now)
    if challenge.digest is not None and not digest_matches(challenge.digest, asked.body):
        raise OfferError("it is for another request body than the one sent")
    request = challenge.request_object()
    details = details_of(request, rules)
    token, amount = price_of(request, rules)
    sponsored = details.get("feePayer", False)
    if not isinstance(sponsored, bool):
        raise OfferError("its feePayer is neither true nor false")
    least_raise = _units(details, "minVoucherDelta") or 0
    most = rules.max_per_request.get(token.address)
    if most is not None and least_raise > most:
        raise OfferError(
            f"its vouchers rise by {price_tag(least_raise, token)}, which is more than the "
            f"{price_tag(most, token)} that one request may cost"
        )
    factory, code = _executables(details, policy)
    return SessionOffer(
        challenge=challenge,
        token=token,
        recipient=recipient_of(request, rules),
        amount=amount,
        sponsored=sponsored,
        expires=expires,
        header=header,
        suggested=_units(request, "suggestedDeposit"),
        least_raise=least_raise,
        factory=factory,
        code=code,
        waiting_period=_waiting_period(details, policy),
        claim=claim_in(details),
    )


def claim_in(values: Mapping[str, Any]) -> Claim:
    """What a challenge's details, a problem or a receipt say of a channel. What cannot be read
    counts as not said."""
    channel = values.get("channelId")
    return Claim(
        channel=channel if isinstance(channel, str) else None,
        accepted=_units_or_none(values.get("acceptedCumulative")),
        spent=_units_or_none(values.get("spent")),
        deposit=_units_or_none(values.get("deposit")),
    )


def _expiry(challenge: Challenge, now: float) -> float:
    """However far away: a challenge that lies about is worth nothing without a voucher."""
    try:
        expires = challenge.expires_at()
    except ProtocolError:
        raise OfferError("its expiry is not a date") from None
    if expires is None:
        raise OfferError("it never expires")
    seconds = expires.timestamp()
    if seconds <= now:
        raise OfferError("it has expired")
    return seconds


def _executables(
    details: Mapping[str, Any], policy: SessionPolicy
) -> tuple[str | None, str | None]:
    """Who may open the channel, or what code it may run. Both can be ``None``: then no channel is
    opened, but one that is there can be used."""
    factory = details.get("channelFactory")
    trusted = (
        factory
        if isinstance(factory, str) and _CONTRACT.fullmatch(factory) and factory in policy.factories
        else None
    )
    hashes = details.get("channelWasmHashes")
    listed = hashes if isinstance(hashes, list) else []
    code = next(
        (
            each
            for each in listed
            if isinstance(each, str) and _HASH.fullmatch(each) and each in policy.code
        ),
        None,
    )
    return trusted, code


def _waiting_period(details: Mapping[str, Any], policy: SessionPolicy) -> int:
    period = details.get("minRefundWaitingPeriod", 0)
    if isinstance(period, bool) or not isinstance(period, int) or period < 0:
        raise OfferError("its waiting period is not a number of ledgers")
    if period > policy.max_waiting_period:
        raise OfferError(
            f"it would hold up a deposit for {period} ledgers, "
            f"and {policy.max_waiting_period} are allowed"
        )
    return period


def _units(values: Mapping[str, Any], name: str) -> int | None:
    if values.get(name) is None:
        return None
    units = _units_or_none(values[name])
    if units is None:
        raise OfferError(f"its {name} is not an integer of base units")
    return units


def _units_or_none(value: object) -> int | None:
    return int(value) if isinstance(value, str) and _UNITS.fullmatch(value) else None
