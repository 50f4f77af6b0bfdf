"""A WebSocket's handshake is a request with a price like any other."""

import asyncio
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket, WebSocketException
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mpp_asgi import Price, price, tariff
from mpp_asgi.fastapi import CurrentPayment
from mpp_asgi.intents import FaultError
from mpp_asgi.protocol import Challenge, Credential, Receipt
from tests.methods.stall import Exchange, Selling, Visitor, payment, scope_of

DENIAL: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}


class Socket:
    """A client's end of a WebSocket."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def open(
        self, target: str, *, headers: Any = (), say: list[str] | None = None, **scope: Any
    ) -> Exchange:
        """Connect, say something, and hang up."""
        exchange = Exchange()
        incoming: list[Message] = [
            {"type": "websocket.connect"},
            *({"type": "websocket.receive", "text": text} for text in say or ()),
            {"type": "websocket.disconnect", "code": 1005},
        ]

        async def receive() -> Message:
            return incoming.pop(0) if len(incoming) > 1 else incoming[0]

        async def send(message: Message) -> None:
            exchange.messages.append(message)

        scope = {**DENIAL, **scope}
        asked = scope_of("", target, headers=headers, kind="websocket", **scope)
        await self.app(asked, receive, send)
        return exchange

    async def challenge(self, target: str, **request: Any) -> Challenge:
        denied = await self.open(target, **request)
        assert denied.status == 402, denied.messages
        return denied.challenge


def types(exchange: Exchange) -> list[str]:
    return [message["type"] for message in exchange.messages]


def receipt(exchange: Exchange) -> Receipt:
    accept = exchange.messages[0]
    assert accept["type"] == "websocket.accept"
    [value] = [value for name, value in accept["headers"] if name == b"payment-receipt"]
    return Receipt.from_header(value.decode())


def fastapi_shop(**options: Any) -> FastAPI:
    app = FastAPI()

    @app.websocket("/ws")
    @price("1", **options)
    async def ws(websocket: WebSocket, payment: CurrentPayment) -> None:
        await websocket.accept(subprotocol="chat", headers=[(b"x-own", b"1")])
        await websocket.send_text(f"hello {payment and payment.payer}")

    return app


def included(**options: Any) -> FastAPI:
    router = APIRouter()

    @router.websocket("/ws")
    @price("1", **options)
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-own", b"1")])
        await websocket.send_text(f"hello {websocket.state.payment.payer}")

    app = FastAPI()
    app.include_router(router)
    return app


def starlette_shop(**options: Any) -> Starlette:
    @price("1", **options)
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-own", b"1")])
        await websocket.send_text(f"hello {websocket.state.payment.payer}")

    return Starlette(routes=[Mount("/", routes=[WebSocketRoute("/ws", ws)])])


def starlette_class(**options: Any) -> Starlette:
    @price("1", **options)
    class Ws(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.accept(headers=[(b"x-own", b"1")])
            await websocket.send_text(f"hello {websocket.state.payment.payer}")

    return Starlette(routes=[WebSocketRoute("/ws", Ws)])


@pytest.mark.parametrize("name", ["get", "post", "options", "query", "helper"])
async def test_a_class_may_have_helpers_that_are_called_as_methods_are(name: str) -> None:
    class Live(WebSocketEndpoint):
        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.send_text("goods")

    setattr(Live, name, lambda self: None)
    socket = Socket(Selling().to(Starlette(routes=[WebSocketRoute("/ws", price("1")(Live))])))
    opened = await socket.open("/ws", headers=payment(await socket.challenge("/ws")))
    assert types(opened)[0] == "websocket.accept"
    assert receipt(opened)


def hidden(**options: Any) -> Starlette:
    inner = starlette_shop(**options)

    async def copying(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(dict(scope), receive, send)

    return Starlette(routes=[Mount("", app=copying)])


SHOPS = [fastapi_shop, included, starlette_shop, starlette_class, hidden]


async def test_middleware_that_accepts_where_no_route_is_is_paid_by_path() -> None:
    class Accepting:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/own":
                await send({"type": "websocket.accept", "headers": []})
                await send({"type": "websocket.send", "text": "goods"})
            else:
                await self.app(scope, receive, send)

    app = Starlette()
    app.add_middleware(Accepting)
    selling = Selling(prices={"/{everything}": "1"})
    socket = Socket(selling.to(app))
    denied = await socket.open("/own")
    assert types(denied) == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (denied.status, denied.problem) == (402, "payment-required")
    opened = await socket.open("/own", headers=payment(denied.challenge))
    assert types(opened) == ["websocket.accept", "websocket.send"]
    assert receipt(opened).reference == denied.challenge.id
    assert selling.till.takings == 1
    assert types(await socket.open("/nowhere")) == ["websocket.close"]


@pytest.mark.parametrize("settle", ["before", "after"])
@pytest.mark.parametrize("shop", SHOPS, ids=lambda shop: shop.__name__)
async def test_a_handshake_is_paid_and_opens_once(shop: Any, settle: str) -> None:
    selling = Selling()
    socket = Socket(selling.to(shop(settle=settle)))
    denied = await socket.open("/ws")
    assert types(denied) == ["websocket.http.response.start", "websocket.http.response.body"]
    assert (denied.status, denied.problem) == (402, "payment-required")
    assert denied.header("cache-control") == "no-store"

    headers = payment(denied.challenge)
    opened = await socket.open("/ws", headers=headers)
    assert types(opened)[:2] == ["websocket.accept", "websocket.send"]
    assert opened.messages[1]["text"] == "hello somebody"
    assert (b"x-own", b"1") in opened.messages[0]["headers"]
    assert receipt(opened).reference == denied.challenge.id
    assert selling.till.takings == 1

    again = await socket.open("/ws", headers=headers)
    assert (again.status, again.problem) == (402, "invalid-challenge")
    assert selling.till.moves.total() == 1


@pytest.mark.parametrize("shop", SHOPS, ids=lambda shop: shop.__name__)
async def test_where_a_server_cannot_deny_with_a_response_it_closes(shop: Any) -> None:
    socket = Socket(Selling().to(shop()))
    for headers in ((), {"authorization": "Payment nonsense"}):
        closed = await socket.open("/ws", headers=headers, extensions={})
        assert closed.messages == [{"type": "websocket.close", "code": 1008}]


async def test_a_conversation_goes_on_as_long_as_both_like() -> None:
    app = FastAPI()

    @app.websocket("/ws")
    @price("1")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text.upper())
        await asyncio.sleep(0)

    socket = Socket(Selling().to(app))
    headers = payment(await socket.challenge("/ws"))
    talk = await socket.open("/ws", headers=headers, say=["a", "b", "c"])
    assert [message.get("text") for message in talk.messages] == [None, "A", "B", "C"]


async def test_what_is_priced_by_path() -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(str(websocket.state.payment.payer))

    @app.websocket("/free")
    async def free(websocket: WebSocket) -> None:
        await websocket.accept()

    for key in ("/ws", "GET /ws"):
        socket = Socket(Selling(prices={key: "1"}).around(app))
        headers = payment(await socket.challenge("/ws"))
        opened = await socket.open("/ws", headers=headers)
        assert opened.messages[1]["text"] == "somebody"
        assert receipt(opened)
        assert types(await socket.open("/free")) == ["websocket.accept"]
        assert types(await socket.open("/nowhere")) == ["websocket.close"]


@pytest.mark.parametrize("settle", ["before", "after"])
async def test_priced_by_path_it_may_settle_after_too(settle: Any) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()

    selling = Selling(prices={"/ws": tariff("1", settle=settle)})
    socket = Socket(selling.to(app))
    opened = await socket.open("/ws", headers=payment(await socket.challenge("/ws")))
    assert receipt(opened)
    assert selling.till.takings == 1


async def test_a_dynamic_price() -> None:
    app = FastAPI()

    def quote(request: Any) -> Any:
        if request.path_params["room"] == "lobby":
            return Price.free()
        assert request.method == "GET"
        return "0.5" if request.query_params.get("plan") == "half" else "1"

    @app.websocket("/rooms/{room}")
    @price(quote)
    async def ws(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.send_text(str(websocket.state.payment and "paid"))

    socket = Socket(Selling().to(app))
    cheap = await socket.challenge("/rooms/a?plan=half")
    assert cheap.request_object()["amount"] == "5000000"
    assert (await socket.open("/rooms/a", headers=payment(cheap))).status == 402
    opened = await socket.open("/rooms/a?plan=half", headers=payment(cheap))
    assert opened.messages[1]["text"] == "paid"
    assert (await socket.open("/rooms/lobby")).messages[1]["text"] == "None"


async def test_a_handshake_and_a_request_for_the_same_path_are_two_things() -> None:
    app = FastAPI()

    @app.get("/x")
    @price("1")
    async def get() -> str:
        return "content"

    @app.websocket("/x")
    @price("1")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()

    selling = Selling()
    socket, visitor = Socket(selling.to(app)), Visitor(app)
    for_socket, for_request = await socket.challenge("/x"), await visitor.challenge("GET", "/x")
    assert (await socket.open("/x", headers=payment(for_request))).status == 402
    assert (await visitor.get("/x", headers=payment(for_socket))).status == 402
    assert selling.till.takings == 0
    assert (await visitor.get("/x", headers=payment(for_request))).status == 200
    assert types(await socket.open("/x", headers=payment(for_socket))) == ["websocket.accept"]


async def test_another_method_of_its_path_is_free() -> None:
    @price("1")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()

    async def get(request: Any) -> Any:
        return PlainTextResponse("free")

    app = Starlette(routes=[Route("/x", get), WebSocketRoute("/x", ws)])
    visitor = Visitor(Selling().to(app))
    assert (await visitor.get("/x")).status == 200
    assert (await Socket(app).open("/x")).status == 402


@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": "5"},
        {"transfer-encoding": "chunked"},
        {"content-length": "99999999999"},
    ],
)
@pytest.mark.parametrize("version", ["1.1", "2", "3"])
async def test_a_handshake_has_no_body_whatever_it_says(
    headers: dict[str, str], version: str
) -> None:
    socket = Socket(Selling().to(fastapi_shop()))
    async with asyncio.timeout(60):
        challenge = await socket.challenge("/ws", headers=headers, http_version=version)
        paid = {**headers, **payment(challenge)}
        opened = await socket.open("/ws", headers=paid, http_version=version)
    assert types(opened)[0] == "websocket.accept"


async def test_the_applications_own_refusal_comes_first_and_costs_nothing() -> None:
    app = FastAPI()

    async def known(websocket: WebSocket) -> None:
        if "x-key" not in websocket.headers:
            raise WebSocketException(1008)

    @app.websocket("/guarded")
    @price("1")
    async def guarded(websocket: WebSocket, user: None = Depends(known)) -> None:
        await websocket.accept()

    def refuse() -> None:
        raise WebSocketException(1013)

    @app.websocket("/closed")
    @price("1")
    async def closed(websocket: WebSocket, ready: None = Depends(refuse)) -> None:
        await websocket.accept()

    selling = Selling()
    socket = Socket(selling.to(app))
    stranger = await socket.open("/guarded", headers=payment(await socket.challenge("/guarded")))
    assert [(m["type"], m.get("code")) for m in stranger.messages] == [("websocket.close", 1008)]
    headers = payment(await socket.challenge("/closed"))
    refused = await socket.open("/closed", headers=headers)
    assert [(m["type"], m.get("code")) for m in refused.messages] == [("websocket.close", 1013)]
    assert selling.till.takings == 0
    identity = {"x-key": "mine"}
    paid = {**identity, **payment(await socket.challenge("/guarded", headers=identity))}
    assert types(await socket.open("/guarded", headers=paid)) == ["websocket.accept"]


async def test_a_settlement_that_fails_opens_nothing_and_uses_nothing_up() -> None:
    async def fail(step: str) -> None:
        if step == "move":
            raise FaultError("The network is down.", retry_after=9)

    async def go_on(step: str) -> None: ...

    for settle in ("before", "after"):
        selling = Selling(step=fail)
        socket = Socket(selling.to(fastapi_shop(settle=settle)))
        headers = payment(await socket.challenge("/ws"))
        failed = await socket.open("/ws", headers=headers)
        assert (failed.status, failed.header("retry-after")) == (503, "9")
        selling.step = go_on
        opened = await socket.open("/ws", headers=headers)
        assert types(opened)[0] == "websocket.accept"
        assert selling.till.moves.total() == 1


async def test_an_endpoint_that_fails_before_it_accepts_leaves_the_credential_good() -> None:
    app = FastAPI()
    failures = [ValueError("moody")]

    @app.websocket("/ws")
    @price("1")
    async def ws(websocket: WebSocket) -> None:
        if failures:
            raise failures.pop()
        await websocket.accept()

    selling = Selling()
    socket = Socket(selling.to(app))
    headers = payment(await socket.challenge("/ws"))
    with pytest.raises(ValueError, match="moody"):
        await socket.open("/ws", headers=headers)
    assert types(await socket.open("/ws", headers=headers)) == ["websocket.accept"]
    assert selling.till.moves.total() == 1


async def test_a_price_that_turns_up_after_the_handshake_closes_the_connection() -> None:
    """A dependency accepted, behind middleware that hides the route."""
    inner = FastAPI()
    ran: list[str] = []

    async def accepting(websocket: WebSocket) -> None:
        await websocket.accept()

    @inner.websocket("/ws")
    @price("1")
    async def ws(websocket: WebSocket, ready: None = Depends(accepting)) -> None:
        ran.append("ran")

    async def copying(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(dict(scope), receive, send)

    app = FastAPI()
    app.mount("/h", copying)
    closed = await Socket(Selling().to(app)).open("/h/ws")
    assert types(closed) == ["websocket.accept", "websocket.close"]
    assert closed.messages[1]["code"] == 1008
    assert ran == []


async def test_plain_websockets_are_refused_as_plain_http_is() -> None:
    socket = Socket(Selling().to(fastapi_shop()))
    refused = await socket.open("/ws", scheme="ws")
    assert (refused.status, refused.challenges) == (400, [])
    local = await socket.open("/ws", scheme="ws", client=("127.0.0.1", 1))
    assert local.status == 402


def denying(status: int, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.websocket("/ws")
    @price("1", **options)
    async def ws(websocket: WebSocket) -> None:
        response = StreamingResponse(iter(["go", "ods"]), status, {"cache-control": "public"})
        await websocket.send_denial_response(response)

    return app


@pytest.mark.parametrize("settle", ["before", "after"])
async def test_a_response_in_place_of_the_connection_is_sold_as_any_other(settle: str) -> None:
    selling = Selling()
    socket = Socket(selling.to(denying(200, settle=settle)))
    headers = payment(await socket.challenge("/ws"))
    served = await socket.open("/ws", headers=headers)
    assert (served.status, served.body, served.is_whole) == (200, b"goods", True)
    assert served.receipt is not None
    assert served.header("cache-control") == "private"
    assert selling.till.takings == 1
    again = await socket.open("/ws", headers=headers)
    assert (again.status, again.problem) == (402, "invalid-challenge")


@pytest.mark.parametrize("hidden", [False, True])
async def test_nobody_gets_one_unpaid(hidden: bool) -> None:
    """From middleware further in, say, that knows the price of the path and no more."""
    app: Any = denying(200)
    if hidden:
        app = FastAPI()

        async def answering(scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse("goods")(scope, receive, send)

        app.mount("/", answering)
        selling = Selling(prices={"/ws": "1"})
    else:
        selling = Selling()
    socket = Socket(selling.to(app))
    challenge = await socket.challenge("/ws")
    worthless = Credential(challenge, {"type": "nothing"}).to_header()
    refused = await socket.open("/ws", headers={"authorization": worthless})
    assert (refused.status, refused.problem) == (402, "verification-failed")


@pytest.mark.parametrize(("settle", "is_used"), [("before", True), ("after", False)])
@pytest.mark.parametrize("how", ["close", "denial"])
async def test_a_refusal_after_the_payment_uses_it_up_as_an_answer_does(
    settle: Any, is_used: bool, how: str
) -> None:
    app: Any = denying(403, settle=settle)
    if how == "close":
        app = FastAPI()

        @app.websocket("/ws")
        @price("1", settle=settle)
        async def ws(websocket: WebSocket) -> None:
            await websocket.close()

    selling = Selling()
    socket = Socket(selling.to(app))
    headers = payment(await socket.challenge("/ws"))
    first = await socket.open("/ws", headers=headers)
    if how == "denial":
        assert (first.status, first.receipt) == (403, None)
        assert first.header("cache-control") == "private"
    assert selling.till.takings == is_used
    again = await socket.open("/ws", headers=headers)
    assert (again.messages[0].get("status") == 402) is is_used


@pytest.mark.parametrize("accepts", [False, True])
async def test_a_price_that_turns_up_after_the_end_closes_nothing_again(accepts: bool) -> None:
    ran: list[str] = []

    @price("1")
    async def goods() -> None:
        ran.append("ran")

    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        if accepts:
            await websocket.accept()
        await websocket.close()
        await goods()

    closed = await Socket(Selling().to(app)).open("/ws")
    assert types(closed) == ["websocket.accept"] * accepts + ["websocket.close"]
    assert ran == []


async def test_no_method_of_http_is_spelled_as_a_handshake_is() -> None:
    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await PlainTextResponse("content")(scope, receive, send)

    def quote(request: Any) -> str:
        return "0.01" if request.method == "WEBSOCKET" else "1"

    selling = Selling(prices={"/p/{x}": quote})
    app = selling.to(Starlette(routes=[Mount("/p", app=either)]))
    cheap = await Visitor(app).challenge("WEBSOCKET", "/p/a")
    assert (await Socket(app).open("/p/a", headers=payment(cheap))).status == 402
    assert selling.till.takings == 0
