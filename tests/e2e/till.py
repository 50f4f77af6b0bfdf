"""A paid application whose endpoints misbehave on order, and leave a trace in the ``TRACE`` file.

Run by uvicorn, in a process or several.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fastapi import FastAPI

from mpp_asgi import PaymentMiddleware, price

TRACE = Path(os.environ["TRACE"])

app = FastAPI()
app.add_middleware(PaymentMiddleware)


def leave(trace: str) -> int:
    """Append a line, and say how many there are now."""
    with TRACE.open("a") as file:
        file.write(f"{trace}\n")
    return len(TRACE.read_text().splitlines())


@app.get("/served")
@price("0.01")
async def served() -> dict[str, int]:
    leave("served")
    return {"worker": os.getpid()}


@app.get("/worker")
async def worker() -> dict[str, int]:
    """Free."""
    return {"worker": os.getpid()}


@app.get("/crash")
@price("0.01")
async def crash() -> dict[str, int]:
    """Works the second time, whatever the exception was the first time."""
    if leave("crash") == 1:
        raise RuntimeError("the handler has a bug")
    return {"attempts": 2}


@app.get("/hang")
@price("0.01")
async def hang() -> dict[str, int]:
    """Hangs the first time: for as long as the process lives."""
    if leave("hang") == 1:
        await asyncio.sleep(3600)
    return {"attempts": 2}


@app.get("/after")
@price("0.01", settle="after")
async def after() -> dict[str, int]:
    """Fails the first time; is paid after it succeeded."""
    if leave("after") == 1:
        raise RuntimeError("the handler has a bug")
    return {"attempts": 2}
