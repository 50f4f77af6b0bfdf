"""What the RPCs are asked when an app starts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from stellar_sdk import Keypair

from mpp_asgi import PaymentMiddleware
from mpp_asgi.config import ConfigError
from mpp_asgi.sandbox import Sandbox
from tests.servers import served

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

_SELLER = Keypair.from_raw_ed25519_seed(bytes(32))
RECIPIENT, RECIPIENT_SECRET = _SELLER.public_key, _SELLER.secret
SPONSOR = Keypair.from_raw_ed25519_seed(bytes([1]) * 32).secret
DARK = "http://127.0.0.1:9"


async def start(*urls: str, **further: Any) -> None:
    """Start and end an app on testnet."""
    app = FastAPI()
    app.add_middleware(
        PaymentMiddleware,
        network="stellar:testnet",
        recipient=RECIPIENT,
        rpc_url=urls,
        store="memory://",
        **further,
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


class Mute:
    """An RPC that says which network it follows, and nothing more until the asker goes away."""

    def __init__(self) -> None:
        self._sandbox = Sandbox().app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._sandbox(scope, receive, send)
            return
        asked = await receive()

        async def again() -> Message:
            return asked

        if b"getNetwork" in asked["body"]:
            await self._sandbox(scope, again, send)
        else:
            await receive()


@pytest.mark.parametrize("who", ["the sponsor pays", "the recipient pays"])
async def test_an_app_that_ends_leaves_no_question_behind(who: str) -> None:
    further = {"sponsor": SPONSOR} if who == "the sponsor pays" else {}
    before = asyncio.all_tasks()
    with served(Mute()) as mute:
        await start(
            mute, recipient_secret=RECIPIENT_SECRET, channel_wasm_hashes=["0" * 64], **further
        )
        assert asyncio.all_tasks() == before


async def test_an_app_that_cannot_start_leaves_no_question_behind() -> None:
    before = asyncio.all_tasks()
    with served(Mute()) as mute:
        with pytest.raises(ConfigError, match="Sessions need recipient_secret"):
            await start(mute, sponsor=SPONSOR, intents=["session"])
        assert asyncio.all_tasks() == before
