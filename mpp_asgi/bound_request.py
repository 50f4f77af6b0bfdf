"""What a dynamic price sees of a request: what its challenge binds, and nothing else.

A quote holds until it expires and is not asked for again, so whatever a price could read must be
the same when the credential comes: method, path, query, body, and the headers that are bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.requests import Request

from mpp_asgi.pricing import PriceError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.types import Receive, Scope

_BOUND = ("asgi", "http_version", "path", "query_string", "root_path", "app_root_path", "app")
"""What of a scope is bound, or the same for every request."""


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
