"""Once the money moved the payer gets the resource: after our failures, free, until it is whole."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from mpp_asgi import price
from mpp_asgi.stores.memory.store import MemoryStore
from tests.methods.stall import Exchange, Line, Selling, Visitor, payment, scope_of


class Moody:
    """Fails as it is told, then behaves."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.runs = 0

    def __call__(self) -> str:
        self.runs += 1
        if self._failures:
            raise self._failures.pop(0)
        return "content"


def shop(moody: Moody) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    @price("1")
    async def run() -> str:
        return moody()

    return app


@pytest.mark.parametrize(
    "failure", [ValueError(), *(HTTPException(status) for status in (500, 503, 507, 408, 425, 429))]
)
async def test_a_failed_handler_is_tried_again_for_free(failure: Exception) -> None:
    moody = Moody(failure, failure, failure)
    selling = Selling()
    visitor = Visitor(selling.to(shop(moody)), app_raises=True)
    challenge = await visitor.challenge("GET", "/")
    for _ in range(3):
        failed = await visitor.get("/", headers=payment(challenge))
        assert failed.status == getattr(failure, "status_code", 500)
        assert failed.header("payment-receipt") is None
        assert selling.till.takings == 1
    served = await visitor.get("/", headers=payment(challenge))
    assert (served.status, served.json(), moody.runs) == (200, "content", 4)
    assert served.receipt is not None
    assert selling.till.charged_twice == []
    again = await visitor.get("/", headers=payment(challenge))
    assert (again.status, again.problem, moody.runs) == (402, "invalid-challenge", 4)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422, 451])
async def test_a_refusal_by_the_handler_is_an_answer_and_is_final(status: int) -> None:
    moody = Moody(HTTPException(status))
    visitor = Visitor(Selling().to(shop(moody)))
    challenge = await visitor.challenge("GET", "/")
    assert (await visitor.get("/", headers=payment(challenge))).status == status
    again = await visitor.get("/", headers=payment(challenge))
    assert (again.status, again.problem, moody.runs) == (402, "invalid-challenge", 1)


async def test_a_failed_handler_is_tried_again_even_after_the_challenge_expired() -> None:
    moody = Moody(ValueError())
    selling = Selling()
    visitor = Visitor(selling.to(shop(moody)), app_raises=True)
    challenge = await visitor.challenge("GET", "/")
    await visitor.get("/", headers=payment(challenge))
    selling.time.now += 3600
    assert (await visitor.get("/", headers=payment(challenge))).json() == "content"
    assert selling.till.takings == 1


async def test_a_failed_handler_is_tried_again_even_after_the_price_changed() -> None:
    moody = Moody(ValueError())
    app = FastAPI()

    @app.get("/")
    async def run() -> str:
        return moody()

    store = MemoryStore()
    selling = Selling(keep=lambda _: store)
    cheap, dear = selling.around(app, prices={"/": "1"}), selling.around(app, prices={"/": "2"})
    challenge = await Visitor(cheap).challenge("GET", "/")
    await Visitor(cheap, app_raises=True).get("/", headers=payment(challenge))
    assert (await Visitor(dear).get("/", headers=payment(challenge))).json() == "content"
    assert selling.till.takings == 1


async def test_a_challenge_of_an_old_price_is_refused_if_nothing_was_paid_yet() -> None:
    app = FastAPI()
    app.get("/")(lambda: "content")
    selling = Selling()
    cheap, dear = selling.around(app, prices={"/": "1"}), selling.around(app, prices={"/": "2"})
    challenge = await Visitor(cheap).challenge("GET", "/")
    refused = await Visitor(dear).get("/", headers=payment(challenge))
    assert (refused.status, refused.problem) == (402, "invalid-challenge")
    assert "price has changed" in refused.json()["detail"]
    assert refused.challenge.request_object()["amount"] == "20000000"
    assert selling.till.takings == 0


async def test_an_expired_challenge_is_refused_if_nothing_was_paid_yet() -> None:
    selling = Selling()
    visitor = Visitor(selling.to(shop(Moody())))
    challenge = await visitor.challenge("GET", "/")
    selling.time.now += 299.9
    assert (await visitor.get("/", headers=payment(challenge))).status == 200
    challenge = await visitor.challenge("GET", "/")
    selling.time.now += 300
    refused = await visitor.get("/", headers=payment(challenge))
    assert (refused.status, refused.problem) == (402, "payment-expired")
    assert (await visitor.get("/", headers=payment(refused.challenge))).status == 200


# The client goes away


def stream_shop(**options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/stream")
    @price("1", **options)
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for n in range(10):
                yield str(n).encode()
                await asyncio.sleep(0)

        return StreamingResponse(chunks())

    @app.get("/whole")
    @price("1", **options)
    async def whole() -> Response:
        return Response(b"0123456789")

    @app.post("/unread")
    @price("1", **options)
    async def unread() -> Response:
        return Response(b"0123456789")

    return app


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("settle", ["before", "after"])
@pytest.mark.parametrize("leave_after", [0, 1, 2, 5, 10, 11])
async def test_a_stream_that_was_cut_is_sent_again_for_free(
    leave_after: int, settle: str, spec_version: str
) -> None:
    selling = Selling()
    visitor = Visitor(selling.to(stream_shop(settle=settle)), app_raises=True)
    challenge = await visitor.challenge("GET", "/stream")
    asgi = {"version": "3.0", "spec_version": spec_version}
    request: dict[str, Any] = {"headers": payment(challenge), "asgi": asgi}
    cut = await visitor.get("/stream", leave_after=leave_after, **request)
    assert cut.error is None
    assert not cut.is_whole
    served = await visitor.get("/stream", **request)
    assert served.body == b"0123456789"
    assert (selling.till.takings, selling.till.charged_twice) == (1, [])
    assert (await visitor.get("/stream", **request)).status == 402


@pytest.mark.parametrize("settle", ["before", "after"])
@pytest.mark.parametrize(("method", "target"), [("GET", "/whole"), ("POST", "/unread")])
@pytest.mark.parametrize("leave_after", [0, 1])
async def test_a_client_that_left_is_noticed_though_the_handler_does_not_look(
    method: str, target: str, settle: str, leave_after: int
) -> None:
    selling = Selling()
    visitor = Visitor(selling.to(stream_shop(settle=settle)))
    request: dict[str, Any] = {"body": b"question" if method == "POST" else b""}
    challenge = await visitor.challenge(method, target, **request)
    request["headers"] = payment(challenge)
    await visitor.ask(method, target, leave_after=leave_after, **request)
    served = await visitor.ask(method, target, **request)
    assert served.body == b"0123456789"
    assert (await visitor.ask(method, target, **request)).status == 402
    assert (selling.till.takings, selling.till.charged_twice) == (1, [])


async def test_a_server_that_raises_when_the_client_left() -> None:
    selling = Selling()
    app = selling.to(stream_shop())
    visitor = Visitor(app)
    challenge = await visitor.challenge("GET", "/whole")
    line = Line([b""], None)

    async def send(message: Any) -> None:
        await line.send(message)
        if message["type"] == "http.response.body":
            raise OSError("connection reset")

    with pytest.raises(OSError, match="connection reset"):
        await app(scope_of("GET", "/whole", headers=payment(challenge)), line.receive, send)
    served = await visitor.get("/whole", headers=payment(challenge))
    assert served.status == 200
    assert selling.till.charged_twice == []


async def test_a_client_that_leaves_before_its_body_is_complete_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    ran: list[str] = []

    @app.post("/")
    @price("1")
    async def run() -> None:
        ran.append("ran")

    line = Line([b"half"], 0)
    line_scope = scope_of("POST", "/", headers={"content-length": "8"})
    await Selling().to(app)(line_scope, line.receive, line.send)
    assert line.exchange.messages == []
    assert (ran, caplog.records) == ([], [])


async def test_a_disconnect_that_servers_report_after_every_response_takes_nothing_back() -> None:
    """`receive` says "disconnected" once all is sent, at once to whoever waits in it."""
    sent = asyncio.Event()
    line = Line([b""], None)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        listening = asyncio.create_task(listen())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"content"})
        await listening

    async def send(message: Any) -> None:
        await line.send(message)
        if message["type"] == "http.response.body":
            sent.set()
            for _ in range(10):
                await asyncio.sleep(0)

    selling = Selling(prices={"/": "1"})
    paid_app = selling.around(app)
    visitor = Visitor(paid_app)
    challenge = await visitor.challenge("GET", "/")
    await paid_app(scope_of("GET", "/", headers=payment(challenge)), line.receive, send)
    assert line.exchange.body == b"content"
    again = await visitor.get("/", headers=payment(challenge))
    assert (again.status, again.problem) == (402, "invalid-challenge")


async def test_a_handler_that_answers_nothing_leaves_the_credential_good() -> None:
    behaviour = ["silent", "half", "fine"]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        mood = behaviour.pop(0)
        if mood != "silent":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            more = mood == "half"
            await send({"type": "http.response.body", "body": b"content", "more_body": more})

    selling = Selling(prices={"/": "1"})
    visitor = Visitor(selling.around(app))
    challenge = await visitor.challenge("GET", "/")
    answers: list[Exchange] = [await visitor.get("/", headers=payment(challenge)) for _ in range(3)]
    assert [len(answer.messages) for answer in answers] == [0, 2, 2]
    assert selling.till.moves.total() == 1
    assert (await visitor.get("/", headers=payment(challenge))).status == 402
