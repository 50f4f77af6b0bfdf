"""Two processes that deliver from one store, and what happens while an endpoint runs."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from mpp_asgi import price
from mpp_asgi.stores.contract import Charge, State, StoreUnavailableError
from tests.methods.nod import Till
from tests.methods.stall import Exchange, Selling, Time, Visitor, payment
from tests.methods.stores import FailingStore

TARGETS = ["/", "/after", "/stream", "/plain"]
HOUR = 3600
"""Seconds."""


async def nothing() -> None:
    """Happens."""


class Handler:
    """What happens while the endpoint runs, and how often it did."""

    def __init__(self) -> None:
        self.runs = 0
        self.meanwhile: Callable[[], Awaitable[None]] = nothing

    async def run(self) -> None:
        self.runs += 1
        meanwhile, self.meanwhile = self.meanwhile, nothing
        await meanwhile()


def shop(handler: Handler) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    @price("1")
    async def run() -> str:
        await handler.run()
        return "content"

    @app.get("/after")
    @price("1", settle="after")
    async def after() -> str:
        await handler.run()
        return "content"

    @app.get("/stream")
    @price("1")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "con"
            await handler.run()
            yield "tent"

        return StreamingResponse(chunks())

    @app.get("/plain")
    async def plain() -> str:
        await handler.run()
        return "content"

    @app.websocket("/socket")
    @price("1")
    async def socket(websocket: WebSocket) -> None:
        await handler.run()
        await websocket.accept()
        await websocket.close()

    return app


class Forgetful(FailingStore):
    """Fails where a delivery is to be written, when it is told to."""

    forgets_deliveries = False

    async def write(self, charge: Charge, proofs: Sequence[str] = (), *, owner: str) -> None:
        if self.forgets_deliveries and charge.state is State.DELIVERED:
            raise StoreUnavailableError("the disk is full")
        await self._call("write", lambda: self._store.write(charge, proofs, owner=owner))


class Worker:
    """A process: its application, and the store as it sees it."""

    def __init__(self, time: Time, till: Till, settings: dict[str, Any]) -> None:
        self.handler = Handler()
        self._selling = Selling(time=time, till=till, **settings)
        self.app = self._selling.around(shop(self.handler))
        self.visitor = Visitor(self.app)

    @property
    def store(self) -> Forgetful:
        """After the first request."""
        book = self._selling.books[-1]
        assert isinstance(book.store, Forgetful)
        return book.store

    async def show(self, target: str, headers: dict[str, str]) -> Exchange:
        answer = await self.visitor.get(target, headers=headers)
        await self.drain()  # a stream's end is noted once its client is gone
        return answer

    async def beat(self) -> None:
        await self._selling.books[-1].heart.beat()

    async def drain(self) -> None:
        await self._selling.books[-1].drain()


@dataclass
class Workers:
    """Two processes on one store, without lifespan events."""

    here: Worker
    there: Worker
    time: Time
    till: Till


async def bought(workers: Workers, target: str) -> dict[str, str]:
    """The header of a credential that nobody has shown yet."""
    return payment(await workers.here.visitor.challenge("GET", target))


def granted(*answers: Exchange) -> int:
    return sum(answer.is_whole and answer.status == 200 for answer in answers if answer.messages)


def blocked_by(workers: Workers, seconds: float, then: Callable[[], Awaitable[None]]) -> None:
    """The endpoint here blocks its event loop for so long; what comes then, comes before the
    process has come to itself."""

    async def meanwhile() -> None:
        workers.time.now += seconds
        await then()

    workers.here.handler.meanwhile = meanwhile
