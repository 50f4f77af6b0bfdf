"""Where the demo plays: a network, the API on it, and an agent with some play money."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from stellar_sdk import Asset, Keypair

from example_app.demo.books import Books, MismatchError
from example_app.demo.processes import Server
from mpp_asgi.stellar.accounts import get_asset
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc_drivers import SyncRpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from example_app.demo.page import Page
    from mpp_asgi.stellar.rpc_call import BlockingRpc

AGENT_MONEY = {"usdc": "10", "xlm": "100"}
SETTINGS = (
    *("MPP_NETWORK", "MPP_RPC_URL", "MPP_RECIPIENT", "MPP_RECIPIENT_SECRET", "MPP_SPONSOR"),
    *("MPP_CHANNEL_FACTORY", "MPP_CHANNEL_WASM_HASHES"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything there is."""

    page: Page
    network_url: str
    api_url: str
    agent: Keypair
    books: Books
    http: httpx.Client
    """To the API. Pays nothing by itself."""

    @property
    def rpc(self) -> BlockingRpc:
        return self.books.rpc


@contextmanager
def scene(page: Page) -> Iterator[Scene]:
    """Set everything up, and clear everything away, whatever happens."""
    with ExitStack() as stack:
        environment = {
            name: text for name, text in os.environ.items() if not name.startswith("MPP_")
        }
        network = stack.enter_context(
            Server("mpp_asgi.cli", "sandbox", "--port", "0", environment=environment)
        )
        settings = {name: network.wait_for(rf"export {name}=(\S+)")[1] for name in SETTINGS}
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mpp-asgi-demo-"))
        settings["MPP_STORE"] = f"sqlite:///{folder}/payments.db"
        settings["MPP_SETTLE_AMOUNT"] = "100"  # so that channels are settled when they are closed
        api = stack.enter_context(
            Server(
                *("uvicorn", "example_app.main:app", "--port", "0"),
                environment=environment | settings,
            )
        )
        api_url = api.wait_for(r"running on (http://\S+)")[1]
        http = stack.enter_context(httpx.Client(base_url=api_url, timeout=60))
        rpc = SyncRpc(settings["MPP_RPC_URL"])
        stack.callback(rpc.close)
        agent = _funded_agent(settings["MPP_RPC_URL"])
        people = {
            "agent": agent.public_key,
            "seller": settings["MPP_RECIPIENT"],
            "sponsor": Keypair.from_secret(settings["MPP_SPONSOR"]).public_key,
        }
        books = Books(rpc, _usdc(rpc), people)
        books.open()
        yield Scene(page, settings["MPP_RPC_URL"], api_url, agent, books, http)


def _funded_agent(network_url: str) -> Keypair:
    agent = Keypair.random()
    query = {"addr": agent.public_key, **AGENT_MONEY}
    httpx.post(f"{network_url}/faucet", params=query).raise_for_status()
    return agent


def _usdc(rpc: SyncRpc) -> Asset:
    asset = rpc.do(get_asset(TESTNET.tokens["USDC"].address))
    if asset is None:
        raise MismatchError("The network has no USDC.")
    return asset
