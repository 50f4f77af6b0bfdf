"""Where one address leads to several things, a quote is good for the one that was quoted."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Match, Route, Router

from mpp_asgi import price
from tests.methods.stall import Selling, Visitor, payment


def sold(amount: Any, name: str) -> Any:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(name)

    endpoint.__qualname__ = name  # as two functions of a module are told apart
    return price(amount)(endpoint)


def by_host(**settings: Any) -> tuple[Selling, Visitor]:
    dear = Router([Route("/x", sold(lambda request: "1", "dear"))])
    cheap = Route("/x", sold(lambda request: "0.01", "cheap"))
    selling = Selling(**settings)
    return selling, Visitor(selling.to(Starlette(routes=[Host("dear.example", dear), cheap])))


class OfVersion2(Route):
    def matches(self, scope: Any) -> Any:
        match, child = super().matches(scope)
        if (b"x-version", b"2") not in scope["headers"]:
            return Match.NONE, {}
        return match, child


@pytest.mark.parametrize("realm", [None, "shop"])
async def test_told_apart_by_host(realm: str | None) -> None:
    selling, visitor = by_host(**({"realm": realm} if realm else {}))
    cheap = "cheap.example"
    challenge = await visitor.challenge("GET", "/x", headers={"host": cheap})
    assert challenge.request_object()["amount"] == "100000"
    headers = {"host": "dear.example", **payment(challenge)}
    assert (await visitor.get("/x", headers=headers)).status == 402
    served = await visitor.get("/x", headers={"host": cheap, **payment(challenge)})
    assert (served.body, selling.till.takings) == (b"cheap", 1)
    assert (await visitor.buy("GET", "/x", headers={"host": "dear.example"})).body == b"dear"


@pytest.mark.parametrize("fixed", [False, True])
async def test_told_apart_by_a_header(fixed: bool) -> None:
    cheap = sold("0.01" if fixed else lambda request: "0.01", "cheap")
    dear = sold(lambda request: "1", "dear")
    visitor = Visitor(Selling().to(Starlette(routes=[OfVersion2("/x", dear), Route("/x", cheap)])))
    challenge = await visitor.challenge("GET", "/x")
    headers = {"x-version": "2", **payment(challenge)}
    assert (await visitor.get("/x", headers=headers)).status == 402
    assert (await visitor.get("/x", headers=payment(challenge))).body == b"cheap"


@pytest.mark.parametrize("amount", ["1", lambda request: "1"])
@pytest.mark.parametrize("hosts", [("a.example", "b.example"), ("", "b.example")])
async def test_where_something_is_sold_a_request_names_one_host(
    amount: Any, hosts: tuple[str, str]
) -> None:
    free = Route("/free", lambda request: PlainTextResponse("free"))
    visitor = Visitor(Selling().to(Starlette(routes=[Route("/x", sold(amount, "x")), free])))
    headers = [("host", host) for host in hosts]
    refused = await visitor.get("/x", headers=headers)
    assert (refused.status, refused.problem) == (400, "bad-request")
    challenge = await visitor.challenge("GET", "/x", headers=headers[:1])
    paid = [*headers, *payment(challenge).items()]
    assert (await visitor.get("/x", headers=paid)).status == 400
    assert (await visitor.get("/free", headers=headers)).status == 200
