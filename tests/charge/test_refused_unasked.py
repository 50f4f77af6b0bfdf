"""What is not taken at all is refused without a word to the network, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from mpp_asgi.sandbox import Sandbox
from tests.shop import Time, open_shop


class ListeningNode:
    """The network, with a list of what it was asked."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.app = sandbox.app
        self.channel_factory = sandbox.channel_factory
        self.channel_wasm_hash = sandbox.channel_wasm_hash
        self.fund = sandbox.fund
        self.asked: list[str] = []
        self._sandbox = sandbox

    def rpc(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request["method"])
        return self._sandbox.rpc(request)


@pytest.mark.parametrize("offer", [0, 1], ids=["sponsored", "unsponsored"])
async def test_a_bare_hash_where_none_is_taken(offer: int) -> None:
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1.0)
    node = ListeningNode(sandbox)
    async with open_shop(sandbox=sandbox, time=time, node=node) as shop:
        challenge = (await shop.challenges())[offer]
        credential = shop.payer().credential(challenge, type="hash", hash="ab" * 32)
        node.asked.clear()
        answer = await shop.show(credential)
        assert (answer.status_code, node.asked) == (402, [])
        assert await shop.store.get(challenge.id) is None


async def test_a_signed_hash_for_a_sponsored_charge() -> None:
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1.0)
    node = ListeningNode(sandbox)
    async with open_shop(sandbox=sandbox, time=time, node=node) as shop:
        challenge, *_ = await shop.challenges()
        credential = shop.payer().signed_hash(challenge, "ab" * 32)
        node.asked.clear()
        answer = await shop.show(credential)
        assert (answer.status_code, node.asked) == (402, [])
