"""The payer against this project's own server side, in process and over real sockets."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from stellar_sdk import Keypair

from mpp_asgi import PaymentMiddleware, price
from mpp_asgi.client import PaymentAuth, PaymentOutcomeUnknownError, payment_receipt
from mpp_asgi.sandbox import Sandbox

PAYER = Keypair.from_raw_ed25519_seed(b"p" * 32)
RECIPIENT = Keypair.from_raw_ed25519_seed(b"r" * 32).public_key


class Time:
    """Unix seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def network(time: Time) -> Sandbox:
    sandbox = Sandbox(close_interval=1, clock=time)
    sandbox.fund(PAYER.public_key, usdc=10)
    return sandbox


def paid_app(network: Sandbox, **settings: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(
        PaymentMiddleware,
        network="sandbox",
        sandbox=network,
        recipient=RECIPIENT,
        prices={"/members": "0.01"},
        **settings,
    )
    failures = [RuntimeError("the handler fails at first")]

    @app.get("/forecast/{city}")
    @price("0.01")
    async def forecast(city: str) -> dict[str, str]:
        return {"city": city}

    @app.post("/echo")
    @price("0.02")
    async def echo(request: Request) -> str:
        return (await request.body()).decode()

    @app.api_route("/moody", methods=["GET", "POST"])
    @price("0.01")
    async def moody() -> str:
        if failures:
            raise failures.pop()
        return "fine"

    @app.get("/free")
    async def free() -> str:
        return "free"

    @app.get("/members", dependencies=[Depends(HTTPBearer())])
    async def members() -> str:
        return "hello, member"

    return app


@pytest.fixture(params=["sponsored", "unsponsored", "push"])
def auth(request: pytest.FixtureRequest, network: Sandbox, time: Time) -> PaymentAuth:
    return PaymentAuth(
        PAYER,
        budget="1.00",
        rpc=network.rpc,
        mode="push" if request.param == "push" else "pull",
        sponsored=request.param == "sponsored",
        clock=time,
        async_sleep=time.sleep,
    )


@pytest.fixture
async def client(
    network: Sandbox, auth: PaymentAuth, time: Time
) -> AsyncIterator[httpx.AsyncClient]:
    app = paid_app(network, clock=time, sleep=time.sleep)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, auth=auth, base_url="http://localhost"
    ) as client:
        yield client


async def test_who_needs_authorization_for_himself_pays_beside_it(
    client: httpx.AsyncClient, auth: PaymentAuth
) -> None:
    response = await client.get("/members", headers={"authorization": "Bearer mine"})
    assert (response.status_code, response.json()) == (200, "hello, member")
    assert auth.spent == {"USDC": Decimal("0.01")}


async def test_every_way_to_pay(
    client: httpx.AsyncClient, auth: PaymentAuth, network: Sandbox
) -> None:
    assert (await client.get("/free")).json() == "free"
    assert auth.spent == {"USDC": Decimal(0)}

    response = await client.get("/forecast/Paris")
    assert response.json() == {"city": "Paris"}
    receipt = payment_receipt(response)
    assert receipt is not None
    assert auth.receipts == (receipt,)
    assert auth.paid[0].transaction_hash == receipt.reference

    response = await client.post("/echo", content="hello")
    assert response.json() == "hello"
    assert auth.spent == {"USDC": Decimal("0.03")}
    assert network.balance(RECIPIENT, network.usdc) == 300_000


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_handler_that_fails_is_tried_again_for_free(
    client: httpx.AsyncClient, network: Sandbox, method: str
) -> None:
    if method == "POST":
        with pytest.raises(PaymentOutcomeUnknownError, match="HTTP 500"):
            await client.post("/moody")
    assert (await client.request(method, "/moody")).json() == "fine"
    assert network.balance(RECIPIENT, network.usdc) == 100_000


async def test_many_at_once(client: httpx.AsyncClient, auth: PaymentAuth, network: Sandbox) -> None:
    answers = await asyncio.gather(*(client.get(f"/forecast/{n}") for n in range(6)))
    assert [each.json()["city"] for each in answers] == [str(n) for n in range(6)]
    assert auth.spent == {"USDC": Decimal("0.06")}
    assert network.balance(RECIPIENT, network.usdc) == 600_000


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The application behind a real socket; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.mark.parametrize("mode", ["pull", "push"])
def test_over_sockets(mode: Any) -> None:
    network = Sandbox(close_interval=0.02)
    network.fund(PAYER.public_key, usdc=10)
    with served(network.app) as rpc, served(paid_app(network)) as shop:
        auth = PaymentAuth(PAYER, budget="0.10", rpc=rpc, mode=mode)
        with httpx.Client(auth=auth, base_url=shop) as client:
            for city in ("Paris", "Oslo"):
                assert client.get(f"/forecast/{city}").json() == {"city": city}

        async def asynchronously() -> str:
            async with httpx.AsyncClient(auth=auth, base_url=shop) as client:
                return str((await client.get("/forecast/Rome")).json()["city"])

        assert asyncio.run(asynchronously()) == "Rome"
        assert asyncio.run(asynchronously()) == "Rome"
        auth.reconcile()
    assert auth.spent == {"USDC": Decimal("0.04")}
    assert network.balance(RECIPIENT, network.usdc) == 400_000
