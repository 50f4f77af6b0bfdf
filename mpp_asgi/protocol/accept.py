"""`Accept-Payment`: what a client can pay with, and the choice (core draft, section 7.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mpp_asgi.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Offer = TypeVar("Offer")

MAX_RANGES = 64
"""How many ranges are read; who sends more has its header ignored like a malformed one."""

# Methods are lower-case letters in the draft; deployed ones also hold digits, ":", "_" and "-".
_RANGE = re.compile(
    r"(\*|[a-z][a-z0-9:_-]*)/(\*|[A-Za-z0-9-]+)"
    r"(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)


@dataclass(frozen=True, slots=True)
class PaymentRange:
    """One entry: `method` and `intent`, either of which may be ``*``; `weight` is q in 1/1000."""

    method: str
    intent: str
    weight: int = 1000

    def specificity(self, method: str, intent: str) -> int:
        """How closely the range fits: from 1 for ``*/*`` to 4 for both names, 0 for not at all."""
        if self.method not in ("*", method) or self.intent not in ("*", intent):
            return 0
        return 1 + 2 * (self.method != "*") + (self.intent != "*")


@dataclass(frozen=True, slots=True)
class AcceptPayment:
    """The ranges a client declares, in its order."""

    ranges: tuple[PaymentRange, ...]

    @classmethod
    def from_header(cls, value: str) -> AcceptPayment:
        """Read a field value; several fields are joined by commas first.

        Raises:
            ProtocolError: an entry is malformed, or there are more than `MAX_RANGES`.
        """
        entries = [text for entry in value.split(",") if (text := entry.strip(" \t"))]
        if len(entries) > MAX_RANGES:
            raise ProtocolError(f"There are more than {MAX_RANGES} entries.", "accept-payment")
        ranges = []
        for entry in entries:
            match = _RANGE.fullmatch(entry)
            if match is None:
                raise ProtocolError(
                    "An entry is not 'method/intent' or 'method/intent;q=0.5'.", "accept-payment"
                )
            method, intent, quality = match.groups()
            ranges.append(PaymentRange(method, intent, _thousandths(quality or "1")))
        return cls(tuple(ranges))

    def weight(self, method: str, intent: str) -> int:
        """How much the client wants this combination, in 1/1000; 0 when it does not.

        The most specific range decides, and the largest weight among equally specific ones.
        """
        return max(
            (
                (specificity, candidate.weight)
                for candidate in self.ranges
                if (specificity := candidate.specificity(method, intent))
            ),
            default=(0, 0),
        )[1]

    def arrange(
        self, offers: Iterable[Offer], *, key: Callable[[Offer], tuple[str, str]]
    ) -> list[Offer]:
        """The offers the client accepts, best liked first, the server's order among equals.

        `key` gives an offer's method and intent. When nothing is left, all offers in the
        server's order.
        """
        everything = list(offers)
        weighed = [(self.weight(*key(offer)), offer) for offer in everything]
        accepted = [pair for pair in weighed if pair[0] > 0]
        accepted.sort(key=lambda pair: -pair[0])
        return [offer for _, offer in accepted] or everything


def arrange(
    value: str | None, offers: Iterable[Offer], *, key: Callable[[Offer], tuple[str, str]]
) -> list[Offer]:
    """What to offer a request with this `Accept-Payment`: everything if absent or malformed."""
    if value is None:
        return list(offers)
    try:
        accept = AcceptPayment.from_header(value)
    except ProtocolError:
        return list(offers)
    return accept.arrange(offers, key=key)


def _thousandths(quality: str) -> int:
    whole, _, fraction = quality.partition(".")
    return int(whole) * 1000 + int(f"{fraction:0<3}")
