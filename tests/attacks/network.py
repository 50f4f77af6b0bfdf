"""The network under it: an embedded one, over HTTP, on which somebody deploys lying channels.

Its ledgers close every five seconds, as on the real network, and whenever somebody asks for a
transaction that was taken: so nobody waits, and nothing that was signed lapses while an attack is
prepared on a slow machine.
"""

import json
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from mpp_asgi.sandbox import Sandbox
from mpp_asgi.sandbox.contracts.registry import CHANNEL_WASM_HASH, CONTRACTS
from mpp_asgi.sandbox.host.guest import Guest
from mpp_asgi.sandbox.host.native import Function
from mpp_asgi.sandbox.wire.values import Val, i128_val
from tests.charge.forgery import THIEF
from tests.shop import RECIPIENT, SPONSOR

LYING_CODE = b"\x11" * 32
"""The hash of a channel that says it has a million."""


def _a_million(_guest: Guest) -> Val:
    return i128_val(10**6)


_true = CONTRACTS.by_wasm[CHANNEL_WASM_HASH]
_lying = {**_true, "balance": Function((), _a_million), "deposited": Function((), _a_million)}

sandbox = Sandbox(
    close_interval=5,
    contracts=CONTRACTS.with_wasm(LYING_CODE, _lying),
    admin=True,
)
sandbox.fund(RECIPIENT.public_key, usdc=0)
sandbox.fund(SPONSOR.public_key)
sandbox.fund(THIEF.public_key, usdc="10")

MOST_CLOSED = 20
"""Ledgers that are closed for one transaction: some are said to be taken, and never are."""
_taken: dict[str, int] = {}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The network's RPC, faucet and control."""
    if scope["type"] != "http" or scope["path"] != "/":
        await sandbox.app(scope, receive, send)
        return
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    asked = _asked(body)
    is_look = asked.get("method") == "getTransaction" and not sandbox.is_frozen
    wanted = asked.get("params", {}).get("hash") if is_look else None
    if _taken.get(wanted, 0) > 0:
        _taken[wanted] -= 1
        sandbox.close_ledger()
    said = bytearray()

    async def listen(message: Message) -> None:
        said.extend(message.get("body", b""))
        await send(message)

    async def replay() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    await sandbox.app(scope, replay, listen)
    _note(asked, _asked(bytes(said)).get("result"))


def _asked(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _note(asked: dict[str, Any], result: Any) -> None:
    if not isinstance(result, dict):
        return
    is_taken = result.get("status") in ("PENDING", "DUPLICATE")
    if asked.get("method") == "sendTransaction" and is_taken:
        _taken.setdefault(result["hash"], MOST_CLOSED)
    if asked.get("method") == "getTransaction" and result.get("status") in ("SUCCESS", "FAILED"):
        _taken.pop(asked["params"]["hash"], None)
