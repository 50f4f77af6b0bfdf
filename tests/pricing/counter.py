"""Endpoints to be priced, and how to read what they cost."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from tests.methods.stall import Exchange


def costs(answer: Exchange) -> str:
    if answer.status == 402:
        return str(int(answer.challenge.request_object()["amount"]) / 10**7)
    return "free"


async def ok(request: Request) -> PlainTextResponse:
    return PlainTextResponse("content")
