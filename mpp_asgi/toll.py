"""What one priced request owes, and everything that is said to its payer about it."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from starlette.requests import Request

from mpp_asgi.answers import Acknowledgement, Answer, OwedError, Replay
from mpp_asgi.asked import is_insecure, realm_of
from mpp_asgi.body import BodyTooLargeError
from mpp_asgi.bound_request import ask_price, bound_values
from mpp_asgi.gate import Resource, fault
from mpp_asgi.intents import FaultError, PendingError, RefusalError
from mpp_asgi.metering import MeterError
from mpp_asgi.protocol import Problem, problems
from mpp_asgi.stores.contract import OwnershipLostError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpp_asgi.asked import Asked
    from mpp_asgi.gate import Gate, Listing, Offer, Offers, Presented, Trouble
    from mpp_asgi.idempotency import Errand, Repetition
    from mpp_asgi.intents import Admission
    from mpp_asgi.payment import Payment
    from mpp_asgi.routes import PricedRoute

log = logging.getLogger("mpp_asgi")

TOLD_SECONDS: Final = 60.0

_PENDING = Problem(
    "about:blank", "Conflict", 409, "This payment is being worked on by another request of yours."
)
_TROUBLE: Final = (
    RefusalError,
    PendingError,
    FaultError,
    StoreUnavailableError,
    OwnershipLostError,
)

ChannelOf = Callable[[Request], Awaitable[str | None]]


class PlainHttp:
    """Tells the operator of requests that were refused for plain HTTP, which is a mistake of the
    set-up more often than not; once in a minute, since strangers can have it told.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told = -math.inf

    def note(self) -> None:
        """One was refused."""
        now = self._clock()
        if abs(now - self._told) >= TOLD_SECONDS:
            self._told = now
            log.warning(
                "a request over plain HTTP was refused: behind a proxy that ends TLS, run uvicorn "
                "with --proxy-headers and --forwarded-allow-ips; to take payments over plain HTTP, "
                "set allow_http=True"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseRules:
    """What holds for every request."""

    realm: str | None
    """``None``: the request's host."""
    allow_http: bool
    """Whether payments are taken over plain HTTP from beyond this machine."""
    channel_of: ChannelOf | None
    """Which channel a request of the ``channel`` dialect is paid from, if it does not say."""
    body_limit: int
    """Bytes of request body a priced route takes, since it must be digested first."""
    hold_limit: int
    """Bytes of response that are held back with ``settle="after"``."""
    plain_http: PlainHttp
    """Where refusals for want of HTTPS are told."""
    repetition: Repetition | None = None
    """Carries out once what has an ``Idempotency-Key``."""


def quick_demand(gate: Gate, rules: HouseRules, route: PricedRoute, asked: Asked) -> Answer | None:
    """The 402 for a request that shows no credential, where it takes no more than a look at the
    headers: the price is fixed and there is no body. ``None`` where it takes a `Toll`.

    Most of what a server of agents answers is this, so it comes without the rest.
    """
    if asked.credentials or asked.session or route.authenticates or asked.scope["type"] != "http":
        return None
    if asked.has_several_hosts:
        return None
    if not rules.allow_http and is_insecure(asked.scope):
        return None
    listing = _listing(gate, rules, route, asked)
    if listing is None or listing.offers.is_personal:
        return None
    resource, offers = listing
    challenges = gate.challenge(offers.ways, resource, accept=asked.accept)
    return Answer(offers.required, challenges, None, offers.required_body)


def _listing(gate: Gate, rules: HouseRules, route: PricedRoute, asked: Asked) -> Listing | None:
    """What the request buys, if nothing has to be read or asked to know that."""
    tariff = route.tariff
    if asked.may_have_body or tariff.vary or tariff.quote is not None:
        return None
    realm = rules.realm or realm_of(asked.host)
    address = (asked.method, asked.path, asked.query)
    return gate.listing(tariff, route.header or asked.header, realm, address)


class Toll:
    """The price of one request, from its quote to its settlement.

    Every method that fails raises `OwedError` with the answer for the payer.
    """

    admission: Admission | None = None
    payment: Payment | None = None
    _resource: Resource | None = None
    _offers: Offers | None = None
    _presented: Presented | None = None
    _path_params: Mapping[str, Any]

    def __init__(self, gate: Gate, rules: HouseRules, route: PricedRoute, asked: Asked) -> None:
        self.route = route
        self.tariff = route.tariff
        self._gate = gate
        self._rules = rules
        self._asked = asked
        if not rules.allow_http and is_insecure(asked.scope):
            rules.plain_http.note()
            raise OwedError(
                Answer(problems.BAD_REQUEST.because("Payments are taken over HTTPS only."))
            )
        if asked.has_several_hosts:
            raise OwedError(Answer(problems.BAD_REQUEST.because("A request names one Host.")))

    @property
    def _header(self) -> str | None:
        return self.route.header or self._asked.header

    @property
    def has_credential(self) -> bool:
        return bool(self._asked.credentials)

    def is_listed(self) -> bool:
        """Find out what the resource costs, if that takes no more than a look at the headers."""
        listing = _listing(self._gate, self._rules, self.route, self._asked)
        if listing is None:
            return False
        self._resource, self._offers = listing
        return True

    async def quote(self, path_params: Mapping[str, Any]) -> bool:
        """Find out what the resource costs; ``False`` if nothing this time."""
        self._path_params = path_params
        asked, tariff = self._asked, self.tariff
        if not asked.body.is_complete:
            await self._read_body()
        realm = self._rules.realm or realm_of(asked.host)
        self._resource = resource = Resource(
            realm,
            asked.method,
            asked.path,
            asked.query,
            digest=asked.body.digest(),
            vary=self._bound() if tariff.is_bound_to_headers else (),
        )
        if tariff.quote is None:
            self._offers = self._gate.offers(
                tariff, tariff.prices, realm=realm, header=self._header
            )
            return True
        if self.has_credential:
            return True  # a quote is bound to all its price could read: it holds until it expires
        self._offers = await self._current_offers(resource)
        return bool(self._offers.ways)

    def _bound(self) -> tuple[tuple[str, str], ...]:
        """What a challenge binds beyond the address. Routes may be told apart by the host or by a
        header; a fixed price is held against what is offered, but a quote counts as it stands, so
        it is bound to what was quoted."""
        values = bound_values(self.tariff, self._asked.scope)
        if self.tariff.quote is None:
            return values
        sold = self.tariff.sold or self.route.path
        return (("", sold), ("host", self._asked.host.decode("latin-1")), *values)

    async def _read_body(self) -> None:
        try:
            await self._asked.body.read(self._rules.body_limit)
        except BodyTooLargeError:
            problem = problems.BAD_REQUEST.because(
                f"A request to this resource may have {self._rules.body_limit} bytes of body."
            )
            raise OwedError(Answer(replace(problem, status=413))) from None

    async def _current_offers(self, resource: Resource) -> Offers:
        if self._offers is not None:
            return self._offers
        prices = await ask_price(self.tariff, self._asked, self._path_params)
        return self._gate.offers(self.tariff, prices, realm=resource.realm, header=self._header)

    async def examine(self) -> None:
        """Read the credential, so far as that takes neither store nor ledger."""
        try:
            if self.tariff.quote is None:
                self._read()
            else:
                await self._present()
        except RefusalError as refusal:
            await self.fail(refusal)

    async def is_managed(self) -> bool:
        """Whether the credential is one of ours, and no payment for the response."""
        try:
            return (await self._present()).quote.manages
        except RefusalError:
            return False

    @property
    def is_managing(self) -> bool:
        """Whether the credential is no payment for the response: the application is not asked."""
        return self._presented is not None and self._presented.quote.manages

    async def _present(self) -> Presented:
        presented = self._read()
        if presented.is_reusable and self.tariff.quote is not None:
            # Its quote is for requests of other costs, too.
            self._offers = await self._current_offers(self._quoted_resource())
            presented = self._presented = self._gate.requote(presented, self._offers)
        return presented

    def _read(self) -> Presented:
        credentials, resource = self._asked.credentials, self._resource
        if resource is None:
            raise _not_quoted()
        if len(credentials) > 1:
            raise OwedError(
                Answer(problems.BAD_REQUEST.because("A request carries one Payment credential."))
            )
        offers = self._offers if self.tariff.quote is None else None
        presented = self._presented = self._gate.examine(credentials[0], resource, offers)
        return presented

    async def demand(self) -> NoReturn:
        """Turn an unpaid request away with fresh challenges."""
        offers = await self._current_offers(self._quoted_resource())
        raise OwedError(await self._answer(offers.required, None, offers.required_body))

    async def begin(self) -> Errand | None:
        """Take the turn of a request that has an ``Idempotency-Key``."""
        repetition = self._rules.repetition
        if repetition is None or not self.has_credential:
            return None
        try:
            presented = self._presented or await self._present()
            if presented.quote.manages:
                return None  # it can be shown as often as one likes
            return await repetition.begin(self._asked, presented.credential)
        except OwedError as owed:
            if isinstance(owed.answer, Replay):
                await self._use_up()
            raise
        except _TROUBLE as trouble:
            await self.fail(trouble)
        return None

    async def _use_up(self) -> None:
        """A response is given again: that delivers its payment, should the process have died before
        it had written that down."""
        presented = self._presented
        if presented is None or presented.is_reusable:
            return  # what a session was charged was written before
        try:
            admission = await presented.intent.verify(presented.credential, presented.quote)
            await admission.delivered()
        except _TROUBLE:
            return  # it is used up, as it should be, or will be when it is given the next time

    async def pay(self) -> None:
        """Admit the credential, and settle it if that comes first."""
        try:
            presented = self._presented
            if presented is None:
                if not self.has_credential:
                    await self.demand()
                presented = await self._present()
            credential, intent, quote, _ = presented
            admission = self.admission
            if admission is None:
                admission = await intent.verify(credential, quote)
                self.admission, self.payment = admission, admission.payment
            if quote.manages:
                self.payment = await admission.settle()
                raise OwedError(Acknowledgement(self.payment.receipt_value or ""))
            if self.tariff.settle == "before":
                self.payment = await admission.settle()
        except _TROUBLE as trouble:
            await self.fail(trouble)

    async def settle(self) -> None:
        """Make the admitted payment final."""
        try:
            if self.admission is not None:
                self.payment = await self.admission.settle()
        except _TROUBLE as trouble:
            await self.fail(trouble)

    async def hold(self) -> None:
        """See that the admitted payment is still this request's, before more of a response goes
        out. Once it has started, what fails cuts it off."""
        try:
            if self.admission is not None and not self.admission.is_held():
                await self.admission.hold()
        except _TROUBLE as trouble:
            await self.fail(trouble)

    def renewal(self) -> bytes | None:
        """The field value of a fresh challenge, for a payer whose reusable one ends soon."""
        presented = self._presented
        if presented is None or not presented.is_reusable or self._offers is None:
            return None
        issued = self._gate.renewal(presented, self._offers)
        return None if issued is None else issued.header_value.encode("latin-1")

    async def fail(self, trouble: Trouble | MeterError) -> None:
        """Turn the request away for what went wrong."""
        if isinstance(trouble, MeterError):  # the endpoint could not draw what it needs
            raise OwedError(await self._answer(trouble.problem, None)) from trouble
        error = fault(trouble)
        if isinstance(error, RefusalError):
            if self._asked.idempotency_key is not None:
                await self._recall()
            if await self._is_free_now(error.problem):
                return
            raise OwedError(await self._answer(error.problem, error.retry_after)) from trouble
        if isinstance(error, PendingError):
            problem = _PENDING
        else:
            log.warning("a payment could not be finished: %s", error)
            problem = problems.unavailable(error.detail)
        raise OwedError(Answer(problem, retry_after=error.retry_after)) from trouble

    async def _recall(self) -> None:
        """What is refused may have been answered before, as it comes with the key of that."""
        try:
            if self._rules.repetition is not None:
                await self._rules.repetition.recall(self._asked)
        except StoreUnavailableError as unavailable:
            await self.fail(unavailable)

    async def _is_free_now(self, problem: Problem) -> bool:
        """Whether the payer has nothing to pay any more, whatever was wrong with the credential."""
        if problem.status != 402 or self.tariff.quote is None:
            return False
        self._offers = await self._current_offers(self._quoted_resource())
        return not self._offers.ways

    async def _answer(
        self, problem: Problem, retry_after: int | None, body: bytes | None = None
    ) -> Answer:
        """The answer with the problem and, where the payer may pay anew, fresh challenges."""
        if problem.status != 402:
            return Answer(problem, retry_after=retry_after, body=body)
        resource = self._quoted_resource()
        offers = self._offers = await self._current_offers(resource)
        ways: Sequence[Offer] = offers.ways
        if offers.is_personal or self._asked.session is not None:
            ways = await self._resumed(offers)
        challenges = self._gate.challenge(
            ways,
            resource,
            accept=self._asked.accept,
            sponsored=problem.slug != problems.SPONSORSHIP_EXHAUSTED.slug,
        )
        return Answer(problem, challenges, retry_after, body)

    async def _resumed(self, offers: Offers) -> Sequence[Offer]:
        """The offers for whoever asks."""
        session = self._asked.session
        try:
            if session is None and self._rules.channel_of is not None:
                session = await self._rules.channel_of(Request(self._asked.scope))
            return await self._gate.resumed(offers.ways, session or "")
        except (FaultError, RefusalError) as error:
            log.warning("a session could not be looked up: %s", error)
            return [way for way in offers.ways if not way.intent.is_personal]

    def _quoted_resource(self) -> Resource:
        if self._resource is None:
            raise _not_quoted()
        return self._resource


def _not_quoted() -> RuntimeError:
    return RuntimeError("a toll is quoted before anything else")
