"""One request's way through a paid application.

A visit is *open* until something with a price turns up: a route that was foreseen, or an endpoint
that insists. Then it is *priced*, and from there nothing of a successful response leaves until the
payment is admitted and, if it is to be settled first, final. What the application refuses by itself
(401, 404, 422) leaves as it is, unpaid.
"""

from __future__ import annotations

import enum
import ipaddress
import logging
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from mpp_asgi.answers import Answer, TurnedAwayError
from mpp_asgi.body import BodyTooLargeError, RequestBody
from mpp_asgi.gate import Gate, Offer, Presented, Resource, faults
from mpp_asgi.intents import FaultError, PendingError, RefusalError
from mpp_asgi.pricing import PriceError, Tariff, tariff_of
from mpp_asgi.protocol import Problem, payment_credentials, problems
from mpp_asgi.routes import Foreseen, PricedRoute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mpp_asgi.intents import Admission, Payment
log = logging.getLogger("mpp_asgi")

_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\]")
_PENDING = Problem(
    "about:blank", "Conflict", 409, "This payment is being worked on by another request of yours."
)
_SERVER_ERROR = Problem(
    "about:blank", "Internal Server Error", 500, "The server could not answer. Nothing was lost."
)
_COME_BACK = frozenset({408, 425, 429})
"""Refusals by the application that say "later": the payer keeps the credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseRules:
    """What holds for every visit."""

    realm: str | None
    """``None``: the request's host."""
    allow_http: bool
    """Whether payments are taken over plain HTTP from beyond this machine."""
    body_limit: int
    """Bytes of request body a priced route takes, since it must be digested first."""
    hold_limit: int
    """Bytes of response that are held back with ``settle="after"``."""


class Stage(enum.Enum):
    """How far the payment of a visit has come."""

    OPEN = "nothing with a price has turned up"
    PRICED = "a price stands, no payment has been admitted"
    ADMITTED = "the credential is ours to settle or settled"
    WAIVED = "costs nothing this time, or the application refused by itself"
    ANSWERED = "we answered in the application's stead"


class Visit:
    """Carries a request through the application and its response back."""

    def __init__(
        self, gate: Gate, rules: HouseRules, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.scope = scope
        self.body = RequestBody(scope, receive)
        self.stage = Stage.OPEN
        self._gate = gate
        self._rules = rules
        self._send = send
        # Whatever stands further in may rewrite the scope; a challenge is bound to what was sent.
        self._method: str = scope.get("method", "GET")
        self._path: str = scope["path"]
        self._query: bytes = scope.get("query_string", b"")
        self._route: PricedRoute | None = None
        self._offers: Sequence[Offer] | None = None
        self._resource: Resource | None = None
        self._presented: Presented | None = None
        self._admission: Admission | None = None
        self._payment: Payment | None = None
        self._answer: Answer | None = None
        self._held: list[Message] = []
        self._held_size = 0
        self._status = 0
        self._started = False
        self._ended = False

    # The way in

    async def serve(self, app: ASGIApp, foreseen: Foreseen | None) -> None:
        """Pass the request on to the application, or answer it."""
        try:
            if foreseen is not None:
                await self._approach(foreseen)
            await app(self.scope, self.body.receive, self.send)
        except TurnedAwayError as turned:
            self._answer = turned.answer
        except Exception:
            if self._answer is None:  # else: what our turning away made of the application
                raise
        finally:
            await self._end()
        if self._answer is not None:
            await self._give_answer()

    async def _approach(self, foreseen: Foreseen) -> None:
        route = foreseen.route
        self._set_price(route)
        if not await self._quote(foreseen.path_params):
            return
        if not self._credentials() and not route.authenticates:
            await self._turn_away_unpaid()
        if self._credentials():
            await self._present()
            if not route.insists:
                await self._admit()

    def _set_price(self, route: PricedRoute) -> None:
        self._route = route
        self.stage = Stage.PRICED
        self.scope.setdefault("state", {})
        if self._is_insecure():
            raise TurnedAwayError(
                Answer(problems.BAD_REQUEST.because("Payments are taken over HTTPS only."))
            )

    def _is_insecure(self) -> bool:
        if self._rules.allow_http or self.scope.get("scheme") not in ("http", "ws"):
            return False
        client = self.scope.get("client")
        return client is not None and not _is_local(client[0])

    async def _quote(self, path_params: Mapping[str, Any]) -> bool:
        """Find out what the resource costs; ``False`` if nothing this time."""
        tariff = self._tariff
        vary: tuple[tuple[str, str], ...] = ()
        if tariff.vary or tariff.quote is not None:
            headers = Headers(scope=self.scope)
            vary = tuple((name, headers.get(name, "")) for name in _bound_headers(tariff))
        await self._read_body()
        self._resource = Resource(
            realm=self._realm(),
            method=self._method,
            path=self._path,
            query=self._query,
            digest=self.body.digest(),
            vary=vary,
        )
        if tariff.quote is not None and self._credentials():
            return True  # a quote is bound to all its price could read: it holds until it expires
        prices = await tariff.prices_for(lambda: self._bound_request(path_params))
        if not prices:
            self.stage = Stage.WAIVED
            return False
        header = self._route.header if self._route else None
        self._offers = self._gate.offers(tariff, prices, realm=self._resource.realm, header=header)
        return True

    @property
    def _settles_before(self) -> bool:
        return self._tariff.settle == "before"

    @property
    def _tariff(self) -> Tariff:
        if self._route is None:
            raise RuntimeError("a visit has a tariff once it has a price")
        return self._route.tariff

    async def _read_body(self) -> None:
        try:
            await self.body.read(self._rules.body_limit)
        except BodyTooLargeError:
            problem = problems.BAD_REQUEST.because(
                f"A request to this resource may have {self._rules.body_limit} bytes of body."
            )
            raise TurnedAwayError(Answer(replace(problem, status=413))) from None

    def _realm(self) -> str:
        if self._rules.realm is not None:
            return self._rules.realm
        for name, value in self.scope["headers"]:
            if name == b"host":
                host = _HOST.match(value.decode("latin-1"))
                return host[0].lower() if host else "localhost"
        return "localhost"

    def _bound_request(self, path_params: Mapping[str, Any]) -> Request:
        scope = {**self.scope, "path_params": dict(path_params)}
        for unbound in ("user", "auth", "session", "client"):
            scope.pop(unbound, None)
        return BoundRequest(scope, self.body.replay(), frozenset(_bound_headers(self._tariff)))

    def _credentials(self) -> list[str]:
        return payment_credentials(
            value.decode("latin-1")
            for name, value in self.scope["headers"]
            if name in (b"authorization", b"payment-authorization")
        )

    async def _present(self) -> None:
        """Read the credential, so far as that takes neither store nor ledger."""
        credentials = self._credentials()
        if len(credentials) > 1:
            raise TurnedAwayError(
                Answer(problems.BAD_REQUEST.because("A request carries one Payment credential."))
            )
        if self._resource is None:
            raise RuntimeError("a credential is presented for a resource")
        offers = self._offers if self._tariff.quote is None else None
        try:
            self._presented = self._gate.examine(credentials[0], self._resource, offers)
        except RefusalError as refusal:
            await self._turn_away(refusal.problem, refusal.retry_after)

    # The payment

    def is_paid(self, tariff: Tariff) -> bool:
        """Whether the endpoint with this tariff may run: paid, free this time, or merely called
        by the endpoint that was routed to."""
        if self._route is not None and self._route.tariff is tariff:
            return self.stage in (Stage.ADMITTED, Stage.WAIVED)
        if self._route is not None and not self._route.insists:
            return self.stage in (Stage.ADMITTED, Stage.WAIVED)  # priced by path, once for all
        return self._is_nested(tariff)

    def _is_nested(self, tariff: Tariff) -> bool:
        endpoint = self.scope.get("endpoint")
        is_endpoint = callable(endpoint) and hasattr(endpoint, "__name__")
        return is_endpoint and tariff_of(endpoint, self.scope.get("method", "GET")) is not tariff

    async def insist(self, tariff: Tariff) -> None:
        """The endpoint with this tariff was reached: have it paid, or unwind the application."""
        try:
            if self._route is None:
                self._set_price(PricedRoute(tariff, self._path, insists=True))
                if not await self._quote(self.scope.get("path_params", {})):
                    return
            elif self._route.tariff is not tariff:
                log.error(
                    "a request to %s was paid as one route and taken by another: "
                    "add PaymentMiddleware before the middleware that rewrites paths",
                    self._path,
                )
                raise TurnedAwayError(Answer(_SERVER_ERROR))
            await self.pay()
        except TurnedAwayError as turned:
            self._answer = turned.answer
            raise

    async def pay(self) -> Payment | None:
        """Have the visit paid if it has a price; ``None`` if it has none."""
        if self.stage is Stage.PRICED:
            if self._presented is None:
                if not self._credentials():
                    await self._turn_away_unpaid()
                await self._present()
            await self._admit()
        return self._payment

    async def _admit(self) -> None:
        if self._presented is None:
            raise RuntimeError("a payment is admitted once it was presented")
        try:
            self._admission = await self._gate.admit(self._presented)
            self.stage = Stage.ADMITTED
            self._payment = self._admission.payment
            if self._settles_before:
                with faults():
                    self._payment = await self._admission.settle()
        except (RefusalError, PendingError, FaultError) as error:
            await self._fail(error)
        self.scope["state"]["payment"] = self._payment

    async def _fail(self, error: RefusalError | PendingError | FaultError) -> None:
        if isinstance(error, RefusalError):
            await self._turn_away(error.problem, error.retry_after)
        elif isinstance(error, PendingError):
            raise TurnedAwayError(Answer(_PENDING, retry_after=error.retry_after))
        else:
            log.warning("a payment could not be finished: %s", error)
            problem = problems.unavailable(error.detail)
            raise TurnedAwayError(Answer(problem, retry_after=error.retry_after))

    async def _turn_away_unpaid(self) -> None:
        prices = " or ".join(str(price) for price in self._tariff.prices)
        detail = f"This resource costs {prices}." if prices else "This resource has a price."
        await self._turn_away(problems.PAYMENT_REQUIRED.because(detail), None)

    async def _turn_away(self, problem: Problem, retry_after: int | None) -> None:
        """Answer with the problem and, where the payer may pay anew, fresh challenges."""
        challenges = ()
        if problem.status == 402:
            challenges = await self._fresh_challenges()
        raise TurnedAwayError(Answer(problem, challenges, retry_after))

    async def _fresh_challenges(self) -> Any:
        if self._resource is None:
            return ()
        if self._offers is None:
            prices = await self._tariff.prices_for(
                lambda: self._bound_request(self.scope.get("path_params", {}))
            )
            header = self._route.header if self._route else None
            self._offers = self._gate.offers(
                self._tariff, prices, realm=self._resource.realm, header=header
            )
        accept = Headers(scope=self.scope).get("accept-payment")
        return self._gate.challenge(self._offers, self._resource, accept=accept)

    # The way out

    async def send(self, message: Message) -> None:
        """What the application calls."""
        if self.stage in (Stage.OPEN, Stage.WAIVED):
            await self._send(message)
        elif self._answer is not None or self.stage is Stage.ANSWERED:
            return  # the application is being unwound; what it has to say about it is not heard
        elif message["type"] == "http.response.start":
            await self._send_start(message)
        elif not self._started and not self._held:
            return  # nothing goes ahead of a response that is not paid for yet
        else:
            await self._send_rest(message)

    async def _send_start(self, message: Message) -> None:
        self._status = message["status"]
        if self.stage is Stage.PRICED:
            if self._status >= 400:
                self.stage = Stage.WAIVED
                await self._send(message)
                return
            # The endpoint never asked, something in front of it answered: a cache, say.
            try:
                await self.pay()
            except TurnedAwayError as turned:
                self._answer = turned.answer
                return
        if not self._settles_before and self._status < 400:
            self._held.append(message)
            return
        await self._start(message)

    async def _start(self, message: Message) -> None:
        self._started = True
        if self._status < 400 and self._payment is not None and self._payment.receipt is not None:
            message = {**message, "headers": list(message.get("headers", ()))}
            headers = MutableHeaders(raw=message["headers"])
            headers["Payment-Receipt"] = self._payment.receipt.to_header()
            headers["Cache-Control"] = _made_private(headers.get("cache-control", ""))
        await self._send(message)

    async def _send_rest(self, message: Message) -> None:
        last = not message.get("more_body", False)
        if self._held:
            self._held.append(message)
            self._held_size += len(message.get("body", b""))
            if self._held_size > self._rules.hold_limit:
                log.error("a response with settle='after' is larger than hold_limit")
                self._answer = Answer(_SERVER_ERROR)
                return
            if last:
                await self._settle_held()
            return
        if last:
            await self.body.look_for_disconnect()
        await self._send(message)
        if last:
            await self._conclude()

    async def _settle_held(self) -> None:
        if self._admission is None:
            return
        try:
            with faults():
                self._payment = await self._admission.settle()
        except (RefusalError, PendingError, FaultError) as error:
            try:
                await self._fail(error)
            except TurnedAwayError as turned:
                self._answer = turned.answer
            return
        held, self._held = self._held, []
        await self._start(held[0])
        for message in held[1:-1]:
            await self._send(message)
        await self._send_rest(held[-1])

    async def _conclude(self) -> None:
        """The response left whole."""
        admission = self._admission
        if admission is None or self.body.disconnected or self._is_failure():
            return
        self._ended = True
        await admission.delivered()

    def _is_failure(self) -> bool:
        return self._status >= 500 or self._status in _COME_BACK

    async def _end(self) -> None:
        if self._admission is not None and not self._ended:
            self._ended = True
            await self._admission.undelivered()

    async def _give_answer(self) -> None:
        if self._answer is not None and not self._started and self.stage is not Stage.ANSWERED:
            self.stage = Stage.ANSWERED
            await self._answer.send(self._send)


class BoundRequest(Request):
    """What a dynamic price sees of a request: what its challenge binds, nothing else."""

    def __init__(self, scope: Scope, receive: Receive, bound: frozenset[str]) -> None:
        super().__init__(scope, receive)
        self._headers = _BoundHeaders(scope, bound)


class _BoundHeaders(Headers):
    def __init__(self, scope: Scope, bound: frozenset[str]) -> None:
        super().__init__(scope=scope)
        self._bound = bound

    def _check(self, key: str) -> None:
        if key.lower() not in self._bound:
            raise PriceError(
                f"the price reads the header {key!r}, which its challenge does not bind; "
                f"write @price(..., vary=[{key.lower()!r}])"
            )

    def __getitem__(self, key: str) -> str:
        self._check(key)
        return super().__getitem__(key)

    def getlist(self, key: str) -> list[str]:
        self._check(key)
        return super().getlist(key)


def _bound_headers(tariff: Tariff) -> tuple[str, ...]:
    if tariff.quote is None:
        return tariff.vary
    return (*tariff.vary, "content-type")


def _made_private(cache_control: str) -> str:
    """``Cache-Control`` of a paid response: never for a shared cache (core draft, receipts)."""
    directives = [d.strip() for d in cache_control.split(",") if d.strip()]
    kept = [d for d in directives if not d.lower().startswith(("public", "s-maxage"))]
    if not any(d.lower() in ("private", "no-store") for d in kept):
        kept.append("private")
    return ", ".join(kept)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True  # no address: a Unix socket or an in-process client
