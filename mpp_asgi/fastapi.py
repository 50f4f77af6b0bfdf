"""For FastAPI: the payment as a dependency."""

from __future__ import annotations

from typing import Annotated, cast

try:
    from fastapi import Depends
except ModuleNotFoundError as error:
    if error.name != "fastapi":
        raise
    raise ModuleNotFoundError(
        "mpp_asgi.fastapi needs FastAPI: run pip install 'mpp-asgi[fastapi]'.", name="fastapi"
    ) from None
from starlette.requests import HTTPConnection  # noqa: TC002 # FastAPI reads it at run time

from mpp_asgi.endpoints import PAYMENT_DUE, tariff_of
from mpp_asgi.payment import Payment
from mpp_asgi.presence import current_visit


async def current_payment(connection: HTTPConnection) -> Payment | None:
    """The payment that admits this request; ``None`` if it costs nothing.

    A decorated endpoint is paid when it is called, after its dependencies and its validation ran:
    until then this stands for the payment, and the endpoint gets the payment itself. A dependency
    that reads it earlier is told so.
    """
    visit = current_visit()
    if visit is None:
        return None
    mark = tariff_of(connection.scope.get("endpoint"), connection.scope.get("method"))
    if mark is not None and not visit.is_paid(mark):
        return cast("Payment", PAYMENT_DUE)
    return visit.payment


CurrentPayment = Annotated[Payment | None, Depends(current_payment)]
"""Annotation for an endpoint's parameter: ``payment: CurrentPayment``."""
