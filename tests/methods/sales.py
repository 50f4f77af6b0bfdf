"""What it means that something is sold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.methods.stall import Exchange, Selling, Visitor, payment

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class Ran:
    """Notes what ran."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str = "endpoint") -> None:
        self.names.append(name)


async def check_is_sold(
    selling: Selling, app: ASGIApp, ran: Ran, target: str = "/sold", **request: Any
) -> Exchange:
    """Unpaid: 402 and nothing ran. Paid: it ran once and came with its receipt. Again: refused."""
    visitor = Visitor(app)
    refused = await visitor.get(target, **request)
    assert (refused.status, refused.problem) == (402, "payment-required"), refused
    assert ran.names == []
    headers = {**request.pop("headers", {}), **payment(refused.challenge)}
    served = await visitor.get(target, headers=headers, **request)
    assert served.status == 200, served
    assert served.receipt is not None
    assert served.receipt.reference == refused.challenge.id
    assert len(ran.names) == 1
    again = await visitor.get(target, headers=headers, **request)
    assert (again.status, again.problem) == (402, "invalid-challenge")
    assert len(ran.names) == 1
    assert selling.till.takings == 1
    return served


def copying(app: ASGIApp) -> ASGIApp:
    """Middleware as a function, which hides the application and hands on a copy of the scope."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await app(dict(scope), receive, send)

    return middleware
