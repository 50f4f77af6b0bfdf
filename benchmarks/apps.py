"""The apps that are measured: the same two routes, plain and sold in three ways."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from stellar_sdk import Keypair

from benchmarks.yes import YesIntent
from mpp_asgi import PaymentMiddleware, price

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

FREE = "/forecast"
PAID = "/forecast/hourly"
PRICE = "0.01"
SECRET = "only-benchmarks-know-this-secret-of-theirs"


class PassThrough:
    """The least a pure ASGI middleware can do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


async def forecast() -> dict[str, object]:
    return {"city": "Lisbon", "celsius": 21, "sky": "clear"}


async def hourly() -> dict[str, object]:
    return {"city": "Lisbon", "celsius": 21, "sky": "clear"}


def _plain() -> FastAPI:
    app = FastAPI()
    app.get(FREE)(forecast)
    app.get(PAID)(hourly)
    return app


def _sold() -> FastAPI:
    app = FastAPI()
    app.get(FREE)(forecast)
    app.get(PAID)(price(PRICE)(hourly))
    return app


bare = _plain()

passed_through = _plain()
passed_through.add_middleware(PassThrough)


def _paid_by(**further: Any) -> FastAPI:
    app = _sold()
    settings = {
        "network": "stellar:testnet",
        "rpc_url": "http://127.0.0.1:9",  # never asked: nothing here gets as far as the ledger
        "recipient": _key("recipient").public_key,
        "secret": SECRET,
        "store": "memory://",
        **further,
    }
    app.add_middleware(PaymentMiddleware, **settings)
    return app


def charged_over(store: str) -> FastAPI:
    """What is sold for a charge each, with its records in a store by URL."""
    return _paid_by(store=store)


def _key(role: str) -> Keypair:
    return Keypair.from_raw_ed25519_seed(sha256(role.encode()).digest())


# Without a sponsor each 402 offers one way to pay, with a sponsor two.
charged = _paid_by()

sponsored = _paid_by(sponsor=_key("sponsor").secret)

SESSION_STORE = "BENCHMARK_SESSION_STORE"
"""The environment variable that names the store of what is sold in sessions."""
RECIPIENT = _key("recipient").public_key

in_sessions = _paid_by(
    recipient_secret=_key("recipient").secret,
    channel_wasm_hashes=["0" * 64],
    intents=["session"],
    settle_amount=None,  # the guardian would ask the network, and there is none
    guardian_interval=3_600,
    store=os.environ.get(SESSION_STORE, "memory://"),
)

nodded_through = _paid_by(intents=[YesIntent])
