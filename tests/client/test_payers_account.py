"""A payer whose account is not ready: which error it is, and what it says to do."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from stellar_sdk import Keypair

from mpp_asgi import PaymentMiddleware, price
from mpp_asgi.client import PaymentAuth, PaymentRefusedError, TransferFailedError
from mpp_asgi.sandbox import Sandbox

KEY = Keypair.from_raw_ed25519_seed(b"r" * 32)
FUND = "`mpp-asgi fund` creates one on a test network."
TRUST = "`mpp-asgi trust USDC` adds the payer's."
SEND = "send the payer more of the token."


@pytest.mark.parametrize(
    ("has", "remedy"), [(None, FUND), ({"xlm": 5}, TRUST), ({"xlm": 5, "usdc": 0}, SEND)]
)
@pytest.mark.parametrize(
    ("way", "error"),
    [
        ({}, PaymentRefusedError),
        ({"sponsored": False}, TransferFailedError),
        ({"mode": "push"}, TransferFailedError),
    ],
    ids=str,
)
async def test_an_account_that_is_not_ready(
    has: dict[str, int] | None, remedy: str, way: dict[str, Any], error: type[Exception]
) -> None:
    sandbox = Sandbox(close_interval=None)
    if has is not None and "usdc" in has:
        sandbox.fund(KEY.public_key, **has)
    elif has is not None:
        sandbox.friendbot(KEY.public_key)
    app = FastAPI()
    app.add_middleware(PaymentMiddleware, network="sandbox", sandbox=sandbox)
    app.get("/")(price("0.01")(lambda: "content"))
    auth = PaymentAuth(KEY, budget="1", rpc=sandbox.rpc, **way)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="https://test", auth=auth
    ) as client:
        with pytest.raises(error) as refused:
            await client.get("/")
    assert str(refused.value).endswith(remedy)


async def test_what_was_paid_is_known_in_whole_tokens() -> None:
    sandbox = Sandbox(close_interval=0.05)
    sandbox.fund(KEY.public_key, usdc=5)
    app = FastAPI()
    app.add_middleware(PaymentMiddleware, network="sandbox", sandbox=sandbox)
    app.get("/")(price("0.0100001")(lambda: "content"))
    for sessions in ("never", "always"):
        auth = PaymentAuth(KEY, budget="2", rpc=sandbox.rpc, sessions=sessions)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="https://test", auth=auth
        ) as client:
            assert (await client.get("/")).status_code == 200
        (paid,) = auth.paid
        assert (paid.amount, paid.decimals) == (100_001, 7)
        assert str(paid.human_amount) == "0.0100001"
