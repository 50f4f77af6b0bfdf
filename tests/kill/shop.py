"""A paid application that leaves a line in the ``TRACE`` file for every grant. Run by uvicorn."""

from __future__ import annotations

import os

from fastapi import FastAPI, Request

from mpp_asgi import PaymentMiddleware, price

_trace = os.open(os.environ["TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

app = FastAPI()
app.add_middleware(PaymentMiddleware)


@app.get("/worker")
async def worker() -> dict[str, int]:
    """Free."""
    return {"worker": os.getpid()}


@app.get("/item/{item}")
@price("0.01")
async def sell(item: str, request: Request) -> dict[str, str]:
    payment = request.state.payment
    # One write of a short line is whole, even if the process is killed in the midst of it.
    os.write(_trace, f"{item} {payment.intent} {payment.reference} {payment.payer}\n".encode())
    return {"item": item}
