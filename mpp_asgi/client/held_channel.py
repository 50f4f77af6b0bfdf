"""A payment channel as its payer remembers it, and the rule by which vouchers are signed.

A channel is money lent to nobody: the server can take of it what was signed, and not a unit more.
So everything turns on one number, ``signed``, which only ever grows, and grows by no more than the
prices of the requests that were made. What the server says it spent is believed as far as it was
signed, because that is as far as it could matter.

Everything here is a value; `channels` keeps it, and changes it in one atomic step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.client.payments import NonceTrace, TransactionTrace

FLIGHT_SECONDS: Final = 300.0
"""So long a request counts as on its way. If it is not back then, its process has died."""

LEASE_SECONDS: Final = 60.0
"""So long one request has the funding of a channel to itself. Then it is taken for dead."""


class Status(StrEnum):
    """Where a channel is in its life."""

    OPENING = "opening"
    """Its opening was signed, and is not known to be in the ledger."""
    OPEN = "open"
    CLOSING = "closing"
    """No voucher is signed any more: the server was asked to close it, or ``close_start`` was."""
    CLOSED = "closed"
    VOID = "void"
    """It was never opened, and cannot be any more."""
    FORSAKEN = "forsaken"
    """The server does not know it or lied about it. No voucher is signed any more; the deposit
    is still there."""


LIVE: Final = frozenset({Status.OPENING, Status.OPEN})
"""Of such channels there is one at most for each `Place`."""

LOCKED: Final = frozenset({Status.OPENING, Status.OPEN, Status.CLOSING, Status.FORSAKEN})
"""There may be money in such channels."""


class DepositTooSmallError(Exception):
    """The voucher would be for more than the channel has."""

    def __init__(self, required: int) -> None:
        super().__init__(f"The deposit would have to be {required} base units.")
        self.required = required


class FalseClaimError(Exception):
    """The server says that it holds or has spent more than was ever signed."""


class TooMuchLockedError(Exception):
    """More would be locked up in channels than may be."""


class NotUsableError(Exception):
    """The channel is not open, so nothing is signed."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a channel is for. It pays nobody else, and no voucher of it goes anywhere else."""

    payer: str
    network: str
    origin: str
    """``https://api.example.com:443``"""
    recipient: str
    token: str

    @property
    def purse(self) -> tuple[str, str, str]:
        """What all channels share that are filled from the same balance."""
        return self.payer, self.network, self.token


@dataclass(frozen=True, slots=True)
class Flight:
    """A request on its way."""

    id: str
    price: int
    """Base units."""
    since: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    """A deposit that was signed: by the opening, or by a top-up."""

    amount: int
    """Base units."""
    payload: Mapping[str, str]
    """What shows it to the server: a transaction or a hash."""
    trace: NonceTrace | TransactionTrace
    envelope: str | None = None
    """The transaction (base64 XDR), where the payer submits it itself."""
    submitted: bool = False
    """It may have been: then a refusal of it says nothing, since it may be in the ledger."""

    def is_same(self, other: Funding | None) -> bool:
        """Whether it is this one, whatever became of it meanwhile."""
        return other is not None and other.trace == self.trace


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldChannel:
    """One channel. Amounts are base units of its token."""

    id: str
    """The channel's contract (``C…``)."""
    place: Place
    waiting_period: int
    """Ledgers from ``close_start`` to ``refund``."""
    status: Status = Status.OPENING
    deposit: int = 0
    """What was put in, as far as it is known to be there."""
    signed: int = 0
    """The highest voucher that was ever signed: the most that the server can take."""
    owed: int = 0
    """What of it is known to be spent."""
    asked: int = 0
    """The prices of all requests that were made, those refused aside. No voucher is for more."""
    flights: tuple[Flight, ...] = ()
    funding: Funding | None = None
    """An opening or top-up of which it is not known whether it is in the ledger."""
    lease_by: str = ""
    lease_until: float = 0.0
    """Which request has the funding to itself, and until when (Unix seconds)."""
    opened_by: Mapping[str, str] | None = None
    """What shows the opening again to a server that has forgotten it."""
    method: str = "GET"
    url: str = ""
    """Where it was used last: closings and top-ups go there."""
    challenge: str = ""
    """The last challenge there, as in ``WWW-Authenticate``."""
    used_at: float = 0.0
    """Unix seconds."""

    # --- vouchers ---------------------------------------------------------------------------------

    def depart(self, flight: Flight, *, least_raise: int = 0) -> HeldChannel:
        """A request sets out, with a voucher of `signed`.

        Args:
            flight: the request.
            least_raise: base units by which a voucher must exceed the one before, if it does.

        Raises:
            NotUsableError: the channel is not in use any more.
            DepositTooSmallError: its deposit is too small.
        """
        here = tuple(each for each in self.flights if flight.since - each.since < FLIGHT_SECONDS)
        joined = replace(self, flights=(*here, flight), asked=self.asked + flight.price)
        return joined.sign(least_raise=least_raise)

    def sign(self, *, least_raise: int = 0) -> HeldChannel:
        """Raise the voucher as far as the requests on their way need it. As `depart`."""
        if self.status not in LIVE:
            raise NotUsableError
        needed = min(self.owed + sum(each.price for each in self.flights), self.asked)
        if needed <= self.signed:
            return self
        signed = max(needed, self.signed + least_raise)
        if signed > self._good_for:
            raise DepositTooSmallError(signed)
        return replace(self, signed=signed)

    def lift(self, least_raise: int) -> HeldChannel:
        """Raise the voucher by the least that there is: the server has settled the one before, and
        takes it from nobody any more. What it was good for, the next one is. As `depart`."""
        if self.status not in LIVE:
            raise NotUsableError
        if self.owed + sum(each.price for each in self.flights) > self.signed:
            return self  # it was good for nothing, as far as is known
        signed = self.signed + max(least_raise, 1)
        if signed > self._good_for:
            raise DepositTooSmallError(signed)
        return replace(self, signed=signed)

    def stretch(self, required: int, wanted: int) -> HeldChannel:
        """Raise the voucher for a stream that is under way: to ``wanted``, if the deposit is good
        for it, and to ``required`` at least. As `depart`."""
        if self.status is not Status.OPEN:
            raise NotUsableError
        if required <= self.signed:
            return self
        if required > self.deposit:
            raise DepositTooSmallError(required)
        signed = max(required, min(wanted, self.deposit))
        return replace(self, signed=signed, asked=self.asked + signed - self.signed)

    @property
    def _good_for(self) -> int:
        """Base units that a voucher may be for. The first one is signed before the deposit is in
        the ledger, since it is shown together with the opening."""
        opening = self.funding if self.status is Status.OPENING else None
        return self.deposit + (opening.amount if opening else 0)

    def believe(self, *, accepted: int | None = None, spent: int | None = None) -> HeldChannel:
        """What the server says, as far as it can be so.

        Raises:
            FalseClaimError: it cannot be so.
        """
        if max(accepted or 0, spent or 0) > self.signed:
            raise FalseClaimError
        return replace(self, owed=max(self.owed, spent or 0))

    def land(self, flight: str, spent: int | None) -> HeldChannel:
        """The request was served; ``spent`` is what the receipt says, if there is one."""
        if spent is None:
            spent = min(self.owed + self._price(flight), self.signed)
        believed = self.believe(spent=spent)
        return replace(believed, flights=self._others(flight))

    def turn_back(self, flight: str) -> HeldChannel:
        """The request was refused, so nothing is owed for it."""
        asked = self.asked - self._price(flight)
        return replace(self, flights=self._others(flight), asked=asked)

    def lose(self, flight: str) -> HeldChannel:
        """Nobody knows what became of the request. If it was served, the server will say so."""
        return replace(self, flights=self._others(flight))

    def _price(self, flight: str) -> int:
        return sum(each.price for each in self.flights if each.id == flight)

    def _others(self, flight: str) -> tuple[Flight, ...]:
        return tuple(each for each in self.flights if each.id != flight)

    # --- funding ----------------------------------------------------------------------------------

    def lease(self, by: str, now: float) -> HeldChannel:
        """Have the funding to oneself.

        Raises:
            NotUsableError: another has it.
        """
        if self.lease_by not in {"", by} and now < self.lease_until:
            raise NotUsableError
        return replace(self, lease_by=by, lease_until=now + LEASE_SECONDS)

    def release(self, by: str) -> HeldChannel:
        """Let others see to the funding."""
        return replace(self, lease_by="", lease_until=0.0) if self.lease_by == by else self

    def fund(self, funding: Funding) -> HeldChannel:
        """A top-up was signed.

        Raises:
            NotUsableError: so was another, of which it is not known what came of it.
        """
        if self.funding is not None:
            raise NotUsableError
        return replace(self, funding=funding)

    def submitted(self, funding: Funding) -> HeldChannel:
        """This funding is about to be submitted."""
        if not funding.is_same(self.funding):
            return self
        return replace(self, funding=replace(funding, submitted=True))

    def funded(self, funding: Funding) -> HeldChannel:
        """This funding is in the ledger, if nobody has noticed before."""
        if not funding.is_same(self.funding):
            return self
        opening = self.status is Status.OPENING
        return replace(
            self,
            status=Status.OPEN if opening else self.status,
            deposit=self.deposit + funding.amount,
            funding=None,
            opened_by=funding.payload if opening else self.opened_by,
        )

    def unfunded(self, funding: Funding) -> HeldChannel:
        """This funding is not in the ledger and never will be."""
        if not funding.is_same(self.funding):
            return self
        void = replace(self, funding=None)
        return void.ended(Status.VOID) if self.status is Status.OPENING else void

    def ended(self, status: Status) -> HeldChannel:
        """No voucher is signed any more."""
        return replace(self, status=status, flights=(), lease_by="", lease_until=0.0)

    def used(self, *, method: str, url: str, challenge: str, at: float) -> HeldChannel:
        """It paid for something there."""
        return replace(self, method=method, url=url, challenge=challenge, used_at=at)

    @property
    def locked(self) -> int:
        """Base units that may be in the channel."""
        if self.status not in LOCKED:
            return 0
        return self.deposit + (self.funding.amount if self.funding else 0)
