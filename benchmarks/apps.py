"""The apps that are measured. Each answers the same small JSON at ``/forecast``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


def forecast_app() -> FastAPI:
    app = FastAPI()

    @app.get("/forecast")
    async def forecast() -> dict[str, object]:
        return {"city": "Lisbon", "celsius": 21, "sky": "clear"}

    return app


class PassThrough:
    """The least a pure ASGI middleware can do: what any middleware costs."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


bare = forecast_app()

passed_through = forecast_app()
passed_through.add_middleware(PassThrough)
