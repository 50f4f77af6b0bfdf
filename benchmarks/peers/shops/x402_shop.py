"""The shop with x402's middleware for FastAPI, put together as its seller's quickstart has it.

Run by uvicorn. ``X402_FLOW=upfront`` settles before the handler instead of after it.
"""

import logging
import os
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from x402.http import FacilitatorConfig, HTTPFacilitatorClient, PaymentOption
from x402.http.middleware.fastapi import PaymentMiddlewareASGI
from x402.http.types import HTTPRequestContext, RouteConfig
from x402.mechanisms.evm.exact import ExactEvmServerScheme
from x402.server import x402ResourceServer

from benchmarks.peers.shops import wares

NETWORK = "eip155:84532"
RECIPIENT = os.environ["RECIPIENT"]
FLOW = os.environ.get("X402_FLOW", "")
logging.basicConfig(level=os.environ.get("LOG_LEVEL", "WARNING"))

app = FastAPI(docs_url=None, redoc_url=None)


def costs(price: Any) -> RouteConfig:
    extra = {"paymentFlow": FLOW} if FLOW else None
    option = PaymentOption(
        scheme="exact", pay_to=RECIPIENT, price=price, network=NETWORK, extra=extra
    )
    return RouteConfig(accepts=[option], mime_type="application/json")


def by_size(context: HTTPRequestContext) -> str:
    return "$1" if wares.is_large(context.adapter.get_query_param("size")) else "$0.01"


def by_plan(context: HTTPRequestContext) -> str:
    return "$1" if wares.is_gold(context.adapter.get_header("x-plan")) else "$0.01"


ROUTES = {
    "GET /paid": costs("$0.01"),
    "GET /twin": costs("$0.01"),
    "GET /dear": costs("$1"),
    "GET /items/*": costs("$0.01"),
    "/any": costs("$0.01"),
    "GET /plain": costs("$0.01"),
    "GET /sizes": costs(by_size),
    "GET /plans": costs(by_plan),
    "GET /shelf/*": costs("$0.01"),
    "GET /stream": costs("$0.01"),
    "GET /endless": costs("$0.01"),
    "GET /download": costs("$0.01"),
    "GET /failing": costs("$0.01"),
    "GET /busy": costs("$0.01"),
    "GET /breaking": costs("$0.01"),
    "GET /hanging": costs("$0.01"),
}

server = x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=os.environ["FACILITATOR"])))
server.register(NETWORK, ExactEvmServerScheme())
app.add_middleware(PaymentMiddlewareASGI, routes=ROUTES, server=server)


@app.get("/")
async def free() -> dict[str, str]:
    return {"this": "is free"}


@app.get("/paid")
async def paid(request: Request) -> Response:
    return await wares.paid(request)


@app.get("/twin")
async def twin(request: Request) -> Response:
    return await wares.twin(request)


@app.get("/dear")
async def dear(request: Request) -> Response:
    return await wares.dear(request)


@app.get("/items/{name}")
async def item(request: Request) -> Response:
    return await wares.item(request)


@app.api_route("/any", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def anything(request: Request) -> Response:
    return await wares.anything(request)


app.router.add_route("/plain", wares.plain)  # Starlette's own, which answers HEAD as well


@app.get("/sizes")
async def size(request: Request) -> Response:
    return await wares.size(request)


@app.get("/plans")
async def plan(request: Request) -> Response:
    return await wares.plan(request)


@app.get("/shelf/{path:path}")
async def shelf(request: Request) -> Response:
    return await wares.shelf(request)


@app.get("/stream")
async def stream(request: Request) -> Response:
    return await wares.stream(request)


@app.get("/endless")
async def endless(request: Request) -> Response:
    return await wares.endless(request)


@app.get("/download")
async def download(request: Request) -> Response:
    return await wares.download(request)


@app.get("/failing")
async def failing(request: Request) -> Response:
    return await wares.failing(request)


@app.get("/busy")
async def busy(request: Request) -> Response:
    return await wares.busy(request)


@app.get("/breaking")
async def breaking(request: Request) -> Response:
    return await wares.breaking(request)


@app.get("/hanging")
async def hanging(request: Request) -> Response:
    return await wares.hanging(request)
