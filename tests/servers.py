"""Real servers for tests: a sandbox over HTTP, and applications under uvicorn."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

import httpx
import uvicorn
from stellar_sdk import Keypair

from example_app.demo.processes import Server
from mpp_asgi.stellar.accounts import get_account, get_asset, get_trustline
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc_drivers import SyncRpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

SETTINGS = (
    *("MPP_NETWORK", "MPP_RPC_URL", "MPP_RECIPIENT", "MPP_RECIPIENT_SECRET", "MPP_SPONSOR"),
    *("MPP_CHANNEL_FACTORY", "MPP_CHANNEL_WASM_HASHES"),
)


def clean_environment() -> dict[str, str]:
    """This process's, without what would configure an application or a payer."""
    return {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("MPP_") and name != "STELLAR_SECRET"
    }


@dataclass(frozen=True, slots=True)
class Network:
    """A sandbox in a process of its own."""

    url: str
    settings: dict[str, str]
    """What an application on it needs, as ``MPP_...``."""

    @property
    def recipient(self) -> str:
        return self.settings["MPP_RECIPIENT"]

    def payer(self, *, usdc: int = 10, xlm: int = 100) -> Keypair:
        """A new account with so many whole tokens."""
        key = Keypair.random()
        query = {"addr": key.public_key, "usdc": usdc, "xlm": xlm}
        httpx.post(f"{self.url}/faucet", params=query).raise_for_status()
        return key

    def usdc(self, address: str) -> int:
        """Base units."""
        rpc = SyncRpc(self.url)
        try:
            asset = rpc.do(get_asset(TESTNET.tokens["USDC"].address))
            trustline = rpc.do(get_trustline(address, asset)) if asset else None
        finally:
            rpc.close()
        return trustline.balance if trustline else 0

    def xlm(self, address: str) -> int:
        """Stroops."""
        rpc = SyncRpc(self.url)
        try:
            account = rpc.do(get_account(address))
        finally:
            rpc.close()
        return account.balance if account else 0


@contextmanager
def running_network(*, close_interval: float = 0.2) -> Iterator[Network]:
    """``mpp-asgi sandbox`` on a free port."""
    arguments = ["--port", "0", "--close-interval", str(close_interval)]
    with Server("mpp_asgi.cli", "sandbox", *arguments, environment=clean_environment()) as process:
        settings = {name: process.wait_for(rf"export {name}=(\S+)")[1] for name in SETTINGS}
        yield Network(settings["MPP_RPC_URL"], settings)


@contextmanager
def running_app(
    app: str, *arguments: str, settings: dict[str, str], port: int = 0
) -> Iterator[tuple[str, Server]]:
    """An application under uvicorn, on a free port unless one is given: its URL and its process."""
    with Server(
        *("uvicorn", app, "--port", str(port), *arguments),
        environment=clean_environment() | settings,
    ) as process:
        url = process.wait_for(r"running on (http://\S+)")[1]
        process.wait_for("Application startup complete")  # with several workers: of one of them
        yield url, process


@contextmanager
def served(app: ASGIApp, *, tls: Path | None = None) -> Iterator[str]:
    """An ASGI application of the test's own, in a thread: its URL.

    Args:
        tls: a file (PEM) with the key and the certificate for 127.0.0.1, to be served by HTTPS.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="error", ssl_certfile=tls, ws="none")
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the application did not start; uvicorn says why"
                time.sleep(0.005)
            yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
