"""What one priced request owes, and everything that is said to its payer about it."""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http.client import responses
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request

from mpp_asgi.answers import Acknowledgement, Answer
from mpp_asgi.body import BodyTooLargeError, may_have_body
from mpp_asgi.bound_request import BoundRequest
from mpp_asgi.gate import Resource, fault
from mpp_asgi.intents import FaultError, PendingError, RefusalError
from mpp_asgi.metering import MeterError
from mpp_asgi.protocol import Problem, payment_credentials, problems
from mpp_asgi.stores.contract import OwnershipLostError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.types import Scope

    from mpp_asgi.body import RequestBody
    from mpp_asgi.gate import Gate, Offer, Offers, Presented
    from mpp_asgi.intents import Admission
    from mpp_asgi.payment import Payment
    from mpp_asgi.pricing import Price, Tariff
    from mpp_asgi.routes import PricedRoute

log = logging.getLogger("mpp_asgi")

_HOST = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LONGEST_HOST = 261
"""255 characters of a name, a colon and a port."""
_NAMELESS = "localhost"
_PENDING = Problem(
    "about:blank", "Conflict", 409, "This payment is being worked on by another request of yours."
)


ChannelOf = Callable[[Request], Awaitable[str | None]]


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


class Fields(NamedTuple):
    """The header fields that payment is about."""

    host: bytes
    accept: str | None
    """``Accept-Payment``."""
    credentials: list[str]
    """Of the scheme Payment."""
    session: str | None = None
    """``Payment-Session``."""


class Asked(NamedTuple):
    """The request as its client sent it: whatever stands further in may rewrite the scope."""

    scope: Scope
    body: RequestBody
    fields: Fields
    method: str
    path: str
    query: bytes


class OwedError(BaseException):
    """The request may not go on; carries what to answer.

    Like a cancellation it unwinds the application and is no error of its: nothing that handles,
    reports or swallows errors there is to meet it.
    """

    def __init__(self, answer: Answer | Acknowledgement) -> None:
        super().__init__()
        self.answer = answer


def quick_demand(
    gate: Gate, rules: HouseRules, route: PricedRoute, scope: Scope, fields: Fields
) -> Answer | None:
    """The 402 for a request that shows no credential, where it takes no more than a look at the
    headers: the price is fixed and there is no body. ``None`` where it takes a `Toll`.

    Most of what a server of agents answers is this, so it comes without the rest.
    """
    if fields.credentials or fields.session or route.authenticates or scope["type"] != "http":
        return None
    tariff = route.tariff
    if tariff.is_bound_to_headers or may_have_body(scope):
        return None
    if not rules.allow_http and _is_insecure(scope):
        return None
    realm = rules.realm or _realm(fields.host)
    resource = Resource(realm, scope["method"], scope["path"], scope["query_string"], None)
    offers = gate.offers(tariff, tariff.prices, realm=realm, header=route.header)
    if offers.is_personal:
        return None
    challenges = gate.challenge(offers.ways, resource, accept=fields.accept)
    return Answer(offers.required, challenges, None, offers.required_body)


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
        self._fields = asked.fields
        if not rules.allow_http and _is_insecure(asked.scope):
            raise OwedError(
                Answer(problems.BAD_REQUEST.because("Payments are taken over HTTPS only."))
            )

    @property
    def has_credential(self) -> bool:
        return bool(self._fields.credentials)

    async def quote(self, path_params: Mapping[str, Any]) -> bool:
        """Find out what the resource costs; ``False`` if nothing this time."""
        self._path_params = path_params
        if not self._asked.body.is_complete:
            await self._read_body()
        self._resource = Resource(
            self._rules.realm or _realm(self._fields.host),
            self._asked.method,
            self._asked.path,
            self._asked.query,
            self._asked.body.digest(),
            self._vary() if self.tariff.is_bound_to_headers else (),
        )
        if self.tariff.quote is None:
            self._offers = self._offer(self._resource, self.tariff.prices)
            return True
        if self.has_credential:
            return True  # a quote is bound to all its price could read: it holds until it expires
        self._offers = await self._current_offers(self._resource)
        return bool(self._offers.ways)

    async def _read_body(self) -> None:
        try:
            await self._asked.body.read(self._rules.body_limit)
        except BodyTooLargeError:
            problem = problems.BAD_REQUEST.because(
                f"A request to this resource may have {self._rules.body_limit} bytes of body."
            )
            raise OwedError(Answer(replace(problem, status=413))) from None

    def _vary(self) -> tuple[tuple[str, str], ...]:
        headers = Headers(scope=self._asked.scope)
        return tuple(
            (name, value) for name in self.tariff.bound_headers for value in headers.getlist(name)
        )

    async def _current_offers(self, resource: Resource) -> Offers:
        if self._offers is not None:
            return self._offers
        tariff = self.tariff
        prices = tariff.prices
        if tariff.quote is not None:
            prices = await self._ask_price(tariff)
        return self._offer(resource, prices)

    def _offer(self, resource: Resource, prices: Sequence[Price]) -> Offers:
        return self._gate.offers(
            self.tariff, prices, realm=resource.realm, header=self.route.header
        )

    async def _ask_price(self, tariff: Tariff) -> tuple[Price, ...]:
        """Ask a dynamic price, which may refuse the request as an endpoint does."""
        try:
            return await tariff.prices_for(self._bound_request)
        except HTTPException as refusal:
            title = responses.get(refusal.status_code, "Refused")
            detail = refusal.detail if isinstance(refusal.detail, str) else title
            problem = Problem("about:blank", title, refusal.status_code, detail)
            raise OwedError(Answer(problem, headers=refusal.headers or {})) from refusal
        except (JSONDecodeError, UnicodeDecodeError) as error:
            problem = problems.BAD_REQUEST.because("The request's body could not be read.")
            raise OwedError(Answer(problem)) from error

    def _bound_request(self) -> Request:
        return BoundRequest(
            self._asked.scope,
            self._asked.body.replay(),
            path_params=self._path_params,
            names=self.tariff.bound_headers,
        )

    async def examine(self) -> None:
        """Read the credential, so far as that takes neither store nor ledger."""
        try:
            await self._present()
        except RefusalError as refusal:
            await self.fail(refusal)

    async def is_managed(self) -> bool:
        """Whether the credential is one of ours, and no payment for the response."""
        try:
            await self._present()
        except RefusalError:
            return False
        return self.is_managing

    @property
    def is_managing(self) -> bool:
        """Whether the credential is no payment for the response: the application is not asked."""
        return self._presented is not None and self._presented.quote.manages

    async def _present(self) -> None:
        credentials = self._fields.credentials
        if len(credentials) > 1:
            raise OwedError(
                Answer(problems.BAD_REQUEST.because("A request carries one Payment credential."))
            )
        offers = self._offers if self.tariff.quote is None else None
        presented = self._gate.examine(credentials[0], self._quoted_resource(), offers)
        if offers is None and presented.is_reusable:
            self._offers = await self._current_offers(self._quoted_resource())
            presented = self._gate.requote(presented, self._offers)
        self._presented = presented

    async def demand(self) -> None:
        """Turn an unpaid request away with fresh challenges."""
        offers = await self._current_offers(self._quoted_resource())
        raise OwedError(await self._answer(offers.required, None, offers.required_body))

    async def pay(self) -> None:
        """Admit the credential, and settle it if that comes first."""
        try:
            if self._presented is None:
                if not self.has_credential:
                    await self.demand()
                await self._present()
            if self.admission is None and self._presented is not None:
                self.admission = await self._gate.admit(self._presented)
                self.payment = self.admission.payment
            if self.is_managing:
                await self._acknowledge()
            if self.tariff.settle == "before":
                await self.settle()
        except (RefusalError, PendingError, FaultError) as error:
            await self.fail(error)

    async def _acknowledge(self) -> NoReturn:
        """Do what the credential asks for, and answer with its receipt."""
        await self.settle()
        receipt = self.payment.receipt_value if self.payment is not None else None
        raise OwedError(Acknowledgement(receipt or ""))

    def renewal(self) -> bytes | None:
        """The field value of a fresh challenge, for a payer whose reusable one ends soon."""
        if self._presented is None or self._offers is None:
            return None
        issued = self._gate.renewal(self._presented, self._offers)
        return None if issued is None else issued.header_value.encode("latin-1")

    async def settle(self) -> None:
        """Make the admitted payment final."""
        try:
            if self.admission is not None:
                self.payment = await self.admission.settle()
        except (RefusalError, PendingError, FaultError) as error:
            await self.fail(error)
        except (StoreUnavailableError, OwnershipLostError) as trouble:
            await self.fail(fault(trouble))

    async def hold(self) -> None:
        """See that the admitted payment is still this request's, before more of a response goes
        out. Once it has started, what fails cuts it off."""
        try:
            if self.admission is not None and not self.admission.is_held():
                await self.admission.hold()
        except (PendingError, FaultError) as error:
            await self.fail(error)
        except (StoreUnavailableError, OwnershipLostError) as trouble:
            await self.fail(fault(trouble))

    async def fail(self, error: RefusalError | PendingError | FaultError) -> None:
        """Turn the request away for what went wrong."""
        if isinstance(error, RefusalError):
            if await self._is_free_now(error.problem):
                return
            raise OwedError(await self._answer(error.problem, error.retry_after)) from error
        if isinstance(error, PendingError):
            problem = _PENDING
        else:
            log.warning("a payment could not be finished: %s", error)
            problem = problems.unavailable(error.detail)
        raise OwedError(Answer(problem, retry_after=error.retry_after)) from error

    async def fail_drawing(self, error: MeterError | StoreUnavailableError) -> None:
        """Turn the request away because the endpoint could not draw what it needs."""
        if isinstance(error, MeterError):
            raise OwedError(await self._answer(error.problem, None)) from error
        await self.fail(fault(error))

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
        if offers.is_personal or self._fields.session is not None:
            ways = await self._resumed(offers)
        challenges = self._gate.challenge(ways, resource, accept=self._fields.accept)
        return Answer(problem, challenges, retry_after, body)

    async def _resumed(self, offers: Offers) -> Sequence[Offer]:
        """The offers for whoever asks."""
        session = self._fields.session
        try:
            if session is None and self._rules.channel_of is not None:
                session = await self._rules.channel_of(Request(self._asked.scope))
            return await self._gate.resumed(offers.ways, session or "")
        except (FaultError, RefusalError) as error:
            log.warning("a session could not be looked up: %s", error)
            return [way for way in offers.ways if not way.intent.is_personal]

    def _quoted_resource(self) -> Resource:
        if self._resource is None:
            raise RuntimeError("a toll is quoted before it is demanded")
        return self._resource


_NO_CREDENTIALS: list[str] = []


def read_fields(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The header fields that payment is about, among those of an ASGI scope."""
    host, accept, session = b"", None, None
    authorizations: list[str] = []
    for name, value in headers:
        if name == b"host":
            host = value
        elif name == b"authorization" or name == b"payment-authorization":  # noqa: PLR1714
            authorizations.append(value.decode("latin-1"))
        elif name == b"accept-payment":
            text = value.decode("latin-1")
            accept = text if accept is None else f"{accept}, {text}"
        elif name == b"payment-session":
            session = value.decode("latin-1")
    credentials = payment_credentials(authorizations) if authorizations else _NO_CREDENTIALS
    return Fields(host, accept, credentials, session)


def _realm(host: bytes) -> str:
    """The host a request names, without its port; it is the client's word and may be anything."""
    return _named(host) if len(host) <= _LONGEST_HOST else _NAMELESS


@functools.lru_cache(maxsize=1024)
def _named(host: bytes) -> str:
    named = _HOST.fullmatch(host.decode("latin-1"))
    return named[1].lower() if named else _NAMELESS


def _is_insecure(scope: Scope) -> bool:
    if scope.get("scheme") not in ("http", "ws"):
        return False
    client = scope.get("client")
    return client is not None and not is_local(client[0])


@functools.lru_cache(maxsize=1024)
def is_local(host: str) -> bool:
    """Whether a client with this address is on this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True  # no address: a Unix socket or an in-process client
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
