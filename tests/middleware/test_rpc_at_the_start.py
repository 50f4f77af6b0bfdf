"""What the RPCs are asked when an app starts."""

import pytest
from fastapi import FastAPI
from stellar_sdk import Keypair

from mpp_asgi import PaymentMiddleware
from mpp_asgi.config import ConfigError
from mpp_asgi.sandbox import Sandbox
from tests.servers import served

RECIPIENT = Keypair.from_raw_ed25519_seed(bytes(32)).public_key
DARK = "http://127.0.0.1:9"


async def start(*urls: str) -> None:
    """Start and end an app on testnet."""
    app = FastAPI()
    app.add_middleware(
        PaymentMiddleware,
        network="stellar:testnet",
        recipient=RECIPIENT,
        rpc_url=urls,
        store="memory://",
    )
    stack = app.build_middleware_stack()
    events = iter(["lifespan.startup", "lifespan.shutdown"])
    failed = []

    async def receive() -> dict[str, str]:
        return {"type": next(events)}

    async def send(message: dict[str, str]) -> None:
        if message["type"] == "lifespan.startup.failed":
            failed.append(message["message"])

    await stack({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)  # type: ignore[arg-type] # plain dicts do
    if failed:
        raise ConfigError(failed[0])


async def test_the_only_rpc_follows_another_network() -> None:
    with served(Sandbox(passphrase="another").app) as foreign:
        with pytest.raises(ConfigError, match="The RPC does not follow stellar:testnet"):
            await start(foreign)
        with pytest.raises(ConfigError, match="change rpc_url or network"):
            await start(foreign, foreign + "/")


async def test_one_of_several_follows_another_network() -> None:
    with served(Sandbox(passphrase="another").app) as foreign, served(Sandbox().app) as right:
        await start(foreign, right)


async def test_an_rpc_that_does_not_answer_stops_no_start() -> None:
    await start(DARK)
    with served(Sandbox(passphrase="another").app) as foreign:
        await start(DARK, foreign)
