"""What a server's response says about payment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.client.errors import UnacceptableOfferError
from mpp_asgi.protocol import Challenge, Problem, ProtocolError, Receipt
from mpp_asgi.protocol.headers import PAYMENT_RECEIPT, WWW_AUTHENTICATE

if TYPE_CHECKING:
    import httpx


def payment_receipt(response: httpx.Response) -> Receipt | None:
    """The receipt in a response, or in the redirect that led to it."""
    for each in (response, *reversed(response.history)):
        for value in each.headers.get_list(PAYMENT_RECEIPT):
            try:
                return Receipt.from_header(value)
            except ProtocolError:
                continue
    return None


def challenges_in(response: httpx.Response) -> list[Challenge]:
    """The Payment challenges of a 402; none from a server that wants something else.

    Raises:
        UnacceptableOfferError: all of them are malformed.
    """
    try:
        return Challenge.all_from_headers(response.headers.get_list(WWW_AUTHENTICATE))
    except ProtocolError as error:
        raise UnacceptableOfferError((f"its challenge cannot be read ({error})",)) from None


def problem_in(response: httpx.Response) -> Problem | None:
    """The problem document that the response is, if it is one. It has been read."""
    try:
        return Problem.from_json(response.content, status=response.status_code)
    except ProtocolError:
        return None


def problem_slug(response: httpx.Response) -> str | None:
    """The problem's type, such as ``payment-expired``."""
    problem = problem_in(response)
    return problem.slug if problem else None
