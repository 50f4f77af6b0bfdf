"""PaymentMiddleware: HTTP in, HTTP out, nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from mpp_asgi.asked import Asked, is_local
from mpp_asgi.body import is_plain_get
from mpp_asgi.config import INTENTS, ConfigError, EmbeddedNetwork, Settings, read_settings
from mpp_asgi.endpoints import is_bare_price, is_priced_by_name, is_priced_elsewhere
from mpp_asgi.handshake import Handshake
from mpp_asgi.house import House, open_house
from mpp_asgi.methods import World
from mpp_asgi.openapi import tell_prices
from mpp_asgi.passage import Passage, UnforeseenPriceError
from mpp_asgi.path_prices import PathPrice, PathPrices, path_price
from mpp_asgi.presence import present
from mpp_asgi.pricing import PriceError, Tariff, tariff
from mpp_asgi.routes import RouteTable
from mpp_asgi.toll import quick_demand
from mpp_asgi.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.intents import Intent
    from mpp_asgi.pricing import Amount, DynamicPrice
    from mpp_asgi.routes import Foreseen, PricedRoute
    from mpp_asgi.toll import ChannelOf

log = logging.getLogger("mpp_asgi")

_VISITS = {"http": Visit, "websocket": Handshake}

SANDBOX_PATH = "/.mpp/sandbox"
"""Where an embedded sandbox answers RPC calls and its faucet, to clients on this machine."""


class PaymentMiddleware:
    """Turns an application into a paid one::

        app.add_middleware(PaymentMiddleware, network="sandbox")

    What costs something is said by `price` on endpoints, or by path in ``prices``.

    Args:
        app: the application; given by ``add_middleware``.
        prices: prices by path, for routes that cannot be decorated: ``"GET /files/{name}"`` to what
            `price` takes, a `Tariff`, or ``None`` for free. The first match counts.
        intents: ways to pay by name, as in `Settings`; or makers of others, each from the process's
            `ChargeBook`.
        channel_of: an async function of the request, for ``intents=["channel"]``: the channel it is
            paid from (``C...``), if the request does not name one.
        sandbox: with ``network="sandbox"``, the `Sandbox` to use instead of a new one.
        clock: Unix seconds.
        sleep: as `asyncio.sleep`.
        settings: see `Settings`; each may also come from the environment as ``MPP_...``.

    A wrong setting stops the start of the server with one sentence. Without the lifespan protocol
    it is raised as `ConfigError` at the first request.
    """

    def __init__(
        self,
        app: ASGIApp,
        /,  # so that ``**settings`` cannot name it, which is how add_middleware is typed
        *,
        prices: Mapping[str, Amount | DynamicPrice | Tariff | None] | None = None,
        intents: Sequence[str | Callable[[ChargeBook], Intent]] = (),
        channel_of: ChannelOf | None = None,
        sandbox: EmbeddedNetwork | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        **settings: Any,
    ) -> None:
        self.app = app
        self._intents: tuple[Callable[[ChargeBook], Intent], ...] = ()
        self._channel_of = channel_of
        self._sandbox = sandbox
        self._world = World(clock, sleep)
        self._house: House | None = None
        self._opening = asyncio.Lock()
        self._settings: Settings | ConfigError
        entries: list[PathPrice] = []
        try:
            _require_kinds(prices, channel_of=channel_of, sandbox=sandbox, clock=clock, sleep=sleep)
            self._intents = _makers(intents or ())
            if intents and not self._intents:
                settings["intents"] = tuple(intents)
            self._settings = read_settings(settings)
            _require_a_channel(self._settings, channel_of)
            entries = [_path_price(key, value) for key, value in (prices or {}).items()]
        except (ConfigError, PriceError) as error:
            # A server takes an error here for "no lifespan" and starts all the same; so it is said
            # where it stops the start.
            self._settings = ConfigError(str(error))
        self._path_prices = PathPrices(entries)
        self._routes = RouteTable(self._path_prices, _governs_itself_not)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        house = self._house
        if house is None or house.sandbox is not None or scope["type"] not in _VISITS:
            house = await self._house_for(scope, receive, send)
            if house is None:
                return
        foreseen = self._routes.find(scope)
        if foreseen is None and self._routes.sees_all and is_plain_get(scope):
            # Nothing to pay, as far as the routes tell: the usual case, so it stands right here.
            as_sent = dict(scope)  # what stands further in may rewrite it
            passage = Passage(receive, send)
            entered = present.set(passage)
            try:
                await self.app(scope, passage.receive, passage.send)
            except (UnforeseenPriceError, Exception, BaseExceptionGroup):
                if not passage.is_blocked:  # else it is what our price made of the application
                    raise
            finally:
                passage.end()
                present.reset(entered)
            if not passage.is_blocked:
                return
            self._routes.sees_all = False
            if passage.has_answered:
                return  # what turned up later is nobody's to pay any more
            scope, receive = as_sent, passage.read_again(receive)
        await self._visited(house, foreseen, scope, receive, send)

    def _visited(
        self, house: House, foreseen: Foreseen | None, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """What comes of a request that may cost something."""
        asked = Asked(scope)
        if foreseen is not None and foreseen.route.insists and _is_preflight(asked):
            foreseen = None  # what stands further in may answer it; else the endpoint insists
        elif foreseen is None and asked.method == "HEAD" and asked.shows_something:
            foreseen = self._routes.find_neighbour(scope)
        if foreseen is not None and foreseen.is_routed and foreseen.is_certain:
            answer = quick_demand(house.gate, house.rules, foreseen.route, asked)
            if answer is not None:
                return answer.send(send)
        asked.take_up(receive)
        visit = _VISITS[scope["type"]](house.gate, house.rules, asked, send)
        return visit.serve(self.app, foreseen)

    async def _house_for(self, scope: Scope, receive: Receive, send: Send) -> House | None:
        """The house that a request is for; ``None``: it was for something else, and is done."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._live(scope, receive, send)
            return None
        if kind not in _VISITS:
            await self.app(scope, receive, send)
            return None
        house = self._house or await self._open(scope)
        if house.sandbox is not None and _is_for_sandbox(scope):
            await house.sandbox.app(_mounted(scope, SANDBOX_PATH), receive, send)
            return None
        return house

    async def _open(self, scope: Scope) -> House:
        async with self._opening:
            if self._house is None:
                if isinstance(self._settings, ConfigError):
                    raise self._settings
                if not _governs_itself_not(self.app):
                    raise ConfigError(
                        "PaymentMiddleware was added twice, and each would want its own payment: "
                        "keep one."
                    )
                house = await open_house(
                    self._settings,
                    self._world,
                    sandbox=self._sandbox,
                    intents=self._intents,
                    channel_of=self._channel_of,
                )
                try:
                    self._routes.look_at(self.app, _adopter(scope))
                    self._check_prices(house)
                except ConfigError:
                    await house.close()
                    raise
                tell_prices(scope.get("app"), self._routes.operations(), house.gate)
                self._house = house
        return self._house

    @property
    def path_prices(self) -> PathPrices:
        """Prices by path."""
        return self._path_prices

    def routes_of(self, app: object) -> RouteTable:
        """The routes of an application as this would price them, for a look without a server.

        Raises:
            ConfigError: a setting or a price is wrong.
        """
        if isinstance(self._settings, ConfigError):
            raise self._settings
        self._routes.look_at(app)
        _require_effect(self._routes)
        return self._routes

    def _check_prices(self, house: House) -> None:
        _require_effect(self._routes)
        for route in self._routes.priced_routes():
            _require_a_way_to_pay(route, house.gate.intent_names)
            try:
                house.gate.offers(
                    route.tariff, route.tariff.prices, realm="start", header=route.header
                )
            except PriceError as error:
                raise ConfigError(
                    f"The price of {route.path} cannot be charged: {error}."
                ) from None

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_with_us() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    (await self._open(scope)).keep_alive()
                except ConfigError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
            return message

        async def send_with_us(message: Message) -> None:
            if message["type"] != "lifespan.startup.complete":
                await self._close()
            await send(message)

        await self.app(scope, receive_with_us, send_with_us)

    async def _close(self) -> None:
        house, self._house = self._house, None
        if house is not None:
            await house.close()


def _require_kinds(prices: object, *, sandbox: object, **functions: object) -> None:
    """See that arguments are what they are annotated as, which nobody else does."""
    if prices is not None and not (
        isinstance(prices, Mapping) and all(isinstance(key, str) for key in prices)
    ):
        raise ConfigError('prices= maps paths to prices: write prices={"GET /path": "0.01"}.')
    if sandbox is not None and not callable(getattr(sandbox, "rpc", None)):
        raise ConfigError("sandbox= is a Sandbox: write sandbox=Sandbox(), or leave it out.")
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise ConfigError(f"{name}= is a function, not {function!r}.")


def _require_a_way_to_pay(route: PricedRoute, configured: Sequence[str]) -> None:
    wanted = route.tariff.intents
    if wanted is None or (wanted & set(configured) and wanted <= {*configured, *INTENTS}):
        return
    unknown = sorted(wanted - {*configured, *INTENTS})
    trouble = (
        f"{unknown[0]!r} is no way to pay" if unknown else f"it takes {', '.join(wanted)} only"
    )
    raise ConfigError(
        f"The price of {route.path} cannot be charged: {trouble}, and what is configured is "
        f"{', '.join(configured)}."
    )


def _makers(
    intents: Sequence[str | Callable[[ChargeBook], Intent]],
) -> tuple[Callable[[ChargeBook], Intent], ...]:
    """Those of intents of the user's own; none if they are named."""
    if isinstance(intents, str):
        raise ConfigError(f'intents= is a list: write intents=["{intents}"].')
    if callable(intents) or not isinstance(intents, Sequence | Set):
        raise ConfigError('intents= is a list of ways to pay: write intents=["charge"].')
    makers = tuple(each for each in intents if callable(each))
    if makers and len(makers) < len(intents):
        raise ConfigError(
            "intents= has names of ways to pay, or makers of your own: both at once do not work."
        )
    return makers


def _require_a_channel(settings: Settings, channel_of: ChannelOf | None) -> None:
    """Channels of the dialect are opened elsewhere, so somebody has to say which they are."""
    wanted = settings.intents or ()
    are_opened_here = "channel" not in wanted or "session" in wanted
    if not are_opened_here and settings.channel is None and channel_of is None:
        raise ConfigError(
            'intents=["channel"] needs to know whose channel pays, or nobody can: add '
            'channel="C...", or channel_of=, a function of the request that says it.'
        )


def _require_effect(routes: RouteTable) -> None:
    """See that no @price stands where it does nothing."""
    for place in routes.places():
        if is_bare_price(place.endpoint):
            raise ConfigError(f'The @price of {place.path} has no amount: write @price("0.01").')
        if not is_priced_elsewhere(place.endpoint):
            continue
        is_misplaced = is_priced_by_name(place.endpoint)
        if is_misplaced:
            raise ConfigError(
                f"@price stands above the route decorator of {place.path}, where it has no effect: "
                "put it below."
            )
        if is_misplaced is None:
            log.warning(
                "%s is free, though its endpoint has a price elsewhere: "
                "does @price stand above the route decorator?",
                place.path,
            )


def _path_price(key: str, value: Amount | DynamicPrice | Tariff | None) -> PathPrice:
    mark = value if value is None or isinstance(value, Tariff) else tariff(value)
    return path_price(key, mark)


def _governs_itself_not(app: object) -> bool:
    """Whether a mounted application is ours to price: it has no PaymentMiddleware of its own."""
    while app is not None:
        if isinstance(app, PaymentMiddleware) or _has_our_middleware(app):
            return False
        app = getattr(app, "app", None)
    return True


def _adopter(scope: Scope) -> object:
    """The application that the middleware was added to, where further middleware hides it. If it
    was not added to one, the scope may name another, in which it is mounted."""
    app = scope.get("app")
    return app if _has_our_middleware(app) else None


def _has_our_middleware(app: object) -> bool:
    added = getattr(app, "user_middleware", ())
    return any(getattr(each, "cls", None) is PaymentMiddleware for each in added)


def _is_preflight(asked: Asked) -> bool:
    if asked.method != "OPTIONS":
        return False
    return any(name == b"access-control-request-method" for name, _ in asked.scope["headers"])


def _is_for_sandbox(scope: Scope) -> bool:
    if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{SANDBOX_PATH}/"):
        return False
    client = scope.get("client")
    return client is None or is_local(client[0])


def _mounted(scope: Scope, path: str) -> Scope:
    """The scope of an application that is mounted there."""
    whole = scope["path"] if scope["path"] != path else path + "/"
    return {**scope, "path": whole, "root_path": scope.get("root_path", "") + path}
