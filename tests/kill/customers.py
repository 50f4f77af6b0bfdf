"""Payers who want so many things, one after another, and do not give up when a server dies."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from mpp_asgi.client import (
    PaymentAuth,
    PaymentError,
    PaymentRefusedError,
    SessionPolicy,
    Status,
)
from mpp_asgi.protocol import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from stellar_sdk import Keypair

    from mpp_asgi.client import HeldChannel
    from tests.servers import Network

PATIENCE_SECONDS = 300
"""For one item."""


@dataclass
class Customer:
    """Somebody who buys ``<name>-0``, ``<name>-1``, … until told to stop, each until it is here."""

    name: str
    key: Keypair
    network: Network
    api: str
    in_session: bool
    bought: list[str] = field(default_factory=list)
    spent: int = 0
    """Of a session, by its latest receipt."""
    refused: list[str] = field(default_factory=list)
    """Items whose payment was taken, or may be, and that were refused all the same."""
    broken: int = 0
    """Answers that were lost."""
    closed: HeldChannel | None = None

    def __post_init__(self) -> None:
        sessions = SessionPolicy(after="always", expected_calls=60) if self.in_session else "never"
        self.auth = PaymentAuth(self.key, budget="100", rpc=self.network.url, sessions=sessions)

    async def shop(self, is_over: Callable[[], bool]) -> None:
        """Buy until it is over, and finish what was begun then."""
        async with httpx.AsyncClient(base_url=self.api, auth=self.auth, timeout=20) as client:
            while not is_over():
                await self._buy(client, f"{self.name}-{len(self.bought) + len(self.refused)}")

    async def _buy(self, client: httpx.AsyncClient, item: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    answer = await client.get(f"/item/{item}")
                except PaymentRefusedError as error:
                    if error.paid is False:
                        continue
                    self.refused.append(item)
                    return
                except httpx.ConnectError:  # nobody is there at the moment
                    await asyncio.sleep(0.1)
                    continue
                except (PaymentError, httpx.TransportError):
                    self.broken += 1
                    await asyncio.sleep(0.1)
                    continue
                if answer.status_code == 200:
                    self.bought.append(item)
                    self._keep(answer)
                    return
                await asyncio.sleep(0.1)

    def _keep(self, answer: httpx.Response) -> None:
        receipt = Receipt.from_header(answer.headers["Payment-Receipt"])
        if self.in_session:
            self.spent = max(self.spent, int(receipt.extra["spent"]))

    async def leave(self) -> None:
        """Close what is open."""
        async with httpx.AsyncClient(base_url=self.api, timeout=60) as client:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.closed is None or self.closed.status is not Status.CLOSED:
                    try:
                        closed = await self.auth.aclose_sessions(client)
                    except PaymentError:
                        await asyncio.sleep(1)
                        continue
                    if not closed:  # its first purchase was refused, and that is counted
                        return
                    (self.closed,) = closed
