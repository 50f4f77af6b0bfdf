"""What an app sells: each route that costs something, its price, and the ways to pay it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mpp_asgi.cli.check import Check
from mpp_asgi.config import ConfigError
from mpp_asgi.endpoints import METHODS, tariff_of
from mpp_asgi.methods import ways_to_pay
from mpp_asgi.middleware import PaymentMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mpp_asgi.config import Settings
    from mpp_asgi.path_prices import PathPrice
    from mpp_asgi.pricing import Tariff
    from mpp_asgi.routes import Place, RouteTable

_PARAMETER = re.compile(r"\{\w+(?::(?P<kind>\w+))?\}")
_SAMPLES = {"int": "1", "float": "1.0", "uuid": "00000000-0000-4000-8000-000000000000"}


def price_checks(app: Any, options: Mapping[str, Any], settings: Settings) -> Iterator[Check]:
    """A line for each price, and for what looks like a mistake.

    Args:
        app: the application.
        options: of its middleware.
        settings: what they and the environment say.
    """
    middleware = PaymentMiddleware(app, **options)
    try:
        routes = middleware.routes_of(app)
    except ConfigError as error:
        yield Check("price", good=False, text=str(error))
        return
    own = any(callable(each) for each in options.get("intents") or ())
    ways = () if own else ways_to_pay(settings)
    is_free = True
    for name, tariff in (*_decorated(routes), *_by_path(middleware)):
        is_free = False
        yield _price_check(name, tariff, ways, settings.currency)
    for entry in middleware.path_prices:
        if not _is_reached(entry, routes):
            is_free = False
            text = f"prices={{{_key(entry)!r}: ...}} is for no route of the app: is it right?"
            yield Check("price", good=True, is_odd=True, text=text)
    if is_free:
        text = "nothing costs anything: put @price on an endpoint, or a path into prices="
        yield Check("price", good=True, is_odd=True, text=text)


def _decorated(routes: RouteTable) -> Iterator[tuple[str, Tariff]]:
    for place in routes.places():
        for method in METHODS if place.methods is None else sorted(place.methods):
            tariff = tariff_of(place.endpoint, method)
            if tariff is None or (method == "HEAD" and tariff_of(place.endpoint, "GET") is tariff):
                continue
            if place.methods is None and not hasattr(place.endpoint, method.lower()):
                yield f"WebSocket {place.path}", tariff
                break
            yield f"{method} {place.path}", tariff


def _by_path(middleware: PaymentMiddleware) -> Iterator[tuple[str, Tariff]]:
    for entry in middleware.path_prices:
        if entry.tariff is not None:
            yield _key(entry), entry.tariff


def _price_check(name: str, tariff: Tariff, ways: tuple[str, ...], currency: str) -> Check:
    if tariff.quote is not None:
        cost = f"a price by {getattr(tariff.quote, '__name__', 'a function')}()"
    else:
        cost = " or ".join(f"{each.amount:f} {each.currency or currency}" for each in tariff.prices)
    if not ways:
        return Check("price", good=True, text=f"{name} costs {cost}, by a way of the app's own")
    open_ways = [way for way in ways if tariff.intents is None or way in tariff.intents]
    if not open_ways:
        wanted = " or ".join(sorted(tariff.intents or ()))
        text = f"{name} costs {cost}, by {wanted} only, and configured is {', '.join(ways)}."
        return Check("price", good=False, text=text)
    after = ", after it succeeded" if tariff.settle == "after" else ""
    return Check(
        "price", good=True, text=f"{name} costs {cost}, by {' or '.join(open_ways)}{after}"
    )


def _key(entry: PathPrice) -> str:
    return f"{entry.method} {entry.path}" if entry.method else entry.path


def _is_reached(entry: PathPrice, routes: RouteTable) -> bool:
    """Whether some request is both the entry's and a route's."""
    path = _sample(entry.path)
    if any(entry.covers(method) and routes.takes(method, path) for method in METHODS):
        return True
    return any(_reaches(entry, place) for place in routes.places())


def _reaches(entry: PathPrice, place: Place) -> bool:
    methods = METHODS if place.methods is None else place.methods
    covered = any(entry.covers(method) for method in methods)
    return covered and entry.params(_sample(place.path)) is not None


def _sample(path: str) -> str:
    """A path of that form."""
    return _PARAMETER.sub(lambda found: _SAMPLES.get(found["kind"] or "", "x"), path)
