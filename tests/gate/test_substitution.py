"""A credential is good for the request its challenge was issued for, and no other."""

from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import Price, price
from tests.methods.nod import Nod
from tests.methods.stall import Exchange, Selling, Visitor, payment


def shop() -> FastAPI:
    """Everything at one price, so that the price itself tells nothing apart."""
    app = FastAPI()
    priced = price("1")

    @app.api_route("/a", methods=["GET", "POST", "PUT", "DELETE"])
    @priced
    async def a(request: Request) -> str:
        return "a"

    @app.api_route("/b", methods=["GET", "POST"])
    @priced
    async def b(request: Request) -> str:
        return "b"

    @app.get("/items/{item:path}")
    @priced
    async def items(item: str) -> str:
        return item

    return app


async def substitute(visitor: Visitor, bought: dict[str, Any], shown: dict[str, Any]) -> Exchange:
    """Buy for one request, show at another."""
    challenge = await visitor.challenge(**bought)
    headers = {**shown.pop("headers", {}), **payment(challenge)}
    return await visitor.ask(**shown, headers=headers)


BOUGHT = {"method": "POST", "target": "/a?x=1&y=2", "body": b"question"}


@pytest.mark.parametrize(
    "changed",
    [
        {"target": "/b?x=1&y=2"},
        {"target": "/a"},
        {"target": "/a?"},
        {"target": "/a?y=2&x=1"},
        {"target": "/a?x=1&y=2&z=3"},
        {"target": "/a?x=1&y=%32"},
        {"target": "/a?x=1&y=3"},
        {"method": "PUT"},
        {"method": "GET"},
        {"method": "DELETE"},
        {"body": b"another question"},
        {"body": b"Question"},
        {"body": b""},
        {"body": b"question "},
        {"headers": {"host": "other.example"}},
    ],
    ids=str,
)
async def test_at_another_request_it_is_refused(changed: dict[str, Any]) -> None:
    selling = Selling()
    visitor = Visitor(selling.to(shop()))
    refused = await substitute(visitor, BOUGHT, {**BOUGHT, **changed})
    assert (refused.status, refused.problem) == (402, "invalid-challenge")
    assert len(refused.challenges) == 1
    assert refused.json()["challengeId"] != refused.challenge.id
    assert selling.till.takings == 0


@pytest.mark.parametrize(
    "same",
    [
        {"body": [b"que", b"stion"]},
        {"headers": {"user-agent": "another"}},
        {"headers": {"host": "SHOP.example:443"}},
        {"client": ("198.51.100.7", 1)},
        {"http_version": "2"},
        {"scheme": "https"},
    ],
    ids=str,
)
async def test_what_does_not_matter_does_not(same: dict[str, Any]) -> None:
    visitor = Visitor(Selling().to(shop()))
    assert (await substitute(visitor, BOUGHT, {**BOUGHT, **same})).status == 200


@pytest.mark.parametrize(
    ("bought", "shown"),
    [
        ("/items/x", "/items/y"),
        ("/items/x", "/items/x/"),
        ("/items/x", "/items//x"),
        ("/items/x", "/items/X"),
        ("/items/x", "/items/./x"),
        ("/items/x", "/items/y/../x"),
        ("/items/x", "/items/x;y"),
        ("/items/a b", "/items/a+b"),
        ("/items/a/b", "/items/a%252Fb"),
        ("/items/é", "/items/e%CC%81"),
    ],
)
async def test_paths_are_told_apart_as_the_endpoint_sees_them(bought: str, shown: str) -> None:
    visitor = Visitor(Selling().to(shop()))
    refused = await substitute(
        visitor, {"method": "GET", "target": bought}, {"method": "GET", "target": shown}
    )
    assert (refused.status, refused.problem) == (402, "invalid-challenge")


@pytest.mark.parametrize("shown", ["/items/a/b", "/items/a%2Fb", "/items/%61/b", "/it%65ms/a/b"])
async def test_spellings_that_the_server_decodes_to_one_path_are_one(shown: str) -> None:
    visitor = Visitor(Selling().to(shop()))
    served = await substitute(
        visitor, {"method": "GET", "target": "/items/a/b"}, {"method": "GET", "target": shown}
    )
    assert served.json() == "a/b"


async def test_no_two_requests_share_a_binding_by_moving_a_boundary() -> None:
    visitor = Visitor(Selling().to(shop()))
    for shown in ("/items/a?b=c", "/items/a%3Fb=c"):
        for bought in ("/items/a?b=c", "/items/a%3Fb=c"):
            answer = await substitute(
                visitor, {"method": "GET", "target": bought}, {"method": "GET", "target": shown}
            )
            assert answer.status == (200 if bought == shown else 402)


async def test_another_server_does_not_know_it() -> None:
    ours, theirs = Selling(), Selling(secret="another secret, as long as it has to be")
    app = shop()
    challenge = await Visitor(theirs.around(app)).challenge("GET", "/a")
    refused = await Visitor(ours.around(app)).get("/a", headers=payment(challenge))
    assert (refused.status, refused.problem) == (402, "invalid-challenge")
    assert "was not issued here" in refused.json()["detail"]


async def test_a_rotated_secret_is_accepted_and_no_longer_used() -> None:
    old, new = "the old secret, as long as it has to be", "the new secret, as long as it has to be"
    app = shop()
    before = Visitor(Selling(secret=old).around(app))
    during = Visitor(Selling(secret=new, previous_secret=old).around(app))
    after = Visitor(Selling(secret=new).around(app))
    early, late = await before.challenge("GET", "/a"), await during.challenge("GET", "/a")
    assert (await during.get("/a", headers=payment(early))).status == 200
    assert (await after.get("/a", headers=payment(late))).status == 200
    assert (await before.get("/a", headers=payment(late))).status == 402
    assert (await after.get("/a", headers=payment(early))).status == 402


class MethodOverride:
    """Rewrites the method as many frameworks do."""

    def __init__(self, app: ASGIApp, *, copies: bool = False) -> None:
        self.app = app
        self._copies = copies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"x-http-method-override":
                scope = dict(scope) if self._copies else scope
                scope["method"] = value.decode()
        await self.app(scope, receive, send)


class Rewrite(MethodOverride):
    """Rewrites the path by a header."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope.get("headers", ()):
            if name == b"x-original-url":
                scope = dict(scope) if self._copies else scope
                scope["path"] = value.decode()
                scope["raw_path"] = value
        await self.app(scope, receive, send)


def graded_shop() -> FastAPI:
    app = FastAPI()

    @app.get("/x")
    async def free() -> str:
        return "free"

    @app.post("/x")
    @price("0.01")
    async def cheap() -> str:
        return "cheap"

    @app.delete("/x")
    @price("100")
    async def dear() -> str:
        return "dear"

    @app.get("/free")
    async def free_path() -> str:
        return "free"

    @app.get("/cheap")
    @price("0.01")
    async def cheap_path() -> str:
        return "cheap"

    @app.get("/dear")
    @price(lambda request: "100")
    async def dear_path() -> str:
        return "dear"

    return app


def costs(answer: Exchange) -> str:
    if answer.status == 402:
        return str(int(answer.challenge.request_object()["amount"]) / 10**7)
    return str(answer.status)


METHODS = [
    ({"method": m, "target": "/x"}, "x-http-method-override", o, c)
    for m, o, c in [
        ("GET", "DELETE", "100.0"),
        ("POST", "DELETE", "100.0"),
        ("POST", "GET", "200"),
        ("DELETE", "GET", "200"),
        ("DELETE", "POST", "0.01"),
        ("GET", "POST", "0.01"),
    ]
]
PATHS = [
    ({"method": "GET", "target": t}, "x-original-url", o, c)
    for t, o, c in [
        ("/free", "/dear", "100.0"),
        ("/cheap", "/dear", "100.0"),
        ("/nowhere", "/dear", "100.0"),
        ("/dear", "/free", "200"),
        ("/dear", "/cheap", "0.01"),
        ("/free", "/cheap", "0.01"),
    ]
]


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize(("request_", "header", "value", "cost"), [*METHODS, *PATHS])
async def test_rewriting_outside_of_us_decides_what_is_paid(
    request_: dict[str, Any], header: str, value: str, cost: str, copies: bool
) -> None:
    app = Selling().to(graded_shop())
    for rewriting in (MethodOverride, Rewrite):
        app.add_middleware(rewriting, copies=copies)
    answer = await Visitor(app).ask(**request_, headers={header: value})
    assert costs(answer) == cost


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize(("request_", "header", "value", "cost"), [*METHODS, *PATHS])
async def test_rewriting_inside_of_us_gives_nothing_away(
    request_: dict[str, Any], header: str, value: str, cost: str, copies: bool
) -> None:
    """What was asked for is priced as such; what is then served is never cheaper than it costs."""
    app = graded_shop()
    for rewriting in (MethodOverride, Rewrite):
        app.add_middleware(rewriting, copies=copies)
    selling = Selling()
    visitor = Visitor(selling.to(app), app_raises=True)
    unpaid = await visitor.ask(**request_, headers={header: value})
    plain = await Visitor(Selling().to(graded_shop())).ask(**request_)
    if plain.status == 402:
        assert costs(unpaid) == costs(plain)
    else:
        assert costs(unpaid) == cost
    if unpaid.status != 402:
        assert unpaid.json() == "free"
        return
    paid = await visitor.ask(**request_, headers={header: value, **payment(unpaid.challenge)})
    if paid.status == 200:
        assert paid.json() in {"free", {"100.0": "dear", "0.01": "cheap"}[costs(unpaid)]}
    else:
        assert paid.status == 500
        assert selling.till.takings == 0


async def test_the_same_credential_does_not_open_a_dearer_route_behind_a_rewrite() -> None:
    app = graded_shop()
    app.add_middleware(MethodOverride)
    selling = Selling()
    visitor = Visitor(selling.to(app))
    override = "x-http-method-override"
    cheap = await visitor.challenge("GET", "/x", headers={override: "POST"})
    refused = await visitor.get("/x", headers={override: "DELETE", **payment(cheap)})
    assert (refused.status, costs(refused)) == (402, "100.0")
    assert selling.till.takings == 0


class Season(Nod):
    """Its challenges are good for any number of requests."""

    reusable_seconds = 3600


@pytest.mark.parametrize("quote", ["1", lambda request: "1"], ids=["fixed", "dynamic"])
async def test_a_way_to_pay_that_a_route_does_not_take_does_not_pay_for_it(quote: Any) -> None:
    """Though another route takes it, at the same price and in the same words."""
    app = FastAPI()
    app.get("/either")(price(quote)(lambda: "either"))
    app.get("/once")(price(quote, intents=["charge"])(lambda: "once"))
    selling = Selling()
    ways = [partial(Nod, till=selling.till), partial(Season, till=selling.till, name="season")]
    visitor = Visitor(selling.to(app, intents=ways))
    _, season = (await visitor.get("/either")).challenges
    assert season.intent == "season"
    refused = await visitor.get("/once", headers=payment(season))
    assert (refused.status, refused.problem) == (402, "invalid-challenge")
    assert selling.till.takings == 0
    assert (await visitor.get("/either", headers=payment(season))).json() == "either"


@pytest.mark.parametrize("target", ["/cheap", "/dear"])
async def test_what_costs_nothing_this_time_opens_no_other_route_behind_a_rewrite(
    target: str,
) -> None:
    app = graded_shop()
    app.get("/sometimes")(price(lambda request: Price.free())(lambda: "sometimes"))
    app.add_middleware(Rewrite)
    visitor = Visitor(Selling().to(app))
    assert (await visitor.get("/sometimes")).json() == "sometimes"
    answer = await visitor.get("/sometimes", headers={"x-original-url": target})
    assert answer.status == 500
