"""The shop with pympp's decorator, put together as its README has it.

With what its documentation recommends: a store that all workers share, and the body's digest on
routes that take one. Run by uvicorn.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from mpp import Credential, Receipt
from mpp.methods.evm import server as evm
from mpp.methods.evm.assets import BASE_SEPOLIA_USDC
from mpp.server.decorator import pay
from mpp.server.mpp import Mpp
from mpp.stores import RedisStore
from redis.asyncio import from_url
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.shops import wares

logging.basicConfig(level=os.environ.get("LOG_LEVEL", "WARNING"))

Ware = Callable[[Request], Awaitable[Response]]
Price = str | Callable[[Request], str]

app = FastAPI(docs_url=None, redoc_url=None)
server = Mpp(
    methods=evm.charge(
        currency=BASE_SEPOLIA_USDC,
        recipient=os.environ["RECIPIENT"],
        facilitator=os.environ["FACILITATOR"],
    ),
    realm="shop.test",
    secret_key=os.environ["SECRET"],
    store=RedisStore(from_url(os.environ["REDIS"])),
)


def gated(ware: Ware, price: Price, **options: Any) -> Ware:
    """The endpoint, once it is paid."""

    async def endpoint(request: Request, credential: Credential, receipt: Receipt) -> Response:
        return await ware(request)

    async def quoted(request: Request) -> Response:
        amount = price if isinstance(price, str) else price(request)
        answer: Response = await pay(server.charge(amount=amount, **options))(endpoint)(request)
        return answer

    if callable(price):
        return quoted
    decorated: Ware = pay(server.charge(amount=price, **options))(endpoint)
    return decorated


def by_size(request: Request) -> str:
    return "1" if wares.is_large(request.query_params.get("size")) else "0.01"


def by_plan(request: Request) -> str:
    return "1" if wares.is_gold(request.headers.get("x-plan")) else "0.01"


PRICED: dict[str, tuple[Ware, Price]] = {
    "/paid": (wares.paid, "0.01"),
    "/twin": (wares.twin, "0.01"),
    "/dear": (wares.dear, "1"),
    "/items/{name}": (wares.item, "0.01"),
    "/sizes": (wares.size, by_size),
    "/plans": (wares.plan, by_plan),
    "/shelf/{path:path}": (wares.shelf, "0.01"),
    "/stream": (wares.stream, "0.01"),
    "/endless": (wares.endless, "0.01"),
    "/download": (wares.download, "0.01"),
    "/failing": (wares.failing, "0.01"),
    "/busy": (wares.busy, "0.01"),
    "/breaking": (wares.breaking, "0.01"),
    "/hanging": (wares.hanging, "0.01"),
}


@app.get("/")
async def free() -> dict[str, str]:
    return {"this": "is free"}


for _path, (_ware, _price) in PRICED.items():
    app.add_api_route(_path, gated(_ware, _price), methods=["GET"])
app.add_api_route(
    "/any",
    gated(wares.anything, "0.01", body=lambda request: request.body),
    methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
)
app.router.add_route("/plain", gated(wares.plain, "0.01"))  # Starlette's own: HEAD as well
