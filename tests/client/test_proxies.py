"""Plain HTTP is for this machine alone, and an HTTP_PROXY of the environment leads away from it."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from mpp_asgi.client import UnsafeConnectionError
from mpp_asgi.client.connection import note_peer
from tests.client.session_shop import SessionShop
from tests.client.shop import Shop

Reached = Callable[[httpx.Request], httpx.Response]


class Connection:
    """As much of a connection as says whom it leads to."""

    def __init__(self, peer: Any) -> None:
        self.peer = peer

    def get_extra_info(self, name: str) -> Any:
        assert name == "server_addr"
        if isinstance(self.peer, OSError):
            raise self.peer
        return self.peer


def by_way_of(shop: Shop, peer: Any) -> Reached:
    def answer(request: httpx.Request) -> httpx.Response:
        response = shop(request)
        response.extensions["network_stream"] = Connection(peer)
        return response

    return answer


@pytest.mark.parametrize("peer", [("10.0.0.1", 3128), ("2001:db8::1", 3128, 0, 0)])
@pytest.mark.parametrize("sessions", ["never", "always"])
async def test_no_credential_goes_to_a_proxy_in_the_clear(
    shop: Shop, sandbox: Any, clock: Any, payer: Any, fetch: Any, peer: Any, sessions: str
) -> None:
    server = SessionShop(sandbox, clock) if sessions == "always" else shop
    auth = payer(sessions=sessions)
    with pytest.raises(UnsafeConnectionError, match="put the host into NO_PROXY"):
        await fetch(auth, url="http://localhost/x", server=by_way_of(server, peer))
    assert server.credentials == []
    assert auth.left == {"USDC": 1}


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("http://localhost/x", ("127.0.0.1", 80)),
        ("http://localhost/x", ("::1", 80, 0, 0)),
        ("http://localhost/x", "/run/shop.socket"),
        ("http://localhost/x", ""),
        ("http://localhost/x", None),
        ("http://localhost/x", OSError("closed")),
        ("https://shop.test/x", ("10.0.0.1", 3128)),
    ],
)
async def test_what_is_as_safe_as_ever(
    shop: Shop, payer: Any, fetch: Any, url: str, peer: Any
) -> None:
    assert (await fetch(payer(), url=url, server=by_way_of(shop, peer))).status_code == 200


def test_a_real_connection_says_whom_it_leads_to() -> None:
    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Nothing) as server:
        Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        with httpx.Client(trust_env=False) as client, client.stream("GET", url) as response:
            note_peer(response)
    assert response.extensions["mpp_asgi.peer"][0] == "127.0.0.1"
