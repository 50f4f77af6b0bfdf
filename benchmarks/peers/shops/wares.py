"""What the shops sell, the same in each: handlers that know nothing of payments.

They do what those of `tests.attacks.shop` do, at the same prices, in base units of six decimals.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse

from tests.attacks import goods

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

CENT = 10_000
DEAR = 100 * CENT

FILE = Path(os.environ.get("GOODS", "goods.txt"))
RELEASE = FILE.with_suffix(".release")
failures: Counter[tuple[str, str]] = Counter()


def sell(request: Request, route: str, amount: int = CENT) -> str:
    tag = request.headers.get(goods.TAG, "nobody")
    return goods.make(FILE, tag, route, amount)


def fails_first(request: Request, route: str) -> bool:
    key = (request.headers.get(goods.TAG, ""), route)
    failures[key] += 1
    return failures[key] == 1


async def paid(request: Request) -> Response:
    return JSONResponse({"goods": sell(request, "paid")})


async def twin(request: Request) -> Response:
    return JSONResponse({"goods": sell(request, "twin")})


async def dear(request: Request) -> Response:
    return JSONResponse({"goods": sell(request, "dear", DEAR)})


async def item(request: Request) -> Response:
    return JSONResponse({"name": request.path_params.get("name"), "goods": sell(request, "items")})


async def anything(request: Request) -> Response:
    await request.body()
    return JSONResponse({"method": request.method, "goods": sell(request, "any")})


async def plain(request: Request) -> Response:
    return JSONResponse({"goods": sell(request, "plain")})


async def shelf(request: Request) -> Response:
    if request.path_params.get("path") == "free.txt":
        return PlainTextResponse("free")
    return PlainTextResponse(sell(request, "shelf"))


def is_large(size: str | None) -> bool:
    return size == "large"


async def size(request: Request) -> Response:
    amount = DEAR if is_large(request.query_params.get("size")) else CENT
    return JSONResponse({"goods": sell(request, "sizes", amount)})


def is_gold(plan: str | None) -> bool:
    return plan == "gold"


async def plan(request: Request) -> Response:
    amount = DEAR if is_gold(request.headers.get("x-plan")) else CENT
    return JSONResponse({"goods": sell(request, "plans", amount)})


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[str]:
        made = sell(request, "stream")
        for _ in range(5):
            yield f"{made}\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(parts(), media_type="text/plain")


async def endless(request: Request) -> Response:
    """Goes on until it is released, or hung up on."""

    async def parts() -> AsyncIterator[str]:
        made = sell(request, "endless")
        yield f"{made}\n"
        while not RELEASE.exists():  # it is another process that makes it
            yield "...\n"
            await asyncio.sleep(0.02)

    return StreamingResponse(parts(), media_type="text/plain")


async def download(request: Request) -> Response:
    made = sell(request, "download")
    file = FILE.with_name(f"{made.rpartition('/')[2]}.txt")
    file.write_text(made)  # a few bytes
    return FileResponse(file)


async def failing(request: Request) -> Response:
    if fails_first(request, "failing"):
        raise RuntimeError("the handler has a bug")
    return JSONResponse({"goods": sell(request, "failing")})


async def busy(request: Request) -> Response:
    if fails_first(request, "busy"):
        return JSONResponse({"detail": "Come back."}, 503, {"Retry-After": "0"})
    return JSONResponse({"goods": sell(request, "busy")})


async def breaking(request: Request) -> Response:
    """Its stream breaks after the first part, the first time."""
    breaks = fails_first(request, "breaking")

    async def parts() -> AsyncIterator[str]:
        made = sell(request, "breaking")
        yield f"{made}\n"
        if breaks:
            raise RuntimeError("the stream has a bug")
        yield "that was all\n"

    return StreamingResponse(parts(), media_type="text/plain")


async def hanging(request: Request) -> Response:
    """Hangs the first time, until it is released."""
    if fails_first(request, "hanging"):
        FILE.with_suffix(".hanging").touch()  # nothing is written
        while not RELEASE.exists():  # noqa: ASYNC110 # as above
            await asyncio.sleep(0.02)
    return JSONResponse({"goods": sell(request, "hanging")})
