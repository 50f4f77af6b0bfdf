"""Sessions between the payer and this project's own server side, in process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from stellar_sdk import Keypair

from mpp_asgi import PaymentMiddleware, price
from mpp_asgi.client import ChannelFile, PaymentAuth, SessionPolicy, Status
from mpp_asgi.fastapi import CurrentPayment
from mpp_asgi.methods import sandbox_key
from mpp_asgi.protocol import Credential
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.settlement import settle_now
from tests.client.test_against_the_middleware import Time, served
from tests.session.drawer import till_of

PAYERS = [Keypair.from_raw_ed25519_seed(bytes([n]) * 32) for n in (1, 2, 3)]
FUNDED = 10
PRICE = 100_000
RECIPIENT = sandbox_key("recipient").public_key


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def network(time: Time) -> Sandbox:
    sandbox = Sandbox(close_interval=1, clock=time)
    for payer in PAYERS:
        sandbox.fund(payer.public_key, usdc=FUNDED)
    return sandbox


def paid_app(network: Sandbox, time: Time, **settings: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(
        PaymentMiddleware,
        network="sandbox",
        sandbox=network,
        clock=time,
        sleep=time.sleep,
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

    @app.get("/moody")
    @price("0.01")
    async def moody() -> str:
        if failures:
            raise failures.pop()
        return "fine"

    @app.get("/free")
    async def free() -> str:
        return "free"

    return app


@asynccontextmanager
async def visiting(
    app: FastAPI, time: Time, network: Sandbox, *, payer: Keypair = PAYERS[0], **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, PaymentAuth, list[httpx.Request]]]:
    defaults: dict[str, Any] = {"budget": "5", "sessions": "always"}
    auth = PaymentAuth(
        payer, rpc=network.rpc, clock=time, async_sleep=time.sleep, **(defaults | settings)
    )
    seen: list[httpx.Request] = []

    async def see(request: httpx.Request) -> None:
        seen.append(request)

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        auth=auth,
        base_url="http://localhost",
        event_hooks={"request": [see]},
    ) as client:
        yield client, auth, seen


def balance(network: Sandbox, address: str) -> int:
    return network.balance(address, network.usdc)


async def test_three_payers_on_three_channels_at_once(network: Sandbox, time: Time) -> None:
    app = paid_app(network, time)
    before = balance(network, RECIPIENT)
    async with AsyncExitStack() as stack:
        visits = [
            await stack.enter_async_context(visiting(app, time, network, payer=payer))
            for payer in PAYERS
        ]

        async def calls(client: httpx.AsyncClient, count: int) -> None:
            for n in range(count):
                answer = await client.get(f"/forecast/{n}")
                assert answer.json() == {"city": str(n)}

        await asyncio.gather(*(calls(client, 20 + n) for n, (client, _, _) in enumerate(visits)))
        for n, (client, auth, seen) in enumerate(visits):
            assert len(seen) == 1 + 20 + n  # one 402 in all
            [closed] = await auth.aclose_sessions(client)
            assert closed.status is Status.CLOSED
            assert closed.owed == closed.signed == (20 + n) * PRICE
            left = balance(network, PAYERS[n].public_key)
            assert left == FUNDED * 10**7 - closed.owed
            assert balance(network, closed.id) == 0
    assert balance(network, RECIPIENT) - before == 63 * PRICE


@pytest.mark.parametrize("kind", ["factory", "code"])
@pytest.mark.parametrize("mode", ["pull", "push"])
async def test_every_way_to_open_and_to_top_up(
    network: Sandbox, time: Time, kind: str, mode: str
) -> None:
    app = paid_app(network, time)
    policy = SessionPolicy(
        after="always",
        expected_calls=2,
        factories=[network.channel_factory] if kind == "factory" else [],
    )
    async with visiting(app, time, network, sessions=policy, mode=mode) as (client, auth, _):
        for n in range(5):
            assert (await client.get(f"/forecast/{n}")).status_code == 200
        [channel] = auth.channels
        assert channel.deposit == balance(network, channel.id) == 6 * PRICE
        [closed] = await auth.aclose_sessions(client)
        assert closed.owed == 5 * PRICE


async def test_bodies_prices_and_free_routes(network: Sandbox, time: Time) -> None:
    app = paid_app(network, time)
    async with visiting(app, time, network) as (client, auth, seen):
        for text in ("one", "two", "three"):
            assert (await client.post("/echo", content=text)).json() == text
        assert (await client.get("/free")).json() == "free"
        assert (await client.get("/forecast/paris")).status_code == 200
        assert (await client.post("/echo", content="four")).json() == "four"
        assert len(seen) == 4 + 1 + 2 + 1
        [closed] = await auth.aclose_sessions(client)
        assert closed.owed == 4 * 2 * PRICE + PRICE


async def test_a_handler_that_fails_is_not_paid(network: Sandbox, time: Time) -> None:
    app = paid_app(network, time)
    async with visiting(app, time, network) as (client, auth, _):
        await client.get("/forecast/paris")
        assert (await client.get("/moody")).status_code == 500
        assert (await client.get("/moody")).json() == "fine"
        assert auth.channels[0].signed == 2 * PRICE
        [closed] = await auth.aclose_sessions(client)
        assert closed.owed == 2 * PRICE


async def test_both_sides_start_again(network: Sandbox, time: Time, tmp_path: Path) -> None:
    kept, store = tmp_path / "channels.sqlite", f"sqlite:///{tmp_path / 'store.sqlite'}"
    for n in range(3):
        app = paid_app(network, time, store=store, secret="s" * 40)
        async with visiting(app, time, network, channels=ChannelFile(kept)) as (client, auth, _):
            await client.get("/forecast/paris")
            assert len(auth.channels) == 1
            assert auth.channels[0].owed == (n + 1) * PRICE


async def test_a_server_that_forgot_the_channel(network: Sandbox, time: Time) -> None:
    async with visiting(paid_app(network, time, secret="s" * 40), time, network) as (
        client,
        auth,
        _,
    ):
        for _ in range(2):
            await client.get("/forecast/paris")
        fresh = httpx.ASGITransport(paid_app(network, time, secret="s" * 40))
        async with httpx.AsyncClient(
            transport=fresh, auth=auth, base_url="http://localhost"
        ) as again:
            assert (await again.get("/forecast/paris")).status_code == 200
            [closed] = await auth.aclose_sessions(again)
    assert closed.status is Status.CLOSED


async def test_many_at_once(network: Sandbox, time: Time) -> None:
    app = paid_app(network, time)
    async with visiting(app, time, network) as (client, auth, _):
        for _ in range(3):
            answers = await asyncio.gather(*(client.get(f"/forecast/{n}") for n in range(20)))
            assert [each.status_code for each in answers] == [200] * 20
        [closed] = await auth.aclose_sessions(client)
        assert closed.owed == 60 * PRICE


async def test_an_answer_that_arrives_during_a_top_up(network: Sandbox, time: Time) -> None:
    """It says nothing of the top-up, of which the server does not know yet."""
    app = paid_app(network, time)
    arrived, go_on = asyncio.Event(), asyncio.Event()

    @app.get("/slow")
    @price("0.01")
    async def slow() -> str:
        arrived.set()
        await go_on.wait()
        return "at last"

    policy = SessionPolicy(after="always", expected_calls=2)
    async with visiting(app, time, network, sessions=policy) as (client, auth, _):
        await client.get("/forecast/0")
        waits = asyncio.create_task(client.get("/slow"))
        await arrived.wait()
        others: list[asyncio.Task[httpx.Response]] = []

        async def hold_the_top_up(request: httpx.Request) -> None:
            shown = dict(request.headers.raw).get(b"Authorization", b"").decode()
            if shown and Credential.from_header(shown).payload["action"] == "topUp":
                go_on.set()
                assert (await waits).json() == "at last"
                others.append(asyncio.create_task(client.get("/forecast/2")))
                for _ in range(50):
                    await asyncio.sleep(0)

        client.event_hooks = {"request": [hold_the_top_up]}
        assert (await client.get("/forecast/1")).status_code == 200
        assert (await others[0]).status_code == 200
        assert auth.channels[0].deposit == balance(network, auth.channels[0].id) == 4 * PRICE


class Overtaking(httpx.AsyncBaseTransport):
    """Requests come in another order than they were sent in."""

    def __init__(self, app: FastAPI) -> None:
        self.inner = httpx.ASGITransport(app)
        self.count = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        for _ in range(self.count * 7 % 11):
            await asyncio.sleep(0)
        return await self.inner.handle_async_request(request)


async def test_vouchers_that_overtake_each_other(network: Sandbox, time: Time) -> None:
    app = paid_app(network, time)
    async with visiting(app, time, network) as (opening, auth, _):
        await opening.get("/forecast/0")
        async with httpx.AsyncClient(
            transport=Overtaking(app), auth=auth, base_url="http://localhost"
        ) as client:
            for _ in range(2):
                answers = await asyncio.gather(*(client.get(f"/forecast/{n}") for n in range(40)))
                assert [each.status_code for each in answers] == [200] * 40
        [closed] = await auth.aclose_sessions(opening)
        assert closed.owed == closed.signed == 81 * PRICE


async def test_closing_long_after_the_last_request(network: Sandbox, time: Time) -> None:
    async with visiting(paid_app(network, time), time, network) as (client, auth, seen):
        await client.post("/echo", content="one")
        time.now += 10_000
        [closed] = await auth.aclose_sessions(client)
        assert closed.owed == 2 * PRICE
        assert [each.method for each in seen] == ["POST", "POST", "HEAD", "POST"]


def test_a_stream_over_sockets() -> None:
    network = Sandbox(close_interval=0.02)
    network.fund(PAYERS[0].public_key, usdc=FUNDED)
    app = FastAPI()
    app.add_middleware(PaymentMiddleware, network="sandbox", sandbox=network)

    @app.get("/tokens")
    @price("0.01")
    async def tokens(payment: CurrentPayment) -> StreamingResponse:
        async def words() -> AsyncIterator[str]:
            for n in range(25):
                yield f"word {n}"

        assert payment is not None
        meter = payment.meter("0.001")
        return StreamingResponse(meter.stream(words()), media_type="text/event-stream")

    with served(network.app) as rpc, served(app) as shop:
        auth = PaymentAuth(PAYERS[0], budget="1", rpc=rpc, sessions="always")
        with httpx.Client(base_url=shop, timeout=30) as client:
            with auth.stream(client, "GET", "/tokens", limit="0.05") as events:
                assert [event.data for event in events] == [f"word {n}" for n in range(25)]
            [closed] = auth.close_sessions(client)
    assert closed.owed == PRICE + 25 * PRICE // 10
    assert balance(network, PAYERS[0].public_key) == FUNDED * 10**7 - closed.owed


@pytest.mark.parametrize("delta", [0, "0.001"])
async def test_a_voucher_that_was_settled_with_headroom_is_raised(
    network: Sandbox, time: Time, delta: object
) -> None:
    """Everybody can show it by then, so the server wants another; nothing of it is lost."""
    app, before = paid_app(network, time, min_voucher_delta=delta), balance(network, RECIPIENT)
    async with visiting(app, time, network) as (client, auth, seen):
        await client.get("/forecast/paris")
        assert (await client.get("/moody")).status_code == 500
        till = till_of(app)
        assert await settle_now(till.cashier._store, till.cashier, auth.channels[0].id)
        asked = len(seen)
        assert (await client.get("/moody")).json() == "fine"
        assert len(seen) == asked + 2  # the voucher of before, and a higher one
        assert auth.channels[0].signed == 2 * PRICE + (10_000 if delta else 1)
        await client.get("/forecast/paris")
        assert len(seen) == asked + 3
        [closed] = await auth.aclose_sessions(client)
        assert closed.owed == 3 * PRICE
    assert balance(network, RECIPIENT) == before + 3 * PRICE
