"""Endpoints that have a price: the `price` decorator, what it leaves there, and how they insist.

The decorator does two things. It writes the price on the endpoint, where the middleware reads it
to answer unpaid requests early. And it makes the endpoint *insist*: when a request reaches the
function, the function asks the visit that brought it whether it was paid. So whatever stands
between the middleware and the router, a priced endpoint never runs unpaid, and the application's
own authentication and validation run before any money moves.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import to_thread

from mpp_asgi.presence import current_visit, inside, note_free_call
from mpp_asgi.pricing import PriceError, Tariff, tariff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.payment import Payment
    from mpp_asgi.presence import Included, Visit
    from mpp_asgi.pricing import Amount, DynamicPrice, Settle

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
"""What a class of handlers may handle."""
_TARIFF = "__mpp_tariff__"
_PRICED_ELSEWHERE = "__mpp_priced_elsewhere__"
_DECORATES = "__mpp_decorates__"


def price(
    *amounts: Amount | DynamicPrice,
    currency: str | None = None,
    settle: Settle = "before",
    description: str | None = None,
    vary: Sequence[str] = (),
    intents: Sequence[str] | None = None,
) -> Callable[[Endpoint], Endpoint]:
    """Give an endpoint a price. Stands below the route decorator::

        @app.get("/forecast/{city}")
        @price("0.01")
        async def forecast(city: str): ...

    It may be a plain function; code that calls it on an event loop then has to await it, since it
    may have to wait for its payment. In a thread it finds its request by the context, which
    ``asyncio.to_thread`` and anyio's hand on; ``run_in_executor`` does not, and runs it as outside
    of any request, unpaid: give that ``contextvars.copy_context().run`` to call it with.

    Args:
        amounts: a decimal string, ``Decimal``, ``int`` or `Price`; several are alternatives in
            several currencies. Or one callable of the request, sync or async, that returns any of
            these (it may read the body; the endpoint still gets it) or ``Price.free()``.
        currency: of the amounts that name none; default: the middleware's.
        settle: ``"before"`` the endpoint runs (after the application's own authentication and
            validation), or ``"after"`` it succeeded: its response is then held back until the
            payment is final. ``"after"`` is for endpoints without side effects.
        description: shown to the payer.
        vary: request headers that a dynamic price reads. A price sees what the challenge binds:
            method, path, query, body and these headers, no others.
        intents: which of the ways to pay that are configured are offered here; default: all.
            Whatever is metered (`Payment.meter`) has to be ``["session"]``.

    Raises:
        PriceError: an argument is no price.
    """
    mark = tariff(
        *amounts,
        currency=currency,
        settle=settle,
        description=description,
        vary=vary,
        intents=intents,
    )

    def decorate(endpoint: Endpoint) -> Endpoint:
        if _TARIFF in getattr(endpoint, "__dict__", {}):
            name = getattr(endpoint, "__name__", "it")
            raise PriceError(f"{name} has a price already; give one @price several amounts")
        guarded: Endpoint = _guarded(endpoint, mark)
        setattr(guarded, _TARIFF, mark)
        mark.name_after(endpoint)
        with suppress(AttributeError):  # bound methods take no notes
            setattr(endpoint, _PRICED_ELSEWHERE, weakref.ref(guarded))
        return guarded

    setattr(decorate, _DECORATES, True)
    return decorate


def is_bare_price(endpoint: object) -> bool:
    """Whether this is what is left of an endpoint by ``@price`` without parentheses, which takes it
    for a price function where it takes a request."""
    return _DECORATES in getattr(endpoint, "__dict__", {})


def is_priced_elsewhere(endpoint: object) -> bool:
    """Whether this is the plain function of a priced endpoint."""
    notes: dict[str, object] = getattr(endpoint, "__dict__", {})
    return _PRICED_ELSEWHERE in notes and _TARIFF not in notes


def is_priced_by_name(endpoint: object) -> bool | None:
    """Whether the name of this plain function means the priced endpoint: then the decorators stand
    in the wrong order, and a route that has this one is free by mistake. So is one whose priced
    endpoint nobody has kept. ``None`` if its name cannot be looked up."""
    names = str(getattr(endpoint, "__qualname__", "<locals>")).split(".")
    if "<locals>" in names:
        priced = getattr(endpoint, "__dict__", {}).get(_PRICED_ELSEWHERE)
        return True if priced is not None and priced() is None else None
    found: object = sys.modules.get(getattr(endpoint, "__module__", ""))
    for name in names:
        found = getattr(found, name, None)
    return _TARIFF in getattr(found, "__dict__", {})


def tariff_of(endpoint: object, http_method: str | None) -> Tariff | None:
    """The tariff written on an endpoint; for a class of handlers, on the handler of the method or
    else on the class, as far as it handles the method at all.

    Args:
        endpoint: what a route calls.
        http_method: ``None`` for a WebSocket's handshake, which has none: a class for WebSockets
            may call its own helpers as it likes.
    """
    found = getattr(endpoint, _TARIFF, None)
    if http_method is not None and inspect.isclass(endpoint):
        handler = getattr(endpoint, http_method.lower(), None)
        if handler is None and http_method == "HEAD":
            handler = getattr(endpoint, "get", None)
        if handler is not None:
            found = getattr(handler, _TARIFF, found)
        elif any(hasattr(endpoint, method.lower()) for method in METHODS):
            return None  # it answers 405
    return found if isinstance(found, Tariff) else None


def tariffs_of(endpoint: object) -> Iterator[Tariff]:
    """Every tariff of an endpoint: of a class of handlers there may be several."""
    seen = set()
    for method in METHODS:
        tariff = tariff_of(endpoint, method)
        if tariff is not None and tariff not in seen:
            seen.add(tariff)
            yield tariff


class PaymentDue:
    """Stands for the payment until it is made, which is when the endpoint is called. A dependency
    may hand it on to the endpoint, but not read it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)

    def __bool__(self) -> bool:
        return bool(self._made())

    def _made(self) -> Payment:
        visit = current_visit()
        if visit is None or visit.payment is None:
            raise RuntimeError(
                "the payment is made after dependencies and validation ran, right before the "
                "endpoint: read it in the endpoint, not in a dependency"
            )
        return visit.payment


PAYMENT_DUE = PaymentDue()


async def _insist(mark: Tariff, endpoint: Any, kwargs: dict[str, Any]) -> Included | None:
    visit = current_visit()
    if visit is None:
        note_free_call(endpoint)
        return None
    included = await visit.insist(mark)
    _hand_over(visit, kwargs)
    return included


def _insist_from_thread(mark: Tariff, endpoint: Any, kwargs: dict[str, Any]) -> Included | None:
    visit = current_visit()
    if visit is None:
        note_free_call(endpoint)
        return None
    included = None if visit.enter(mark) else visit.insist_from_thread(mark)
    _hand_over(visit, kwargs)
    return included


def _hand_over(visit: Visit, kwargs: dict[str, Any]) -> None:
    for name, value in kwargs.items():
        if value is PAYMENT_DUE:
            kwargs[name] = visit.payment


def _guarded(endpoint: Any, mark: Tariff) -> Any:
    """The endpoint, of the same signature, insisting on its payment.

    Called outside a request, as tests and other code do, it is the plain function.
    """
    if inspect.isclass(endpoint):
        return _guarded_class(endpoint, mark)
    plain = endpoint
    while isinstance(plain, functools.partial):
        plain = plain.func
    if not inspect.isroutine(plain):
        raise PriceError(
            f"@price goes on a function or an endpoint class, not on {endpoint!r}; "
            "price this route by path: PaymentMiddleware(prices={'GET /path': '0.01'})"
        )
    guarded = functools.wraps(endpoint)(_guard_for(plain)(endpoint, mark))
    # Older FastAPIs look names up where the wrapper was written. What cannot be evaluated may fail
    # in any way, being code, and is the framework's to complain about, if it needs it.
    with suppress(Exception):
        guarded.__signature__ = inspect.signature(endpoint, eval_str=True)  # type: ignore[attr-defined]
    return guarded


def _guard_for(plain: Any) -> Callable[[Any, Tariff], Any]:
    for function in (plain, inspect.unwrap(plain)):  # FastAPI too looks through wrappers
        if inspect.iscoroutinefunction(function):
            return _guarded_coroutine
        if inspect.isasyncgenfunction(function):
            return _guarded_stream
        if inspect.isgeneratorfunction(function):
            return _guarded_generator
    return _guarded_function


def _guarded_coroutine(endpoint: Any, mark: Tariff) -> Any:
    async def call(*args: Any, **kwargs: Any) -> Any:
        visit = current_visit()
        if visit is None:
            note_free_call(endpoint)
        else:
            included = await visit.insist(mark)
            _hand_over(visit, kwargs)
            if included is not None:
                with inside(included):
                    return await endpoint(*args, **kwargs)
        return await endpoint(*args, **kwargs)

    return call


def _guarded_function(endpoint: Any, mark: Tariff) -> Any:
    """Frameworks run a plain function in a thread, of which there are few. None of them may wait
    for money, so the frameworks are told to await this one, and only the endpoint gets a thread."""

    async def wait_and_call(*args: Any, **kwargs: Any) -> Any:
        included = await _insist(mark, endpoint, kwargs)
        with nullcontext() if included is None else inside(included):
            return await to_thread.run_sync(functools.partial(endpoint, *args, **kwargs))

    def call(*args: Any, **kwargs: Any) -> Any:
        if _is_on_event_loop():
            return wait_and_call(*args, **kwargs)
        included = _insist_from_thread(mark, endpoint, kwargs)
        with nullcontext() if included is None else inside(included):
            return endpoint(*args, **kwargs)

    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(call)
    else:
        call._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined] # noqa: SLF001 # its precursor
    return call


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _guarded_stream(endpoint: Any, mark: Tariff) -> Any:
    async def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        included = await _insist(mark, endpoint, kwargs)
        async with aclosing(endpoint(*args, **kwargs)) as items:
            async for item in items if included is None else _Inside(included, items):
                yield item

    def call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        _expect(mark, endpoint)
        return stream(*args, **kwargs)

    return call


def _guarded_generator(endpoint: Any, mark: Tariff) -> Any:
    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        included = _insist_from_thread(mark, endpoint, kwargs)
        items = endpoint(*args, **kwargs)
        yield from items if included is None else _Inside(included, items)

    def call(*args: Any, **kwargs: Any) -> Iterator[Any]:
        _expect(mark, endpoint)
        return stream(*args, **kwargs)

    return call


class _Inside:
    """The items of a stream, each made inside the call that was paid for: between them runs who
    asks for them, in the same context."""

    def __init__(self, included: Included, items: Any) -> None:
        self._included = included
        self._items = items

    def __aiter__(self) -> _Inside:
        return self

    async def __anext__(self) -> Any:
        with inside(self._included):
            return await anext(self._items)

    def __iter__(self) -> _Inside:
        return self

    def __next__(self) -> Any:
        with inside(self._included):
            return next(self._items)


def _expect(mark: Tariff, endpoint: Any) -> None:
    visit = current_visit()
    if visit is None:
        note_free_call(endpoint)
    else:
        visit.expect(mark)


def _guarded_class(endpoint: Any, mark: Tariff) -> Any:
    dispatch = getattr(endpoint, "dispatch", None)
    if dispatch is None:
        raise PriceError(f"{endpoint.__name__} has no dispatch(); put @price on its methods")

    @functools.wraps(dispatch)
    async def insisting(self: Any) -> None:
        if tariff_of(type(self), self.scope.get("method")) is mark:
            included = await _insist(mark, endpoint, {})
            if included is not None:
                with inside(included):
                    await dispatch(self)
                return
        await dispatch(self)

    endpoint.dispatch = insisting
    return endpoint
