"""What a dynamic price sees of a request: what its challenge binds, and nothing else.

A quote holds until it expires and is not asked for again, so whatever a price could read must be
the same when the credential comes: method, path, query, body, and the headers that are bound.
"""

from __future__ import annotations

from dataclasses import replace
from http.client import responses
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request

from mpp_asgi.answers import Answer, OwedError
from mpp_asgi.pricing import PriceError
from mpp_asgi.protocol import Problem, problems

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.types import Receive, Scope

    from mpp_asgi.asked import Asked
    from mpp_asgi.pricing import Price, Tariff

_BOUND = ("asgi", "http_version", "path", "query_string", "root_path", "app_root_path", "app")
"""What of a scope is bound, or the same for every request."""


async def ask_price(
    tariff: Tariff, asked: Asked, path_params: Mapping[str, Any]
) -> tuple[Price, ...]:
    """What the request costs by its tariff: alternatives, none if it is free this time.

    Raises:
        OwedError: a dynamic price refused the request, as an endpoint does, or could not read it.
        PriceError: a dynamic price returned something that is none.
    """

    def bound() -> Request:
        return BoundRequest(
            asked.scope,
            asked.body.replay(),
            path_params=path_params,
            names=tariff.bound_headers,
        )

    try:
        return await tariff.prices_for(bound)
    except HTTPException as refusal:
        title = responses.get(refusal.status_code, "Refused")
        detail = refusal.detail if isinstance(refusal.detail, str) else title
        problem = Problem("about:blank", title, refusal.status_code, detail)
        raise OwedError(Answer(problem, headers=refusal.headers or {})) from refusal
    except ValidationError as error:  # of the body, as a rule, that a model was made from
        problem = problems.BAD_REQUEST.because("The request is not of the form its price needs.")
        raise OwedError(Answer(replace(problem, status=422))) from error
    except (JSONDecodeError, UnicodeDecodeError, UnreadableBodyError) as error:
        problem = problems.BAD_REQUEST.because("The request's body could not be read.")
        raise OwedError(Answer(problem)) from error


def bound_values(tariff: Tariff, scope: Scope) -> tuple[tuple[str, str], ...]:
    """The headers that a challenge binds, beyond what every challenge binds: name and value."""
    headers = Headers(scope=scope)
    return tuple((name, value) for name in tariff.bound_headers for value in headers.getlist(name))


class UnreadableBodyError(ValueError):
    """A body that the parser gave up on."""


class BoundRequest(Request):
    """A request that has no other headers than those in ``names``, and says so.

    Args:
        scope: as the client sent it; a WebSocket's handshake is a GET.
        receive: gives the body.
        path_params: as the route converts them.
        names: of the bound headers, in lower case.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        *,
        path_params: Mapping[str, Any],
        names: Collection[str],
    ) -> None:
        bound = {key: scope[key] for key in _BOUND if key in scope}
        headers = _BoundHeaders(scope, names)
        super().__init__(
            {
                **bound,
                "type": "http",
                "method": scope.get("method", "GET"),
                "path_params": dict(path_params),
                "headers": headers.raw,
            },
            receive,
        )
        self._headers = headers

    async def json(self) -> Any:
        """As Starlette's; what else is wrong with a body (a number of thousands of digits, brackets
        without end) is said alike, whatever the parser makes of it."""
        try:
            return await super().json()
        except (JSONDecodeError, UnicodeDecodeError):
            raise
        except (ValueError, RecursionError) as error:
            raise UnreadableBodyError("the body is no JSON that can be read") from error


class _BoundHeaders(Headers):
    def __init__(self, scope: Scope, names: Collection[str]) -> None:
        self._names = frozenset(names)
        encoded = {name.encode("latin-1", "replace") for name in names}
        super().__init__(raw=[pair for pair in scope["headers"] if pair[0] in encoded])

    def _check(self, key: str) -> None:
        if key.lower() not in self._names:
            raise PriceError(
                f"the price reads the header {key!r}, which its challenge does not bind; "
                f"write @price(..., vary=[{key.lower()!r}])"
            )

    def __getitem__(self, key: str) -> str:
        self._check(key)
        return super().__getitem__(key)

    def __contains__(self, key: Any) -> bool:
        self._check(key)
        return super().__contains__(key)

    def getlist(self, key: str) -> list[str]:
        self._check(key)
        return super().getlist(key)
