"""The port between the gate and the ways to pay.

The gate knows challenges and credentials, not money. An *intent* (``stellar/charge``, later
``stellar/session``) says what a price looks like on its wire, checks a credential and moves the
money. Another intent or another method is another implementation of `Intent`, nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpp_asgi.payment import Payment
    from mpp_asgi.pricing import Price
    from mpp_asgi.protocol import Credential, Problem


class Quote(NamedTuple):
    """The terms a credential answers to: an authentic challenge of ours for this very request."""

    challenge_id: str
    request: Mapping[str, Any]
    """The challenge's request object."""
    expires: int
    """Unix seconds."""
    manages: bool = False
    """The credential is no payment for a response: see `Intent.manages`."""
    lapsed: Problem | None = None
    """Why no payment may begin on these terms any more (expired, or the price changed). A payment
    that is under way or made is honoured all the same."""
    is_current: bool = True
    """These are the terms of the resource now, whether or not the challenge has expired."""


class Admission(Protocol):
    """A credential that was found good for one request, from its verification to its delivery.

    Exactly one of `delivered` and `undelivered` ends it.
    """

    @property
    def payment(self) -> Payment:
        """What is known of the payment by now."""
        ...

    async def settle(self) -> Payment:
        """Make the payment final, or find that it is. Idempotent.

        Raises:
            RefusalError: the payment failed for good; no money moved.
            FaultError: it could not be finished now; the same credential may be shown again.
        """
        ...

    def is_held(self) -> bool:
        """Whether it is certain that nobody else has taken the payment up meanwhile. Asked before
        each part of the response, so it costs nothing."""
        ...

    async def hold(self) -> None:
        """Make certain of it, where it is not.

        Raises:
            OwnershipLostError, StoreUnavailableError: it is not ours, or cannot be told; nothing
                of the response may leave.
        """
        ...

    async def delivered(self) -> None:
        """The response left whole: the credential is used up."""
        ...

    async def undelivered(self, *, begun: bool) -> None:
        """The payer did not get the response: the same credential stays good, and if nothing was
        settled it is as if it had never been shown.

        Args:
            begun: the payer got a part of it.
        """
        ...


class Intent(Protocol):
    """One way to pay."""

    @property
    def method(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def reusable_seconds(self) -> int | None:
        """How long one challenge is good for any number of requests that cost the same. ``None``:
        it is good for one request only, and as long as the seller says."""
        ...

    def requests(self, price: Price, *, description: str | None) -> Sequence[Mapping[str, Any]]:
        """The ``request`` objects this intent offers for a price, best first.

        Raises:
            PriceError: the price cannot be paid this way (unknown currency, too many digits).
        """
        ...

    def sponsorship(self, request: Mapping[str, Any]) -> bool | None:
        """When one of `requests` is offered: only while we pay the network's fees for payers
        (``True``), only while we do not (``False``), or always."""
        ...

    @property
    def is_personal(self) -> bool:
        """Whether nothing is offered but what `resume` makes of it."""
        ...

    async def resume(self, request: Mapping[str, Any], session: str) -> Mapping[str, Any] | None:
        """What this intent offers a payer who names a session (``Payment-Session``), if it is more
        than it offers everyone.

        Args:
            request: one of `requests`.
            session: the header's value; the client's word.
        """
        ...

    def offered(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What everyone is offered where this request was made: `resume` undone."""
        ...

    def manages(self, credential: Credential, http_method: str) -> bool:
        """Whether the credential only does something about a session (opens, funds or closes it):
        answered 204 with its receipt, without the application."""
        ...

    async def verify(self, credential: Credential, quote: Quote) -> Admission:
        """Check a credential against its quote and claim it.

        Raises:
            RefusalError: it is not good; nothing was used up.
            PendingError: the same credential is being worked on elsewhere.
            FaultError: it could not be checked now; nothing was used up.
        """
        ...


class SingleUse:
    """What an intent says of sessions whose challenges are good for one request each."""

    @property
    def reusable_seconds(self) -> int | None:
        """See `Intent.reusable_seconds`."""
        return None

    def sponsorship(self, request: Mapping[str, Any]) -> bool | None:
        """See `Intent.sponsorship`."""
        return None

    @property
    def is_personal(self) -> bool:
        """See `Intent.is_personal`."""
        return False

    async def resume(self, request: Mapping[str, Any], session: str) -> Mapping[str, Any] | None:
        """See `Intent.resume`."""
        return None

    def offered(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Intent.offered`."""
        return request

    def manages(self, credential: Credential, http_method: str) -> bool:
        """See `Intent.manages`."""
        return False


class RefusalError(Exception):
    """The payer has to change something: answered with the problem and a fresh challenge."""

    def __init__(self, problem: Problem, *, retry_after: int | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.retry_after = retry_after


class PendingError(Exception):
    """The same credential is at work in another request: answered 409 with Retry-After."""

    def __init__(self, *, retry_after: int = 1) -> None:
        super().__init__("this payment is being worked on by another request")
        self.retry_after = retry_after


class FaultError(Exception):
    """We could not do our part: answered 503 with Retry-After, never 402. Nothing is lost."""

    def __init__(self, detail: str, *, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
