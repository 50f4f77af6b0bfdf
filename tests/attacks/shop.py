"""The application under attack: one route for each thing that an attack needs.

Run by uvicorn. What its handlers make is written down in the ``GOODS`` file.
"""

import asyncio
import logging
import os
import posixpath
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.security import HTTPBearer
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mpp_asgi import PaymentMiddleware, price
from mpp_asgi.fastapi import CurrentPayment
from tests.attacks import goods

CENT = 100_000
"""0.01 USDC in base units: what most of it costs."""
TOKEN = 1_000
"""What a unit of the metered stream costs."""
DEAR = 100 * CENT

FILE = Path(os.environ["GOODS"])
RELEASE = FILE.with_suffix(".release")
"""While there is no such file, what hangs goes on hanging."""
logging.basicConfig(level=os.environ.get("LOG_LEVEL", "WARNING"))

app = FastAPI(docs_url=None, redoc_url=None)
failures: Counter[tuple[str, str]] = Counter()
ahead = {"seconds": 0.0}


class Kiosk:
    """Middleware with goods of its own, where no route is: they are asked to be paid for after they
    were made."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_asked = scope["type"] == "http" and scope["path"] == "/kiosk/goods"
        if is_asked and scope["method"] != "OPTIONS":  # which a price for every method leaves free
            response = PlainTextResponse(sell(Request(scope), "after-kiosk"))
            await response(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def clock() -> float:
    return time.time() + ahead["seconds"]


async def quick_sleep(seconds: float) -> None:
    """Ledgers close many times faster here than on the real network: so look more often."""
    await asyncio.sleep(0.05 if 0.5 <= seconds <= 2 else seconds)


app.add_middleware(Kiosk)
app.add_middleware(
    PaymentMiddleware,
    clock=clock,
    sleep=quick_sleep,
    prices={
        "GET /shelf/free.txt": None,
        "GET /shelf/{path:path}": "0.01",
        "GET /vault/dear.txt": "1",
        "GET /relay/dear": "1",
        "OPTIONS /relay/dear": "1",
        "/kiosk/{path:path}": "0.01",
        "GET /lane/cheap/{path:path}": "0.01",
        "GET /lane/dear/{path:path}": "1",
    },
)


def sell(request: HTTPConnection, route: str, amount: int = CENT) -> str:
    tag = request.headers.get(goods.TAG, "nobody")
    return goods.make(FILE, tag, route, amount)


def fails_first(request: Request, route: str) -> bool:
    """Whether it is the first time for this attack."""
    key = (request.headers.get(goods.TAG, ""), route)
    failures[key] += 1
    return failures[key] == 1


# Free


@app.get("/")
async def free() -> dict[str, str]:
    return {"this": "is free"}


@app.get("/worker")
async def worker() -> dict[str, int]:
    return {"worker": os.getpid()}


@app.post("/control/clock")
async def set_clock(seconds: float) -> dict[str, float]:
    """Put the server's clock so much ahead."""
    ahead["seconds"] = seconds
    return ahead


# A fixed price


@app.get("/paid")
@price("0.01")
async def paid(request: Request) -> dict[str, str]:
    return {"goods": sell(request, "paid")}


@app.get("/twin")
@price("0.01")
def twin(request: Request) -> dict[str, str]:
    return {"goods": sell(request, "twin")}


@app.get("/dear")
@price("1")
async def dear(request: Request) -> dict[str, str]:
    return {"goods": sell(request, "dear", DEAR)}


@app.get("/items/{name}")
@price("0.01")
async def item(request: Request, name: str) -> dict[str, str]:
    return {"name": name, "goods": sell(request, "items")}


@app.api_route("/any", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@price("0.01")
async def anything(request: Request) -> dict[str, str]:
    await request.body()
    return {"method": request.method, "goods": sell(request, "any")}


@price("0.01")
async def plain(request: Request) -> Response:
    return JSONResponse({"goods": sell(request, "plain")})


app.router.add_route("/plain", plain)  # Starlette's own, which answers HEAD as well

nested = APIRouter(prefix="/nested")


@nested.get("/goods")
@price("0.01")
async def nested_goods(request: Request) -> dict[str, str]:
    return {"goods": sell(request, "nested")}


inner = APIRouter(prefix="/inner")
inner.include_router(nested)
app.include_router(inner)


class Wing(HTTPEndpoint):
    @price("0.01")
    async def get(self, request: Request) -> Response:
        return JSONResponse({"goods": sell(request, "wing")})


app.mount("/wing", Starlette(routes=[Route("/goods", Wing)]))


@app.websocket("/socket")
@price("0.01")
async def socket(websocket: WebSocket) -> None:
    """Its goods are in the answer to the handshake."""
    await websocket.accept(headers=[(b"x-goods", sell(websocket, "socket").encode())])
    await websocket.close()


@app.get("/charged")
@price("0.01", intents=["charge"])
async def charged(request: Request) -> dict[str, str]:
    return {"goods": sell(request, "charged")}


# A price that depends


async def by_length(request: Request) -> str:
    return "0.01" if len(await request.body()) <= 10 else "1"


@app.post("/essays")
@price(by_length)
async def essay(request: Request) -> dict[str, str]:
    amount = CENT if len(await request.body()) <= 10 else DEAR
    return {"goods": sell(request, "essays", amount)}


def by_plan(request: Request) -> str:
    return "1" if request.headers.get("x-plan") == "gold" else "0.01"


@app.get("/plans")
@price(by_plan, vary=["x-plan"])
async def plan(request: Request) -> dict[str, str]:
    amount = DEAR if request.headers.get("x-plan") == "gold" else CENT
    return {"goods": sell(request, "plans", amount)}


def by_size(request: Request) -> str:
    return "1" if request.query_params.get("size") == "large" else "0.01"


@app.get("/sizes")
@price(by_size)
async def size(request: Request) -> dict[str, str]:
    amount = DEAR if request.query_params.get("size") == "large" else CENT
    return {"goods": sell(request, "sizes", amount)}


# Paid once it succeeded


@app.get("/after")
@price("0.01", settle="after")
async def after(request: Request) -> dict[str, str]:
    return {"goods": sell(request, "after")}


@app.get("/after-stream")
@price("0.01", settle="after")
async def after_stream(request: Request) -> StreamingResponse:
    return StreamingResponse(_parts(request, "after-stream", 5), media_type="text/plain")


@app.get("/after-failing")
@price("0.01", settle="after")
async def after_failing(request: Request) -> dict[str, str]:
    if fails_first(request, "after-failing"):
        raise HTTPException(500, "The first time fails.")
    return {"goods": sell(request, "after-failing")}


# Streams and files


async def _parts(request: Request, route: str, count: int) -> AsyncIterator[str]:
    made = sell(request, route)
    for _ in range(count):
        yield f"{made}\n"
        await asyncio.sleep(0.01)


@app.get("/stream")
@price("0.01")
async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(_parts(request, "stream", 5), media_type="text/plain")


@app.get("/endless")
@price("0.01")
async def endless(request: Request) -> StreamingResponse:
    """Goes on until it is released, or hung up on."""

    async def parts() -> AsyncIterator[str]:
        made = sell(request, "endless")
        yield f"{made}\n"
        while not RELEASE.exists():
            yield "...\n"
            await asyncio.sleep(0.02)

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/download")
@price("0.01")
async def download(request: Request) -> FileResponse:
    made = sell(request, "download")
    file = FILE.with_name(f"{made.rpartition('/')[2]}.txt")
    file.write_text(made)
    return FileResponse(file)


@app.get("/tokens")
@price("0.01", intents=["session"])
async def tokens(request: Request, payment: CurrentPayment, count: int = 10) -> StreamingResponse:
    assert payment is not None

    async def units() -> AsyncIterator[str]:
        yield sell(request, "entry", CENT)
        for _ in range(count):
            yield sell(request, "token", TOKEN)

    events = payment.meter("0.0001").stream(units(), units=lambda text: int("/token/" in text))
    return StreamingResponse(events, media_type="text/event-stream")


# What goes wrong


@app.get("/failing")
@price("0.01")
async def failing(request: Request) -> dict[str, str]:
    if fails_first(request, "failing"):
        raise RuntimeError("the handler has a bug")
    return {"goods": sell(request, "failing")}


@app.get("/busy")
@price("0.01")
async def busy(request: Request) -> dict[str, str]:
    if fails_first(request, "busy"):
        raise HTTPException(503, "Come back.", {"Retry-After": "0"})
    return {"goods": sell(request, "busy")}


@app.get("/breaking")
@price("0.01")
async def breaking(request: Request) -> StreamingResponse:
    """Its stream breaks after the first part, the first time."""
    breaks = fails_first(request, "breaking")

    async def parts() -> AsyncIterator[str]:
        made = sell(request, "breaking")
        yield f"{made}\n"
        if breaks:
            raise RuntimeError("the stream has a bug")
        yield "that was all\n"

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/hanging")
@price("0.01")
async def hanging(request: Request) -> dict[str, str]:
    """Hangs the first time, until it is released."""
    if fails_first(request, "hanging"):
        FILE.with_suffix(".hanging").touch()
        while not RELEASE.exists():  # noqa: ASYNC110 # it is another process that makes it
            await asyncio.sleep(0.02)
    return {"goods": sell(request, "hanging")}


@app.get("/items/{name}/owner")
@price("0.01")
async def owner(request: Request, name: str) -> dict[str, str]:
    if name == "nothing":
        raise HTTPException(404, "No such thing.")
    return {"goods": sell(request, "owner")}


# The application's own authentication

bearer = HTTPBearer()


@app.get("/members")
@price("0.01")
async def members(request: Request, _: Annotated[object, Depends(bearer)]) -> dict[str, str]:
    return {"goods": sell(request, "members")}


# Priced by path: the application knows nothing of it


@app.get("/shelf/{path:path}")
async def shelf(request: Request, path: str) -> Response:
    if path == "free.txt":
        return PlainTextResponse("free")
    return PlainTextResponse(sell(request, "shelf"))


@app.get("/vault/{path:path}")
async def vault(request: Request, path: str) -> Response:
    """Finds its files as file servers do, however their paths are spelled. One has a price."""
    if posixpath.normpath(f"/{path}".partition(";")[0]) == "/dear.txt":
        return PlainTextResponse(sell(request, "vault", DEAR))
    raise HTTPException(404)


@app.api_route("/relay/{path:path}", methods=["GET", "OPTIONS"])
async def relay(request: Request, path: str) -> Response:
    """Makes a URL of the path for an upstream, which decodes it once more, and leaves out tabs as
    parsers of URLs do. One has a price."""
    decoded = unquote(f"/{path}".partition("?")[0].partition("#")[0]).replace("\t", "")
    if posixpath.normpath(decoded.partition(";")[0]) == "/dear":
        return PlainTextResponse(sell(request, "relay", DEAR))
    raise HTTPException(404)


@app.get("/lane/cheap/{path:path}")
async def cheap_lane(request: Request, path: str) -> Response:
    """Takes whatever follows, as those do who write answers and not files."""
    return PlainTextResponse(sell(request, "cheap-lane"))


@app.get("/lane/dear/{path:path}")
async def dear_lane(request: Request, path: str) -> Response:
    return PlainTextResponse(sell(request, "dear-lane", DEAR))
