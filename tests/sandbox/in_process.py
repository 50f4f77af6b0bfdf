"""The SDK's asynchronous server against the sandbox, without a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from stellar_sdk.client.base_async_client import BaseAsyncClient
from stellar_sdk.client.response import Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class InProcessClient(BaseAsyncClient):
    """Lets the SDK's asynchronous server talk to the sandbox."""

    def __init__(self, app: Any) -> None:
        transport = httpx.ASGITransport(app=app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://sandbox")

    async def get(self, url: str, params: dict[str, str] | None = None) -> Response:
        return self._response(await self._client.get(url, params=params))

    async def post(
        self,
        url: str,
        data: dict[str, str] | None = None,
        json_data: dict[str, Any] | None = None,
    ) -> Response:
        return self._response(await self._client.post(url, data=data, json=json_data))

    @staticmethod
    def _response(answer: httpx.Response) -> Response:
        return Response(answer.status_code, answer.text, dict(answer.headers), str(answer.url))

    def stream(
        self, url: str, params: dict[str, str] | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        raise NotImplementedError

    async def close(self) -> None:
        await self._client.aclose()
