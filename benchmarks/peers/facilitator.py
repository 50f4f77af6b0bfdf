"""The facilitator that both settle through: x402's own, over HTTP, on a chain in memory.

``POST /admin/...`` gives money, tells what there is, and brings trouble about. Run by uvicorn.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from x402 import x402Facilitator
from x402.mechanisms.evm.exact import ExactEvmFacilitatorScheme
from x402.schemas import PaymentPayload, PaymentRequirements

from benchmarks.peers.chain import Chain
from benchmarks.peers.trouble import Trouble
from benchmarks.peers.usdc import CHAIN, Token

chain = Chain(Token())
facilitator = x402Facilitator()
facilitator.register([f"eip155:{CHAIN}"], ExactEvmFacilitatorScheme(chain))
app = FastAPI(docs_url=None, redoc_url=None)
troubles: list[Trouble] = []
released = asyncio.Event()
held = {"now": 0}


@app.get("/supported")
async def supported() -> Response:
    said = facilitator.get_supported()
    return JSONResponse(said.model_dump(by_alias=True, exclude_none=True))


@app.post("/verify")
async def verify(request: Request) -> Response:
    return await _answered(request, "verify")


@app.post("/settle")
async def settle(request: Request) -> Response:
    return await _answered(request, "settle")


async def _answered(request: Request, what: str) -> Response:
    asked = await request.json()
    trouble = _trouble(what, asked)
    if trouble is None:
        return await _honest(what, asked)
    said = await _honest(what, asked) if trouble.is_after else None
    if trouble.kind != "hang":
        return _crooked(trouble)
    held["now"] += 1
    await released.wait()
    held["now"] -= 1
    return said or await _honest(what, asked)


def _trouble(what: str, asked: Any) -> Trouble | None:
    """What is to happen to this call, if anything."""
    payer = str(asked["paymentPayload"]["payload"].get("authorization", {}).get("from", ""))
    for trouble in troubles:
        if trouble.at == what and trouble.payer in ("", payer) and trouble.times > 0:
            trouble.times -= 1
            return trouble
    return None


async def _honest(what: str, asked: Any) -> Response:
    payload = PaymentPayload.model_validate(asked["paymentPayload"])
    terms = PaymentRequirements.model_validate(asked["paymentRequirements"])
    said = await (facilitator.verify if what == "verify" else facilitator.settle)(payload, terms)
    return JSONResponse(said.model_dump(by_alias=True, exclude_none=True))


def _crooked(trouble: Trouble) -> Response:
    match trouble.kind:
        case "500":
            return JSONResponse({"error": "internal"}, 500)
        case "garbage":
            return Response(b"<html>Bad Gateway</html>", 200, media_type="text/html")
        case _:
            return StreamingResponse(_cut(), media_type="application/json")


async def _cut() -> AsyncIterator[bytes]:
    yield b'{"succ'
    raise ConnectionError("cut off on purpose")


@app.post("/admin/fund")
async def fund(address: str, amount: int) -> dict[str, int]:
    chain.token.fund(address, amount)
    return {"balance": chain.token.balance(address)}


@app.post("/admin/balance")
async def balance(address: str) -> dict[str, int]:
    return {"balance": chain.token.balance(address)}


@app.post("/admin/trouble")
async def trouble(at: str, kind: str, after: bool, times: int, payer: str = "") -> dict[str, str]:
    """From now on, for so many calls, or of so many transactions."""
    released.clear()
    if at == "chain":
        setattr(chain.ways, kind, times)
    else:
        troubles.append(Trouble(at, kind, is_after=after, times=times, payer=payer))
    return {}


@app.post("/admin/held")
async def count_held() -> dict[str, int]:
    """How many calls hang."""
    return {"held": held["now"]}


@app.post("/admin/calm")
async def calm() -> dict[str, str]:
    """Everything is well again."""
    troubles.clear()
    chain.calm()
    released.set()
    return {}
