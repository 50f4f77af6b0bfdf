"""Work that is paid for by the unit while it is done: what a handler draws from its payment.

A `Tab` belongs to one response. What is drawn on it is spent at once, durably, before the work is
handed out; what was not handed out in the end is given back:

- a response that never began costs nothing;
- one that broke off costs what was handed to the connection, and what the handler committed;
- one that left whole costs whatever was drawn and not given back.
"""

from __future__ import annotations

import operator
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mpp_asgi.pricing import Price, PriceError
from mpp_asgi.protocol import decode_object
from mpp_asgi.sse import event_of, payment_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
    from decimal import Decimal
    from types import TracebackType

    from mpp_asgi.protocol import Problem


class Work(NamedTuple):
    """So much work, and what it costs."""

    units: int = 0
    cost: int = 0
    """Base units."""

    def __add__(self, other: object) -> Work:
        if not isinstance(other, Work):
            return NotImplemented
        return Work(self.units + other.units, self.cost + other.cost)

    def __sub__(self, other: Work) -> Work:
        return Work(self.units - other.units, self.cost - other.cost)


class MeteringError(RuntimeError):
    """There is nothing to meter: a mistake of the handler's."""


class MeterError(Exception):
    """No more can be drawn. An endpoint that lets it out before its response has begun has it
    answered with the problem, and nothing was paid."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class HeadroomError(MeterError):
    """The payer has to sign for more first.

    Args:
        problem: to answer with.
        shortage: how things stand, and what would be enough; for a payer who is listening.
    """

    def __init__(self, problem: Problem, shortage: Mapping[str, str]) -> None:
        super().__init__(problem)
        self.shortage = shortage


class SessionOverError(MeterError):
    """The payer's session is being closed, or has been."""


class Purse(Protocol):
    """What a tab is paid from. Amounts are base units."""

    @property
    def decimals(self) -> int:
        """Of the currency."""
        ...

    async def draw(self, work: Work, held: Work) -> None:
        """Spend, durably. Whoever is cancelled meanwhile has spent nothing.

        Args:
            work: what to pay for.
            held: what the response has drawn so far, and gets back if this fails and it does not
                begin.

        Raises:
            HeadroomError: more has to be signed for first.
            SessionOverError: there will be no more.
            StoreUnavailableError: it could not be recorded; nothing was spent.
        """
        ...

    async def put_back(self, work: Work) -> None:
        """Undo what was drawn. Outlives cancellation, and trouble of the store."""
        ...

    async def wait_for(self, work: Work) -> bool:
        """Wait until so much may be drawn, or until it is certain that it may not; ``False`` if
        the payer was given time enough and did nothing."""
        ...

    async def receipt(self, drawn: Work) -> str:
        """How things stand: a ``Payment-Receipt`` field value.

        Args:
            drawn: what the response has drawn.
        """
        ...


class Tab:
    """What one response costs beyond its price.

    Args:
        purse: what it is paid from.
    """

    __slots__ = ("_drawn", "_is_over", "_kept", "_purse", "_yielded", "is_broken_off", "is_cut_off")

    def __init__(self, purse: Purse) -> None:
        self._purse = purse
        self._drawn: Work | None = None
        self._kept = Work()
        self._yielded: deque[tuple[bytes, Work]] | None = None
        self._is_over = False
        self.is_cut_off = False
        """The connection was gone when something was to be handed to it."""
        self.is_broken_off = False
        """A stream has ended for that, however whole it looks."""

    @property
    def purse(self) -> Purse:
        return self._purse

    @property
    def drawn(self) -> Work | None:
        """Everything drawn and not given back; ``None`` if nothing ever was."""
        return self._drawn

    async def draw(self, work: Work) -> None:
        """Spend what the work costs. As `Purse.draw`."""
        self._require_open()
        held = self._drawn or Work()
        await self._purse.draw(work, held)
        if self._is_over:  # somebody else's work, which the response did not wait for
            await self._purse.put_back(work)
        self._require_open()
        self._drawn = (self._drawn or Work()) + work

    async def receipt(self) -> str:
        """What the response has cost: a ``Payment-Receipt`` field value."""
        return await self._purse.receipt(self._drawn or Work())

    def _require_open(self) -> None:
        if self._is_over:
            raise MeteringError("a meter runs until its response has left, and this one has")

    async def put_back(self, work: Work) -> None:
        """Give back what was drawn and not handed out."""
        if work.units and not self._is_over and self._drawn is not None:
            self._drawn -= work
            await self._purse.put_back(work)

    def keep(self, work: Work) -> None:
        """What was drawn for this work was earned, whatever becomes of the response."""
        self._kept += work

    def yielded(self, frame: bytes, work: Work) -> bytes:
        """The work is about to be handed out, as this very part of the response."""
        if self._yielded is None:
            self._yielded = deque()
        self._yielded.append((frame, work))
        return frame

    def handed_over(self, body: bytes) -> None:
        """A part of the response went into a connection that was open. If it is none that was
        `yielded`, but made of such by something in between, all of them are in it."""
        waiting = self._yielded
        if not waiting:
            return
        is_known = any(frame is body for frame, _ in waiting)
        while waiting:
            frame, work = waiting.popleft()
            self.keep(work)
            if is_known and frame is body:
                return

    def end(self, *, begun: bool, whole: bool) -> Work:
        """The response is over; what was drawn and not earned is for the caller to give back. Once
        it has ended, nothing is.

        Args:
            begun: the payer got a part of it.
            whole: the payer got it all.
        """
        was_over, self._is_over = self._is_over, True
        drawn = self._drawn
        if was_over or whole or drawn is None:
            return Work()
        return drawn - self._kept if begun else drawn


class Reservation:
    """Work that was paid for and not done yet."""

    def __init__(self, meter: Meter, units: int) -> None:
        self._meter = meter
        self._units: int | None = units

    @property
    def units(self) -> int:
        """What can be committed; 0 afterwards."""
        return self._units or 0

    async def commit(self, units: int | None = None) -> None:
        """Charge for so much of it and give the rest back. Ends the reservation.

        Args:
            units: what was delivered; ``None``: all of it.

        Raises:
            TypeError: units is no whole number.
            ValueError: that is more than was reserved, or negative.
            RuntimeError: it has ended before.
        """
        reserved = self._units
        if reserved is None:
            raise RuntimeError("a reservation is committed once")
        used = reserved if units is None else _whole(units)
        if not 0 <= used <= reserved:
            raise ValueError(f"{reserved} units are reserved, so {used} cannot be committed")
        self._units = None
        self._meter.tab.keep(self._meter.work(used))
        await self._meter.tab.put_back(self._meter.work(reserved - used))

    async def __aenter__(self) -> Reservation:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._units is not None:
            await self.commit(self._units if kind is None else 0)


class Meter:
    """Sells work by the unit, out of what the payer has signed for."""

    def __init__(self, tab: Tab, unit_price: Decimal | str | int) -> None:
        """
        Args:
            tab: of the response.
            unit_price: whole tokens of the payment's currency, exact to the base unit.

        Raises:
            PriceError: it is no price, or has more digits than the currency.
        """
        if isinstance(unit_price, Price):
            raise PriceError("a meter counts in the currency of the payment: write only the amount")
        self.tab = tab
        self._unit_cost = Price(unit_price).base_units(tab.purse.decimals)

    def work(self, units: int) -> Work:
        """So many units, and what they cost."""
        return Work(units, units * self._unit_cost)

    async def reserve(self, units: int = 1) -> Reservation:
        """Have so much work paid for, before it is done.

        Use it as a context: what is not committed is charged at its end, and given back if an error
        ends it::

            async with await meter.reserve(500) as reserved:
                answer = await model.ask(question, most_tokens=500)
                await reserved.commit(answer.tokens)

        Raises:
            HeadroomError: the payer has to sign for more first.
            SessionOverError: the payer's session is closed.
            StoreUnavailableError: it could not be recorded; nothing was spent.
            TypeError: units is no whole number.
            ValueError: units is not positive.
        """
        units = _whole(units)
        if units < 1:
            raise ValueError(f"units is positive, not {units}")
        await self.tab.draw(self.work(units))
        return Reservation(self, units)

    def stream(
        self, source: AsyncIterable[Any], *, units: int | Callable[[Any], int] = 1
    ) -> AsyncIterator[bytes]:
        """Sell what a source gives, item by item, as server-sent events::

            return StreamingResponse(meter.stream(tokens), media_type="text/event-stream")

        Each item is paid for when the source has given it and before it leaves. When the payer's
        word is used up, the stream asks for more in-band (``payment-need-voucher``), waits for it
        for a minute, and goes on or ends. The last event is the receipt (``payment-receipt``).

        Args:
            source: of texts, of what becomes JSON, or of `Event`. It is closed with the stream.
            units: what an item is, or a function of it that says so: a whole number, 0 for what is
                free.

        Raises:
            TypeError: the source is none of an async kind.
        """
        if not hasattr(source, "__aiter__"):
            raise TypeError(
                f"a stream is sold from an async iterator, not from a {type(source).__name__}: "
                "make it of an async function with yield, or have starlette.concurrency."
                "iterate_in_threadpool() make one"
            )
        count = units if callable(units) else lambda _: units
        return _stream(self, source, count)


async def _stream(
    meter: Meter, source: AsyncIterable[Any], count: Callable[[Any], int]
) -> AsyncIterator[bytes]:
    tab = meter.tab
    items = aiter(source)
    try:
        async for item in items:
            frame = event_of(item).frame()
            work = meter.work(_counted(item, count))
            try:
                async for asked in _pay(tab, work):
                    yield tab.yielded(asked, Work())
            except MeterError:
                break
            yield tab.yielded(frame, work)
            if tab.is_cut_off:
                break
        if tab.is_cut_off:
            tab.is_broken_off = True
            return
        receipt = decode_object(await tab.receipt(), name="receipt", part="receipt")
        yield tab.yielded(payment_frame("receipt", receipt), Work())
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def _counted(item: Any, count: Callable[[Any], int]) -> int:
    units = _whole(count(item))
    if units < 0:
        raise ValueError(f"an item is 0 units or more, not {units}")
    return units


def _whole(units: object) -> int:
    """The number of units, whatever kind of integer it is written as."""
    try:
        return int(operator.index(units))  # type: ignore[arg-type] # whether it is one is the question
    except TypeError:
        raise TypeError(
            f"units are whole numbers, and {units!r} is none: round it, or sell smaller units"
        ) from None


async def _pay(tab: Tab, work: Work) -> AsyncIterator[bytes]:
    """Draw what the work costs, and say meanwhile what the payer has to do.

    Raises:
        MeterError: the payer does nothing, or can do nothing any more.
    """
    while work.units:
        try:
            await tab.draw(work)
        except HeadroomError as short:
            yield payment_frame("need-voucher", short.shortage)
            if tab.is_cut_off or not await tab.purse.wait_for(work):
                raise
        else:
            return
