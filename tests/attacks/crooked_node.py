"""A node between the shop and the network that passes on what it likes."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
from starlette.requests import Request
from starlette.responses import Response

from tests.servers import served

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

Call = dict[str, Any]
Forward = Callable[[], Awaitable[Response]]
Behaviour = Callable[[Call, Forward], Awaitable[Response | None]]
"""Answers a call, with what the network says (``forward``) or something else; ``None``: with what
it says. It runs in the node's thread."""


class CrookedNode:
    """Honest, as long as nobody gave it a behaviour."""

    def __init__(self, network: str) -> None:
        self.url = ""
        self.behave: Behaviour | None = None
        self.calls: Counter[str] = Counter()
        """By method, since it was last reset."""
        self._network = network
        self._http: httpx.AsyncClient | None = None

    def reset(self) -> None:
        self.behave = None
        self.calls.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        if scope["type"] != "http" or self._http is None:
            return
        body = await Request(scope, receive).body()
        call: Call = json.loads(body)
        self.calls[call["method"]] += 1
        http = self._http

        async def forward() -> Response:
            answer = await http.post(self._network, content=body)
            return Response(answer.content, answer.status_code, media_type="application/json")

        behave = self.behave
        response = await behave(call, forward) if behave is not None else None
        await (response or await forward())(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with httpx.AsyncClient(timeout=60) as self._http:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


class Gate:
    """Where a call is held until it is let go."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    async def passing(self) -> None:
        """For the behaviour."""
        self._reached.set()
        await anyio.to_thread.run_sync(self._open.wait, 120)

    async def reached(self) -> None:
        """For the attack."""
        found = await anyio.to_thread.run_sync(self._reached.wait, 60)
        if not found:
            raise AssertionError("the shop did not come to the gate")

    def open(self) -> None:
        self._open.set()


def answer(call: Call, result: Any) -> Response:
    """What a node says."""
    said = {"jsonrpc": "2.0", "id": call["id"], "result": result}
    return Response(json.dumps(said), media_type="application/json")


@contextmanager
def served_node(network: str) -> Iterator[CrookedNode]:
    """One over HTTP, in a thread."""
    node = CrookedNode(network)
    with served(node) as url:
        node.url = url
        yield node
