"""What the application's own OpenAPI says of its prices: ``x-payment-info``, and the answers that
are ours (discovery draft). It is told when somebody asks for it; the 402 stays the authority."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mpp_asgi.protocol import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mpp_asgi.gate import Gate
    from mpp_asgi.pricing import Tariff

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_PROBLEM: Json = {
    "type": "object",
    "title": "Problem",
    "properties": {
        **dict.fromkeys(("type", "title", "detail", "challengeId"), _TEXT),
        "status": {"type": "integer"},
    },
    "required": ["type", "title", "status"],
}
_CONTENT: Json = {problems.CONTENT_TYPE: {"schema": _PROBLEM}}
_LATER: Json = {"Retry-After": {"description": "Seconds.", "schema": _TEXT}}
_ANSWERS: Mapping[str, Json] = {
    "400": {"description": "No payment can be taken this way"},
    "402": {
        "description": "Payment required, or not good: with fresh challenges",
        "headers": {
            "WWW-Authenticate": {"description": "One challenge a way to pay", "schema": _TEXT}
        },
    },
    "409": {"description": "The same payment is at work: come back", "headers": _LATER},
    "410": {"description": "The session's channel is closed, or there is none"},
    "413": {"description": "The body is larger than can be taken"},
    "503": {"description": "The payment could not be finished: come back", "headers": _LATER},
}
_RECEIPT: Json = {"Payment-Receipt": {"description": "With what was paid for", "schema": _TEXT}}
_MANAGED: Json = {"description": "The session is open, funded or closed", "headers": _RECEIPT}
_WITH_EFFECTS = frozenset({"post", "put", "patch", "delete"})


@runtime_checkable
class _Documented(Protocol):
    """An application that describes itself, as FastAPI's do."""

    openapi: Callable[[], Json]


def tell_prices(app: object, operations: Iterable[tuple[str, str, Tariff]], gate: Gate) -> None:
    """Have the application say in its OpenAPI what costs something; nothing, if it has none.

    Args:
        app: the application.
        operations: path, method and tariff.
    """
    if not isinstance(app, _Documented) or not callable(app.openapi):
        return
    priced = {(path, method.lower()): tariff for path, method, tariff in operations}
    original = getattr(app.openapi, "__mpp_original__", app.openapi)

    @functools.wraps(original)
    def openapi() -> Json:
        document = original()
        for (path, method), tariff in priced.items():
            operation = document.get("paths", {}).get(path, {}).get(method)
            if operation is not None:
                operation.setdefault("x-payment-info", {"offers": _offers(tariff, gate)})
                _tell_answers(operation, method, gate.kinds(tariff))
        return document

    openapi.__dict__["__mpp_original__"] = original
    app.openapi = openapi


def _offers(tariff: Tariff, gate: Gate) -> list[Json]:
    """Each way to pay once; where the price depends on the request, without an amount."""
    described = {} if tariff.description is None else {"description": tariff.description}
    if tariff.quote is not None:
        return [
            {"intent": intent, "method": method, "amount": None, **described}
            for method, intent in gate.kinds(tariff)
        ]
    offers: list[Json] = []
    for way in gate.offers(tariff, tariff.prices, realm="discovery", header=None).ways:
        offer = {"intent": way.intent.name, "method": way.intent.method}
        offer |= {name: way.request[name] for name in ("amount", "currency") if name in way.request}
        offer |= described
        if offer not in offers:
            offers.append(offer)
    return offers


def _tell_answers(operation: Json, method: str, kinds: Iterable[tuple[str, str]]) -> None:
    responses = operation.setdefault("responses", {})
    for status, answer in list(responses.items()):
        if status.startswith("2"):
            answer.setdefault("headers", {}).update(_RECEIPT)
    for status, answer in _ANSWERS.items():
        told = responses.setdefault(status, dict(answer))
        told["content"] = {**told.get("content", {}), **_CONTENT}
    if method in _WITH_EFFECTS and "422" in responses:  # an Idempotency-Key of another request
        responses["422"]["content"] = {**responses["422"].get("content", {}), **_CONTENT}
    if any(intent != "charge" for _, intent in kinds):
        responses.setdefault("204", dict(_MANAGED))
