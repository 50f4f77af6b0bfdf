"""Which priced route would take a request: known early, so that unpaid requests cost little.

Routing decides once, and it is the application's own router that decides: a decorated endpoint
insists on its payment itself, whatever brought the request there (see `endpoints`). This table only
*foresees* that decision, by asking the very same route objects, so that an unpaid request is
answered before any of the application runs. Where it cannot see (an unknown kind of route, a
rewriting middleware further in) it says so with ``None``, and the endpoint's insistence decides.

Prices by path, for routes that cannot be decorated, are decided here alone (see `path_prices`).
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starlette.routing import (
    BaseRoute,
    Host,
    Match,
    Mount,
    Route,
    WebSocketRoute,
)
from starlette.staticfiles import StaticFiles

from mpp_asgi.endpoints import tariff_of, tariffs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from starlette.types import Scope

    from mpp_asgi.path_prices import PathPrices
    from mpp_asgi.pricing import Tariff

_Key = tuple[str | None, str]
"""Method (none: a WebSocket's handshake) and path of a request."""

_GROUP_NAME = re.compile(r"\(\?P<\w+>")
_NEIGHBOURS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_MOST_NESTING = 32
_MOST_REMEMBERED = 4096
_LONGEST_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class PricedRoute:
    """A route that costs something."""

    tariff: Tariff
    path: str
    insists: bool
    """Whether the endpoint asks for its payment itself; a route priced by path cannot."""
    authenticates: bool = False
    """Whether it has its own authentication, which runs first: 401 before 402."""
    header: str | None = None
    """The credential header, where the route needs ``Authorization`` for itself."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The priced route that would take a request, and what the path says."""

    route: PricedRoute
    path_params: Mapping[str, Any]
    stands_in: bool = False
    """It takes another method of the same path: here it can be managed, not paid for."""
    is_routed: bool = True
    """Otherwise no route takes the request: it costs something if it is answered all the same."""
    is_certain: bool = True
    """As `Found.is_certain`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A route, wherever it is mounted."""

    path: str
    methods: frozenset[str] | None
    """``None`` for a class of handlers, and for a WebSocket."""
    endpoint: object


class _Hidden:
    """The router of an application that does not let it be seen."""

    routes: Sequence[BaseRoute] = ()


_HIDDEN = _Hidden()


class RouteTable:
    """Foresees which priced route takes a request.

    Args:
        path_prices: prices by path.
        governs: whether the middleware this table belongs to is the one for a sub-application.
    """

    def __init__(self, path_prices: PathPrices, governs: Callable[[object], bool]) -> None:
        self._path_prices = path_prices
        self._priced_by_path = {
            entry: PricedRoute(entry.tariff, entry.path, insists=False)
            for entry in path_prices
            if entry.tariff is not None
        }
        self._governs = governs
        self._router: Any = _HIDDEN
        self._routes: Sequence[BaseRoute] = ()
        self._seen = 0
        self._may_cost: re.Pattern[str] | None = None
        self._described: dict[tuple[int, Tariff], PricedRoute] = {}
        self._remembered: dict[_Key, Foreseen | None] = {}
        self._by_path_alone = False
        self.sees_all = False
        """Whether every endpoint is among the routes, so far as is known: then what is not foreseen
        is free, unless something further in rewrites requests."""

    def look_at(self, *apps: object) -> None:
        """Take the routes of the first of these applications that lets them be seen."""
        self._router = next((router for app in apps if (router := _router_of(app))), _HIDDEN)
        self._read()
        self.sees_all = self._router is not _HIDDEN and self._all_seen(self._routes, 0)

    def find(self, scope: Scope) -> Foreseen | None:
        """The priced route that would take the request, or ``None`` if none is foreseen."""
        routes = self._routes
        if self._router.routes is not routes or len(routes) != self._seen:
            self._read()
        path = route_path(scope) if scope.get("root_path") else scope["path"]
        key = (scope.get("method"), path)
        try:
            found = self._remembered[key]
        except KeyError:
            found = self._foreseen(key, scope)
        if found is None and self._priced_by_path:
            return self._by_path(scope)
        return found

    def find_neighbour(self, scope: Scope) -> Foreseen | None:
        """For a HEAD request that no priced route takes: one that takes another method of the same
        path, so that its payers can manage their sessions. (Many frameworks answer HEAD only where
        they are told to.)"""
        for method in _NEIGHBOURS:
            found = self.find({**scope, "method": method})
            if found is not None and found.is_routed:
                return replace(found, stands_in=True)
        return None

    def priced_routes(self) -> Iterator[PricedRoute]:
        """Every priced route that can be seen, for checks at the start and for discovery."""
        for _, endpoint, described in self._walk(self._routes, "", 0):
            for tariff in tariffs_of(endpoint):
                yield self._describe(described, tariff)
        yield from self._priced_by_path.values()

    def operations(self) -> Iterator[tuple[str, str, Tariff]]:
        """Path, method and tariff of every priced operation of the application itself, as its
        OpenAPI calls them."""
        for route in self._routes:
            if isinstance(route, (Mount, Host)):
                continue  # what is mounted describes itself
            for endpoint, _, described in _leaves(route):
                path = str(getattr(described, "path_format", ""))
                for method in getattr(described, "methods", None) or ():
                    tariff = tariff_of(endpoint, method)
                    by_path = self._path_prices.find(method, path) if tariff is None else None
                    tariff = tariff or (by_path and by_path.tariff)
                    if tariff is not None:
                        yield path, method, tariff

    def places(self) -> Iterator[Place]:
        """Every route that can be seen."""
        yield from _places(self._routes, "", self._governs, 0)

    def takes(self, http_method: str, path: str) -> bool:
        """Whether a route takes such a request, as far as can be seen."""
        address = {"method": http_method, "path": path, "root_path": "", "headers": []}
        return self._takes({"type": "http", **address})

    def _read(self) -> None:
        self._routes = self._router.routes
        self._seen = len(self._routes)
        self._described.clear()
        self._remembered.clear()
        self._by_path_alone = all(_matches_by_path_alone(route) for route in self._routes)
        patterns = {
            pattern
            for pattern, endpoint, _ in self._walk(self._routes, "", 0)
            if any(tariffs_of(endpoint))
        }
        self._may_cost = re.compile("|".join(sorted(patterns))) if patterns else None

    def _all_seen(self, routes: Iterable[BaseRoute], depth: int) -> bool:
        return depth <= _MOST_NESTING and all(self._is_seen(route, depth) for route in routes)

    def _is_seen(self, route: BaseRoute, depth: int) -> bool:
        if not isinstance(route, (Mount, Host)):
            return any(True for _ in _leaves(route))
        if isinstance(route.app, StaticFiles) or not self._governs(route.app):
            return True
        below = _router_of(route.app)
        return below is not None and self._all_seen(below.routes, depth + 1)

    def _walk(
        self, routes: Iterable[BaseRoute], prefix: str, depth: int
    ) -> Iterator[tuple[str, object, object]]:
        """Every endpoint under ``routes``: a pattern that covers its whole path, the endpoint, and
        what describes it."""
        if depth > _MOST_NESTING:
            return
        for route in routes:
            if isinstance(route, (Mount, Host)):
                below = _router_of(route.app)
                if below is not None and self._governs(route.app):
                    yield from self._walk(below.routes, prefix + _mount_pattern(route), depth + 1)
                continue
            for endpoint, pattern, described in _leaves(route):
                yield prefix + _bare(pattern), endpoint, described

    def _foreseen(self, key: _Key, scope: Scope) -> Foreseen | None:
        """What `_foresee` finds, kept for the next time if it depends on the key alone."""
        path = key[1]
        if self._may_cost is None or not self._may_cost.match(path):
            found = None
        else:
            found = self._foresee(self._routes, dict(scope), 0)
        if self._by_path_alone and len(path) <= _LONGEST_REMEMBERED:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = found
        return found

    def _foresee(
        self, routes: Iterable[BaseRoute], scope: dict[str, Any], depth: int
    ) -> Foreseen | None:
        """Do as the router does: the first full match takes the request."""
        path = route_path(scope)
        for route in routes:
            if _surely_misses(route, path):
                continue
            match, child_scope = route.matches(scope)
            if match is not Match.FULL:
                continue
            scope.update(child_scope)
            if isinstance(route, (Mount, Host)):
                below = _router_of(route.app)
                if below is None or depth > _MOST_NESTING or not self._governs(route.app):
                    return None
                return self._foresee(below.routes, scope, depth + 1)
            endpoint, described = _chosen(route, scope)
            tariff = tariff_of(endpoint, scope.get("method"))
            if tariff is None:
                return None
            return Foreseen(self._describe(described, tariff), scope.get("path_params", {}))
        return None

    def _describe(self, route: object, tariff: Tariff) -> PricedRoute:
        key = (id(route), tariff)
        described = self._described.get(key)
        if described is None:
            authenticates, takes_authorization = _own_authentication(route)
            described = self._described[key] = PricedRoute(
                tariff,
                str(getattr(route, "path", "")),
                insists=True,
                authenticates=authenticates,
                header="Payment-Authorization" if takes_authorization else None,
            )
        return described

    def _by_path(self, scope: Scope) -> Foreseen | None:
        found = self._path_prices.find(scope.get("method", "GET"), route_path(scope))
        if found is None:
            return None
        return Foreseen(
            self._priced_by_path[found.entry],
            found.params,
            is_routed=self._takes(scope),
            is_certain=found.is_certain,
        )

    def _takes(self, scope: Scope) -> bool:
        """Whether a route takes the request. What is redirected, not found or not allowed costs
        nothing, unless middleware answers it."""
        return self._router is _HIDDEN or self._is_taken(self._router, dict(scope), 0)

    def _is_taken(self, router: Any, scope: dict[str, Any], depth: int) -> bool:
        is_allowed = True
        for route in router.routes:
            match, child_scope = route.matches(dict(scope))
            if match is Match.FULL:
                below = _router_of(route.app) if isinstance(route, (Mount, Host)) else None
                if below is None or depth > _MOST_NESTING or not self._governs(route.app):
                    return True
                return self._is_taken(below, {**scope, **child_scope}, depth + 1)
            is_allowed = is_allowed and match is Match.NONE
        if not is_allowed or not _has_last_resort(router):
            return False
        path = scope["path"]
        other = {**scope, "path": path.rstrip("/") if path.endswith("/") else path + "/"}
        return not any(route.matches(dict(other))[0] is Match.FULL for route in router.routes)


def _places(
    routes: Iterable[BaseRoute], mounted: str, governs: Callable[[object], bool], depth: int
) -> Iterator[Place]:
    for route in routes if depth <= _MOST_NESTING else ():
        if isinstance(route, (Mount, Host)):
            below = _router_of(route.app)
            if below is not None and governs(route.app):
                path = mounted + getattr(route, "path", "")
                yield from _places(below.routes, path, governs, depth + 1)
            continue
        for endpoint, _, described in _leaves(route):
            methods = getattr(described, "methods", None)
            path = mounted + str(getattr(described, "path", ""))
            yield Place(path, None if methods is None else frozenset(methods), endpoint)


def route_path(scope: Scope) -> str:
    """The path as the application's router sees it: without the root path it is served under."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


def _matches_by_path_alone(route: object) -> bool:
    """Whether method and path settle who takes a request: so for routes whose class is known."""
    candidates = getattr(route, "effective_candidates", None)
    if callable(candidates):
        return all(
            _matches_by_path_alone(
                getattr(each, "starlette_route", None) or getattr(each, "original_route", each)
            )
            for each in candidates()
        )
    return type(route) in (Route, WebSocketRoute) or type(route).__module__ == "fastapi.routing"


def _surely_misses(route: BaseRoute, path: str) -> bool:
    """Whether the route's own pattern rules it out, which is cheaper to ask than the route."""
    pattern = getattr(route, "path_regex", None)
    return pattern is not None and pattern.match(path) is None


def _mount_pattern(route: Mount | Host) -> str:
    """What a path under a mount begins with; under a host, anything."""
    if isinstance(route, Host):
        return ""
    return _bare(route.path_regex.pattern.removesuffix("/(?P<path>.*)$"))


def _bare(pattern: str) -> str:
    return _GROUP_NAME.sub("(?:", pattern).removeprefix("^")


def _router_of(app: object) -> Any:
    """The router of an application, through the middleware around it; ``None`` if some hides it."""
    for _ in range(_MOST_NESTING):
        router = getattr(app, "router", app)
        if isinstance(getattr(router, "routes", None), list):
            return router
        app = getattr(app, "app", None)
        if app is None:
            return None
    return None


def _has_last_resort(router: Any) -> bool:
    """Whether the router passes on what none of its routes takes: to an application of the user's,
    or to the files of a FastAPI "frontend"."""
    if getattr(router, "default", None) != getattr(router, "not_found", None):
        return True
    files = getattr(router, "_iter_low_priority_routes", None)
    return callable(files) and any(True for _ in files())


# FastAPI nests included routers: such a route stands for many, and knows them as "candidates",
# which are route-like or nested again. Nothing else of FastAPI's inside is relied on, and without
# it the endpoints' own insistence decides, later and slower but alike.


def _leaves(route: object) -> Iterator[tuple[object, str, object]]:
    """Endpoint, path pattern and descriptive object of every leaf under one route."""
    candidates = getattr(route, "effective_candidates", None)
    if callable(candidates):
        for candidate in candidates():
            yield from _leaves(candidate)
        return
    leaf = getattr(route, "starlette_route", None) or route
    endpoint, regex = getattr(leaf, "endpoint", None), getattr(leaf, "path_regex", None)
    if endpoint is not None and isinstance(regex, re.Pattern):
        yield endpoint, regex.pattern, leaf


def _chosen(route: object, scope: dict[str, Any]) -> tuple[object, object]:
    """The endpoint that a matching route would call, and the object that describes it."""
    select = getattr(route, "_match", None)
    if callable(getattr(route, "effective_candidates", None)) and callable(select):
        match, inner_scope, inner, context = select(scope)
        if match is not Match.FULL:
            return None, route
        scope.update(inner_scope)
        if context is None:
            return (None, route) if inner is None else _chosen(inner, scope)
        return scope.get("endpoint"), getattr(context, "starlette_route", None) or context
    return scope.get("endpoint"), route


def _own_authentication(route: object) -> tuple[bool, bool]:
    """Whether the route declares security of its own, and whether that reads Authorization."""
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return False, False
    # FastAPI is optional; a route with a dependant is one of its own.
    from fastapi.security import APIKeyCookie, APIKeyHeader, APIKeyQuery  # noqa: PLC0415
    from fastapi.security.base import SecurityBase  # noqa: PLC0415

    schemes = [call for call in _calls(dependant) if isinstance(call, SecurityBase)]
    takes_authorization = any(
        not isinstance(scheme, (APIKeyCookie, APIKeyHeader, APIKeyQuery))
        or (
            isinstance(scheme, APIKeyHeader)
            and str(getattr(scheme.model, "name", "")).lower() == "authorization"
        )
        for scheme in schemes
    )
    return bool(schemes), takes_authorization


def _calls(dependant: Any) -> Iterator[object]:
    if dependant.call is not None:
        yield inspect.unwrap(dependant.call)
    for dependency in dependant.dependencies:
        yield from _calls(dependency)
