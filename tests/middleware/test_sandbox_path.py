"""Where the embedded network answers: for clients on this machine, below one path."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tests.methods.stall import NoNetwork, Selling, Visitor

LOCAL = ("127.0.0.1", 4711)


class Network(NoNetwork):
    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = [scope["path"], scope["root_path"], scope["method"]]
        await JSONResponse(seen)(scope, receive, send)


def visitor(**settings: Any) -> Visitor:
    return Visitor(Selling(sandbox=Network(), **settings).to(FastAPI()))


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/.mpp/sandbox", "/.mpp/sandbox/"),
        ("/.mpp/sandbox/", "/.mpp/sandbox/"),
        ("/.mpp/sandbox/friendbot", "/.mpp/sandbox/friendbot"),
    ],
)
async def test_a_client_on_this_machine_finds_it(target: str, path: str) -> None:
    here = visitor()
    for _ in range(2):  # the first request opens the network, later ones find it open
        answer = await here.ask("POST", target, client=LOCAL)
        assert answer.json() == [path, "/.mpp/sandbox", "POST"]


@pytest.mark.parametrize("client", [("203.0.113.9", 1), ("2001:db8::1", 1), ("10.0.0.1", 1)])
async def test_nobody_else_does(client: Any) -> None:
    assert (await visitor().get("/.mpp/sandbox", client=client)).status == 404


@pytest.mark.parametrize(
    "target", ["/.mpp/sandboxes", "/.mpp", "/x/.mpp/sandbox", "/.mpp/sandbox2"]
)
async def test_it_has_no_other_path(target: str) -> None:
    assert (await visitor().get(target, client=LOCAL)).status == 404


async def test_prices_by_path_do_not_cover_it() -> None:
    answer = await visitor(prices={"/{everything:path}": "1"}).get("/.mpp/sandbox", client=LOCAL)
    assert answer.status == 200
