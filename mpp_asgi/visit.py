"""One request's way through a paid application.

A visit is *open* until something with a price turns up: a route that was foreseen, or an endpoint
that insists. Then it is *priced*, and from there nothing of a successful response leaves until the
payment is admitted and, if it is to be settled first, final. What the application refuses by itself
(401, 404, 422) leaves as it is, unpaid.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urlsplit

from mpp_asgi.answers import Answer, OwedError, paid_headers, private_headers, unshared_headers
from mpp_asgi.body import DisconnectedError
from mpp_asgi.metering import MeterError
from mpp_asgi.presence import Included, Presence, present
from mpp_asgi.protocol import Problem, problems
from mpp_asgi.routes import Foreseen, PricedRoute
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.toll import Toll

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from starlette.types import ASGIApp, Message, Send

    from mpp_asgi.answers import Acknowledgement, Replay
    from mpp_asgi.asked import Asked
    from mpp_asgi.gate import Gate
    from mpp_asgi.idempotency import Errand
    from mpp_asgi.metering import Tab
    from mpp_asgi.payment import Payment
    from mpp_asgi.pricing import Tariff
    from mpp_asgi.toll import HouseRules

log = logging.getLogger("mpp_asgi")

_SERVER_ERROR = Problem(
    "about:blank", "Internal Server Error", 500, "The server could not answer. Nothing was lost."
)
_AMBIGUOUS = problems.BAD_REQUEST.because(
    "This path may be read as another, of another price: write it plainly."
)
_COME_BACK = frozenset({408, 425, 429})
"""Refusals by the application that say "later": the payer keeps the credential."""
_BODY = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})


class Stage(enum.Enum):
    """How far a visit has come."""

    OPEN = "nothing with a price has turned up"
    PRICED = "there is a price, and no payment was admitted"
    ADMITTED = "the payment was admitted"
    WAIVED = "it costs nothing this time"
    REFUSED = "there is a price, and the application refused by itself before it was paid"
    ANSWERED = "we answer in the application's stead"


_OPEN, _PRICED, _ADMITTED = Stage.OPEN, Stage.PRICED, Stage.ADMITTED
_WAIVED, _REFUSED, _ANSWERED = Stage.WAIVED, Stage.REFUSED, Stage.ANSWERED
# At hand, because looking a member up in its enumeration takes as long as a call.


class Visit:
    """Carries a request through the application and its response back."""

    stage: Stage
    _loop: asyncio.AbstractEventLoop
    _toll: Toll | None = None
    _insisting: asyncio.Lock | None = None
    _expected: Tariff | None = None
    _unrouted: Foreseen | None = None
    _is_foreseen = False
    """Whether the endpoint of the route is what the toll is for: then it pays for the request."""
    _entered = False
    """Whether that has been reached, paid for: all that comes after it is included."""
    _is_paying = False
    """Whether that is being paid for now, without the lock."""
    _waits: asyncio.Event | None = None
    """For the end of that: set then."""
    _included: Included | None = None
    """Otherwise a call pays for what it calls itself."""
    _answer: Answer | Acknowledgement | Replay | None
    _errand: Errand | None
    _held: list[Message] | None = None
    _held_size = 0
    _status = 0
    _started = False
    _delivered = False
    _is_kept = False
    _has_ended = False

    def __init__(self, gate: Gate, rules: HouseRules, asked: Asked, send: Send) -> None:
        self._gate = gate
        self._rules = rules
        self._asked = asked
        self._send = send
        # What every request asks for and few set: found here, not in the class, it is found fast.
        self.stage = _OPEN
        self._errand = None
        self._answer = None
        self.scope = asked.scope
        self.receive = asked.body.receive
        """What the application calls."""

    @property
    def payment(self) -> Payment | None:
        """What was paid; ``None`` if nothing was, or not yet."""
        return self._toll.payment if self._toll is not None else None

    # The way in

    async def serve(self, app: ASGIApp, foreseen: Foreseen | None) -> None:
        """Pass the request on to the application, or answer it."""
        self._loop = asyncio.get_running_loop()
        presence = Presence(self)
        entered = present.set(presence)
        try:
            if foreseen is not None:
                await self._approach(foreseen)
            await app(self.scope, self.receive, self.send)
        except OwedError as owed:
            self._turn_away(owed)
        except DisconnectedError:
            return  # nobody is left to answer
        except (MeterError, StoreUnavailableError) as short:
            await self._turn_away_unpaid(short)
        except (Exception, BaseExceptionGroup):
            if self._answer is None:  # else it is what our turning away made of the application
                raise
        finally:
            self._has_ended = True
            try:
                if self._toll is not None and not self._delivered:
                    await self._leave(self._toll)
            finally:
                presence.visit = None
                present.reset(entered)
                await self._end()
        if self._answer is not None:
            await self._give_answer(self._answer)

    async def _end(self) -> None:
        if self._included is not None:
            self._included.end()
        if self._errand is not None:
            await self._errand.end()

    async def _turn_away_unpaid(self, short: MeterError | StoreUnavailableError) -> None:
        """More of the payment was to be drawn than there is, and the endpoint gave up."""
        if self._started or self._toll is None or self._answer is not None:
            raise short
        try:
            await self._toll.fail(short)
        except OwedError as owed:
            self._turn_away(owed)

    async def _approach(self, foreseen: Foreseen) -> None:
        """Do what can be done before the application runs."""
        route = foreseen.route
        if not foreseen.is_routed:
            self._unrouted, self._expected = foreseen, route.tariff
            return
        toll = self._toll_of(foreseen)
        self._is_foreseen = route.insists
        if toll.is_listed():
            self._owe(toll, _PRICED)
        else:
            await self._meet(toll, foreseen.path_params)
        if foreseen.stands_in and route.authenticates:
            self.stage = _WAIVED  # what answers here is another's, and this one is not asked
        if self.stage is _WAIVED or route.authenticates:
            return  # it authenticates first, whatever is shown
        if not self._asked.credentials:
            await toll.demand()
        if foreseen.stands_in:
            if await toll.is_managed():
                await self._pay(toll)
            self.stage = _WAIVED
            return
        await toll.examine()
        if not route.insists or toll.is_managing:
            await self._pay(toll)

    def _toll_of(self, foreseen: Foreseen) -> Toll:
        if not foreseen.is_certain:
            raise OwedError(Answer(_AMBIGUOUS))
        return Toll(self._gate, self._rules, foreseen.route, self._asked)

    async def _meet(self, toll: Toll, path_params: Mapping[str, Any]) -> None:
        """A price turned up, which may be nothing this time."""
        costs_something = await toll.quote(path_params)
        self._owe(toll, _PRICED if costs_something else _WAIVED)

    def _owe(self, toll: Toll, stage: Stage) -> None:
        self._toll = toll
        self.stage = stage
        self.scope.setdefault("state", {})["payment"] = None

    async def _pay(self, toll: Toll) -> None:
        if self._asked.idempotency_key is not None and self._errand is None:
            await self._begin_errand(toll)
        try:
            await toll.pay()
        finally:
            if self._has_ended:  # it was paid from a thread or a task that the request has left
                await self._leave(toll)
        self.stage = _ADMITTED
        self.scope["state"]["payment"] = toll.payment

    async def _begin_errand(self, toll: Toll) -> None:
        self._errand = await toll.begin()
        if self._errand is not None:
            self._send = self._errand.around(self._send, self._counts, self._count_as_had)

    # The endpoint

    def is_paid(self, tariff: Tariff) -> bool:
        """Whether the endpoint with this tariff may run: what covers it is paid, or it is free this
        time."""
        toll = self._toll
        if toll is None or not self._covers(toll, tariff):
            return False
        return self.stage is _ADMITTED or self.stage is _WAIVED

    def enter(self, tariff: Tariff) -> bool:
        """Let the endpoint with this tariff run, if the route is its own. What comes after it is
        included."""
        if self._answer is not None:
            return False
        if not self._entered:
            self._entered = self._is_foreseen and self.is_paid(tariff)
        return self._entered

    def expect(self, tariff: Tariff) -> None:
        """A stream with this tariff was made; it will insist when it begins."""
        if not (self._entered or self._started):
            self._expected = tariff

    async def insist(self, tariff: Tariff) -> Included | None:
        """The endpoint with this tariff was reached: have it paid, or unwind the application. Where
        it is not the route's own, what it calls itself runs inside what this gives."""
        try:
            toll = self._toll
            if (
                self.stage is _PRICED
                and self._is_foreseen
                and not self._is_paying
                and self._insisting is None
                and self._expected is None
                and toll is not None
                and toll.tariff is tariff
            ):
                await self._let_in_first(toll)
                return None
            if self.enter(tariff):
                return None
            if self._insisting is None:
                self._insisting = asyncio.Lock()
            async with self._insisting:  # several may be called at once
                if self._is_paying:
                    self._waits = asyncio.Event()
                    await self._waits.wait()
                return await self._let_in(tariff)
        except OwedError as owed:
            self._turn_away(owed)
            raise

    def insist_from_thread(self, tariff: Tariff) -> Included | None:
        """See `presence.Visit`. Any thread may call, not only those of anyio."""
        return asyncio.run_coroutine_threadsafe(self.insist(tariff), self._loop).result()

    async def _let_in_first(self, toll: Toll) -> None:
        """As it was foreseen, and as it is nearly always: nobody else is there, so no lock is
        taken."""
        self._is_paying = True
        try:
            await self._pay(toll)
        finally:
            self._is_paying = False
            if self._waits is not None:
                self._waits.set()
        self._entered = True

    async def _let_in(self, tariff: Tariff) -> Included | None:
        if self._answer is not None:
            raise OwedError(self._answer)
        if self.stage is _REFUSED:
            raise OwedError(Answer(_SERVER_ERROR))  # which is not sent any more: it unwinds
        toll = self._toll
        if toll is None:
            foreseen = self._unrouted
            if foreseen is None or foreseen.route.tariff is not tariff:
                route = PricedRoute(tariff, self._asked.path, insists=True)
                foreseen = Foreseen(route, self.scope.get("path_params", {}))
            toll = self._toll_of(foreseen)
            await self._meet(toll, foreseen.path_params)
        elif not (self._entered or self._covers(toll, tariff)):
            self._refuse_misrouted(toll)
        if self.stage is _PRICED:
            await self._pay(toll)
        return self._inclusion()

    def _covers(self, toll: Toll, tariff: Tariff) -> bool:
        """Whether the toll pays for the endpoint with this tariff, wherever it is called."""
        if toll.tariff is tariff:
            return True
        return not self._is_foreseen and toll.tariff.is_enough_for(tariff)

    def _inclusion(self) -> Included | None:
        if self._is_foreseen:
            self._entered = True
            return None
        if self._included is None:
            self._included = Included(self)
        return self._included

    def _refuse_misrouted(self, toll: Toll) -> NoReturn:
        if self._is_foreseen:
            log.error(
                "a request to %s was priced as one route and taken by another: "
                "add PaymentMiddleware before the middleware that rewrites paths",
                self._asked.path,
            )
        else:
            log.error(
                "a request to %s paid the price of %s, which does not cover what it reached "
                "beside that: call the dearer first, or put a price on what calls both",
                self._asked.path,
                toll.route.path,
            )
        raise OwedError(Answer(_SERVER_ERROR))

    # The way out

    def send(self, message: Message) -> Awaitable[None]:
        """What the application calls."""
        stage, toll = self.stage, self._toll
        begins = message["type"] == "http.response.start"
        if stage is _ADMITTED and toll is not None:
            if self._started:
                return self._send_rest(message, toll)
            if begins:
                return self._send_start(message, toll)
        elif (stage is _OPEN or stage is _WAIVED or stage is _REFUSED) and self._expected is None:
            if begins:
                self._started = True
                message = self._unshared(message)
            return self._send(message)
        elif stage is not _ANSWERED and begins:
            return self._send_unpaid(message)
        if self._held is not None:
            return self._hold(self._held, message)
        # Nothing goes ahead of a response that is not paid for yet; and while the application is
        # unwound, what it says about that is not heard.
        return _nothing()

    async def _send_unpaid(self, message: Message) -> None:
        """A response begins, and nothing was paid."""
        self._status = message["status"]
        if self._status >= 400 or (self._unrouted is not None and self._is_sent_on(message)):
            if self.stage is _PRICED:
                self.stage = _REFUSED
        else:
            await self._let_in_late()
        self._expected = None
        await self.send(message)

    def _is_sent_on(self, message: Message) -> bool:
        """Whether the router redirects the request to its own path with a slash more or less."""
        for name, value in message.get("headers", ()):
            if name == b"location" and self._status >= 300:
                try:
                    target, asked = urlsplit(value.decode("latin-1")), self._asked
                except ValueError:
                    return False  # as a host in a bracket that is never closed
                path = unquote(target.path)
                is_near = path != asked.path and path.rstrip("/") == asked.path.rstrip("/")
                return is_near and unquote(target.query) == unquote(asked.query)
        return False

    async def _send_start(self, message: Message, toll: Toll) -> None:
        self._status = message["status"]
        if self._expected is not None:
            if self._status < 400:
                await self._let_in_late()
            self._expected = None
        if toll.tariff.settle == "before" or self._status >= 400:
            await self._start(message, toll)
        else:
            self._held = [message]

    async def _let_in_late(self) -> None:
        """A response begins and the endpoint has not insisted: it is a stream, which insists when
        it begins, or something else answered in its stead, a cache perhaps."""
        tariff = self._expected
        if tariff is None and self._toll is not None:
            tariff = self._toll.tariff
        if tariff is not None:
            await self.insist(tariff)

    async def _start(self, message: Message, toll: Toll) -> None:
        admission, payment = toll.admission, toll.payment
        if admission is not None and not admission.is_held():
            await self._end_doubt(toll)
        if payment is not None and payment.receipt_value is not None and self._status < 400:
            receipt, tab = payment.receipt_value, payment.tab
            if tab is not None and tab.drawn is not None:
                receipt = await tab.receipt()  # the endpoint has drawn on it since it was made
            headers = paid_headers(message.get("headers", ()), receipt)
            renewal = toll.renewal()
            if renewal is not None:
                headers.append((b"www-authenticate", renewal))
            message = {**message, "headers": headers}
        elif toll.admission is not None:
            message = {**message, "headers": private_headers(message.get("headers", ()))}
        else:
            message = self._unshared(message)
        self._started = True  # not before: whoever is cancelled until here has been sent nothing
        await self._send(message)

    def _unshared(self, message: Message) -> Message:
        """What a price gave away for nothing this time, another one may have to pay for."""
        if self._toll is None or self._toll.tariff.quote is None or message["status"] >= 400:
            return message
        return {**message, "headers": unshared_headers(message.get("headers", ()))}

    async def _hold(self, held: list[Message], message: Message) -> None:
        """Keep the response back until it is whole and its payment final."""
        held.append(message)
        self._held_size += len(message.get("body", b""))
        if self._held_size > self._rules.hold_limit:
            log.error("a response with settle='after' is larger than hold_limit")
            owed = OwedError(Answer(_SERVER_ERROR))
            self._turn_away(owed)
            raise owed
        if _is_last(message) and self._toll is not None:
            await self._release(held, self._toll)

    async def _release(self, held: list[Message], toll: Toll) -> None:
        try:
            await toll.settle()
        except OwedError as owed:
            self._turn_away(owed)
            raise
        self.scope["state"]["payment"] = toll.payment
        self._held = None
        await self._start(held[0], toll)
        for rest in held[1:]:
            await self._send_rest(rest, toll)

    async def _send_rest(self, message: Message, toll: Toll) -> None:
        admission, is_last, was_there = toll.admission, _is_last(message), False
        if is_last:  # afterwards is too late: then servers call every connection closed
            body = self._asked.body
            is_gone = body.is_abandoned
            was_there = not (await body.is_gone() if is_gone is None else is_gone)
        if admission is not None and not admission.is_held():
            await self._end_doubt(toll)
        tab = None if toll.payment is None else toll.payment.tab
        if is_last and tab is not None and tab.is_broken_off and self._errand is not None:
            self._errand.leave()
        if is_last or tab is None or tab.drawn is None:
            await self._send(message)
        else:
            await self._hand_over(message, tab)
        if was_there:
            await self._conclude(toll)

    async def _hand_over(self, message: Message, tab: Tab) -> None:
        """Pass on what costs by the piece. It is handed over once it is given to a connection that
        is open, however long that takes to carry it."""
        is_gone = self._asked.body.is_abandoned or False
        try:
            await self._send(message)
        except OSError:
            is_gone = True
            raise
        finally:
            if is_gone:
                tab.is_cut_off = True
            else:
                tab.handed_over(message.get("body", b""))

    async def _end_doubt(self, toll: Toll) -> None:
        """Another process may be answering for this payment by now: let nothing out that it may be
        sending as well. Our errors may go."""
        if self._status >= 500 or self._delivered:
            return
        try:
            await toll.hold()
        except OwedError as owed:
            self._turn_away(owed)
            raise

    async def _conclude(self, toll: Toll) -> None:
        """The response left whole: if it was one, the credential is used up."""
        admission = toll.admission
        if admission is not None and self._counts(self._status):
            self._delivered = True
            await admission.delivered()

    def _counts(self, status: int) -> bool:
        """Whether such a response uses the payment up."""
        if status >= 500 or status in _COME_BACK:
            return False  # it says that there will be another one for the same credential
        return status < 400 or (self._toll is not None and self._toll.tariff.settle == "before")

    def _count_as_had(self) -> None:
        """The response is kept for its payer, who may be gone already: to give back now what it
        cost would be to give it away."""
        self._is_kept = True
        if self.payment is not None and self.payment.tab is not None:
            self.payment.tab.end(begun=True, whole=True)

    async def _leave(self, toll: Toll) -> None:
        if toll.admission is not None:
            begun = self._started and self._status < 400
            await toll.admission.undelivered(begun=begun or self._is_kept)

    def _turn_away(self, owed: OwedError) -> None:
        self._answer = owed.answer
        if self.stage is _REFUSED:
            return  # what it says itself it may say to the end
        self._held = None
        if self._errand is not None:
            self._errand.leave()
        self.stage = _ANSWERED

    async def _give_answer(self, answer: Answer | Acknowledgement | Replay) -> None:
        if not self._started:
            await answer.send(self._send)


async def _nothing() -> None:
    pass


def _is_last(message: Message) -> bool:
    return message["type"] in _BODY and not message.get("more_body", False)
