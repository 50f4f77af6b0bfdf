"""The shop under attack, with endpoints that have their own ideas of caches.

Run by uvicorn.
"""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from fastapi import HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from mpp_asgi import Price, price
from tests.attacks.shop import FILE, app, sell

__all__ = ["app"]

_LATER = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
WORDS: dict[str, dict[str, str]] = {
    "nothing": {},
    "public": {"Cache-Control": "public, max-age=600"},
    "shared": {"Cache-Control": "s-maxage=600, stale-while-revalidate=600, stale-if-error=600"},
    "immutable": {"Cache-Control": "max-age=600, immutable", "ETag": '"1"', "Age": "1"},
    "understood": {"Cache-Control": "must-understand, max-age=600"},
    "in-quotes": {"Cache-Control": 'public, private="Set-Cookie", max-age=600'},
    "expires": {"Expires": _LATER},
    "accel": {"X-Accel-Expires": "600"},
    "accel-and-more": {"X-Accel-Expires": "600", "Cache-Control": "public, max-age=600"},
    "surrogate": {"Surrogate-Control": "max-age=600"},
    "targeted": {"CDN-Cache-Control": "max-age=600", "Example-CDN-Cache-Control": "max-age=600"},
    "varying": {"Cache-Control": "public, max-age=600", "Vary": "Accept-Encoding"},
    "validated": {"ETag": '"1"', "Last-Modified": "Sun, 22 Nov 2026 00:00:00 GMT"},
}
"""What an endpoint may say of caches, by a word for it."""


_numbers = itertools.count()


@app.get("/kept")
async def kept() -> Response:
    """Free, and for everybody to keep."""
    return JSONResponse({"number": next(_numbers)}, headers=WORDS["public"])


@app.get("/words/{word}")
@price("0.01")
async def words(request: Request, word: str) -> Response:
    return JSONResponse({"goods": sell(request, "words")}, headers=WORDS[word])


@app.get("/worded-after/{word}")
@price("0.01", settle="after")
async def worded_after(request: Request, word: str) -> Response:
    return JSONResponse({"goods": sell(request, "worded-after")}, headers=WORDS[word])


@app.get("/file")
@price("0.01")
async def file(request: Request) -> FileResponse:
    """With validators and ranges, as files are served."""
    path = FILE.with_name("file.txt")
    await asyncio.to_thread(path.write_text, sell(request, "file") * 100)
    return FileResponse(path)


@app.get("/gone")
@price("0.01")
async def gone(request: Request) -> None:
    """Paid, and the answer is that there is nothing."""
    raise HTTPException(410, sell(request, "gone"))


def for_members(request: Request) -> str | Price:
    return Price.free() if request.headers.get("x-plan") == "member" else "0.01"


@app.get("/for-members")
@price(for_members, vary=["x-plan"])
async def members_only(request: Request) -> dict[str, str]:
    """Free for some."""
    return {"goods": sell(request, "for-members")}
