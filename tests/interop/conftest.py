"""A seller under uvicorn for other implementations, and a payer who knows only the SDK."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mpp_asgi import PaymentMiddleware, price
from mpp_asgi.sandbox import Sandbox
from tests.servers import served
from tests.shop import RECIPIENT, SECRET, SPONSOR


@dataclass(frozen=True)
class Seller:
    """Its paid routes are ``GET /paid``, ``POST /order`` and, with a bearer token, ``/guarded``."""

    url: str
    rpc_url: str
    sandbox: Sandbox
    runs: list[str]

    def earned(self) -> int:
        return self.sandbox.balance(RECIPIENT.public_key, self.sandbox.usdc)


def paid_app(sandbox: Sandbox, runs: list[str], /, **settings: Any) -> FastAPI:
    """Sponsored, unless the settings say otherwise."""
    app = FastAPI()
    app.add_middleware(
        PaymentMiddleware,
        **{
            "network": "sandbox",
            "sandbox": sandbox,
            "recipient": RECIPIENT.public_key,
            "sponsor": SPONSOR.secret,
            "secret": SECRET,
            **settings,
        },
    )

    @app.get("/paid")
    @price("0.01", description='Tea "Earl Grey" — 5 €, 🍵')
    async def paid() -> dict[str, str]:
        runs.append("/paid")
        return {"resource": "paid"}

    @app.post("/order")
    @price("0.01")
    async def order(body: dict[str, str]) -> dict[str, str]:
        runs.append("/order")
        return body

    @app.get("/guarded")
    @price("0.01")
    async def guarded(
        token: HTTPAuthorizationCredentials = Depends(HTTPBearer()),  # noqa: B008 # FastAPI's way
    ) -> dict[str, str]:
        runs.append("/guarded")
        return {"token": token.credentials}

    return app


@pytest.fixture(scope="module")
def seller() -> Iterator[Seller]:
    runs: list[str] = []
    sandbox = Sandbox(close_interval=0.1)
    sandbox.fund(RECIPIENT.public_key)
    sandbox.fund(SPONSOR.public_key)
    with served(paid_app(sandbox, runs)) as url:
        yield Seller(url, f"{url}/.mpp/sandbox", sandbox, runs)
