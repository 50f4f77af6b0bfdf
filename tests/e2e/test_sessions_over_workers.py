"""Sessions at two workers on one SQLite file: one account of every channel, whoever serves it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mpp_asgi.client import PaymentAuth, SessionPolicy, Status
from mpp_asgi.protocol import Challenge, Credential, Problem, Receipt
from mpp_asgi.stellar.commitment import sign_commitment
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.network import TESTNET
from tests.e2e.test_crashes import APP, MONEY, PRICE, settings, traces, wait_for_workers
from tests.servers import running_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from stellar_sdk import Keypair

    from tests.servers import Network

__all__ = ["settings"]

CLIENTS = 8
REQUESTS = 30
"""Of each client."""
DEPOSITED = 500
"""Calls that the deposit is for."""
NETWORK_ID = network_id(TESTNET.passphrase)


@pytest.fixture
def api(settings: dict[str, str]) -> Iterator[str]:
    with running_app(APP, "--workers", "2", settings=settings) as (url, _):
        wait_for_workers(url, 2)
        yield url


def buyer(network: Network, payer: Keypair, calls: int) -> PaymentAuth:
    policy = SessionPolicy(after="always", expected_calls=calls)
    return PaymentAuth(payer, budget="5", rpc=network.url, sessions=policy)


@dataclass
class Hand:
    """One of several that draw on the same channel, without a word to each other."""

    client: httpx.AsyncClient
    key: Keypair
    channel: str
    random: Random
    shown: list[int] = field(default_factory=list)
    """The amounts of its vouchers."""
    spent: list[int] = field(default_factory=list)
    """What each of its receipts says, itself included."""
    refused: Counter[str] = field(default_factory=Counter)
    workers: set[int] = field(default_factory=set)

    async def draw(self, times: int) -> None:
        challenge = await self.standing()
        knows = int(challenge.request_object()["methodDetails"]["acceptedCumulative"])
        for _ in range(times):
            # Riding, by a call or two, too late, beyond the deposit; by a bit less at times.
            raises = self.random.choice([0, 1, 1, 1, 2, -2, DEPOSITED]) * PRICE
            amount = max(0, knows + raises - self.random.choice([0, 0, 0, 1]))
            answer = await self.show(self.credential(challenge, amount))
            knows = self.note(amount, answer, knows)

    async def ride(self, amount: int, times: int) -> None:
        credential = self.credential(await self.standing(), amount)
        for _ in range(times):
            self.note(amount, await self.show(credential), 0)

    def note(self, amount: int, answer: httpx.Response, knows: int) -> int:
        """What it knows by now to be accepted."""
        self.shown.append(amount)
        if answer.status_code == 200:
            receipt = Receipt.from_header(answer.headers["Payment-Receipt"]).extra
            self.spent.append(int(receipt["spent"]))
            self.workers.add(answer.json()["worker"])
            return int(receipt["acceptedCumulative"])
        assert answer.status_code == 402, answer.text
        problem = Problem.from_json(answer.content)
        self.refused[problem.slug] += 1
        # Half of the time it forgets, and begins from where it was.
        told = int(problem.extra["acceptedCumulative"])
        return told if self.random.randrange(2) else knows

    async def standing(self) -> Challenge:
        """A challenge that says how the channel stands."""
        answer = await self.client.get("/served", headers={"Payment-Session": self.channel})
        challenges = Challenge.all_from_headers(answer.headers.get_list("WWW-Authenticate"))
        (session,) = [each for each in challenges if each.intent == "session"]
        return session

    async def stands(self) -> dict[str, str]:
        """What the server says of the channel."""
        details: dict[str, str] = (await self.standing()).request_object()["methodDetails"]
        return details

    def credential(
        self, challenge: Challenge, amount: int, *, action: str = "voucher"
    ) -> Credential:
        payload: dict[str, Any] = {
            "action": action,
            "channelId": self.channel,
            "cumulativeAmount": str(amount),
            "signature": sign_commitment(self.key, NETWORK_ID, self.channel, amount).hex(),
        }
        return Credential(challenge, payload)

    async def show(self, credential: Credential) -> httpx.Response:
        return await self.client.get("/served", headers={"Authorization": credential.to_header()})


@asynccontextmanager
async def connections(api: str, count: int) -> AsyncIterator[list[httpx.AsyncClient]]:
    """So many clients with a connection each, which they keep: one to each worker in turn.

    Who accepts a connection is the kernel's choice, and it likes to choose the same one.
    """
    workers = sorted(wait_for_workers(api, 2))
    async with AsyncExitStack() as stack:
        clients = []
        for n in range(count):
            worker, other = workers[:: (1, -1)[n % 2]]
            clients.append(await connection(api, worker, other))
            stack.push_async_callback(clients[-1].aclose)
        yield clients


async def connection(api: str, worker: int, other: int) -> httpx.AsyncClient:
    """To one worker: the other one stands still while it is made."""
    while True:
        client = httpx.AsyncClient(
            base_url=api, timeout=60, limits=httpx.Limits(max_connections=1, keepalive_expiry=None)
        )
        os.kill(other, signal.SIGSTOP)
        try:
            answer = await client.get("/worker")
        finally:
            os.kill(other, signal.SIGCONT)
        if answer.json()["worker"] == worker:
            return client
        await client.aclose()  # the other one was not quite still yet


async def test_eight_clients_on_one_channel_spend_nothing_twice(
    network: Network, settings: dict[str, str], api: str
) -> None:
    payer = network.payer()
    earned = network.usdc(network.recipient)
    auth = buyer(network, payer, DEPOSITED)
    async with httpx.AsyncClient(base_url=api, auth=auth, timeout=60) as client:
        assert (await client.get("/served")).status_code == 200
    (channel,) = auth.channels
    assert channel.deposit == DEPOSITED * PRICE
    assert network.usdc(payer.public_key) == MONEY - DEPOSITED * PRICE

    async with connections(api, CLIENTS) as clients:
        hands = [Hand(each, payer, channel.id, Random(n)) for n, each in enumerate(clients)]
        await asyncio.gather(*(hand.draw(REQUESTS) for hand in hands))
        shown = [amount for hand in hands for amount in hand.shown]
        highest = max(amount for amount in shown if amount <= channel.deposit)
        stands = await hands[0].stands()
        assert int(stands["acceptedCumulative"]) == highest  # no voucher is lost
        assert int(stands["deposit"]) == channel.deposit

        # Now for what is left of a voucher: all of them at once, and some too many.
        last = highest + 5 * PRICE
        left = (last - int(stands["spent"])) // PRICE
        await asyncio.gather(*(hand.ride(last, left // CLIENTS + 2) for hand in hands))

        spent = sorted(each for hand in hands for each in hand.spent)
        grants = 1 + len(spent)
        leaks = len(traces(settings)) - grants
        print(f"A7 at two workers: {grants} granted, {last // PRICE} signed for, leaks = {leaks}")
        assert leaks == 0
        assert grants == last // PRICE
        assert spent == [n * PRICE for n in range(2, grants + 1)]  # each of its own
        assert len({worker for hand in hands for worker in hand.workers}) == 2
        refused = sum((hand.refused for hand in hands), Counter[str]())
        assert refused["session/insufficient-balance"] >= CLIENTS
        assert set(refused) <= {
            "verification-failed",
            "session/insufficient-balance",
            "session/amount-exceeds-deposit",
        }
        assert int((await hands[0].stands())["spent"]) == grants * PRICE <= last
        closing = hands[0].credential(await hands[0].standing(), grants * PRICE, action="close")
        closed = await hands[0].show(closing)
    assert closed.status_code == 204, closed.text
    assert network.usdc(payer.public_key) == MONEY - grants * PRICE
    assert network.usdc(network.recipient) == earned + grants * PRICE


async def test_three_clients_on_three_channels_at_once(network: Network, api: str) -> None:
    payers = [network.payer() for _ in range(3)]
    earned = network.usdc(network.recipient)

    async def buy(payer: Keypair, calls: int) -> None:
        auth = buyer(network, payer, 20)  # so two are topped up on the way
        async with httpx.AsyncClient(base_url=api, auth=auth, timeout=60) as client:
            for _ in range(5):
                answers = await asyncio.gather(*(client.get("/served") for _ in range(calls // 5)))
                assert [answer.status_code for answer in answers] == [200] * (calls // 5)
            (closed,) = await auth.aclose_sessions(client)
        assert closed.status is Status.CLOSED
        assert closed.owed == calls * PRICE
        assert network.usdc(payer.public_key) == MONEY - calls * PRICE
        assert network.xlm(payer.public_key) == 100 * 10**7  # the server paid every fee

    await asyncio.gather(*(buy(payer, 20 + 5 * n) for n, payer in enumerate(payers)))
    assert network.usdc(network.recipient) == earned + 75 * PRICE


async def test_a_killed_server_forgets_no_voucher(
    network: Network, settings: dict[str, str]
) -> None:
    """SIGKILL amid requests: whatever had a receipt counts still, and nothing else but what was on
    its way."""
    payer = network.payer()
    calls = 200
    auth = buyer(network, payer, calls)
    with running_app(APP, settings=settings) as (url, server):
        async with httpx.AsyncClient(base_url=url, auth=auth, timeout=60) as client:
            assert (await client.get("/served")).status_code == 200
        (channel,) = auth.channels
        known = [PRICE]

        async def spend_until_it_is_dead() -> None:
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                hand = Hand(client, payer, channel.id, Random(0))
                challenge = await hand.standing()
                while True:
                    amount = known[-1] + PRICE
                    answer = await hand.show(hand.credential(challenge, amount))
                    assert answer.status_code == 200, answer.text
                    known.append(amount)
                    if len(known) == 20:
                        asyncio.get_running_loop().call_later(0.02, server.process.kill)

        with pytest.raises(httpx.TransportError):
            await spend_until_it_is_dead()
        with running_app(APP, settings=settings, port=httpx.URL(url).port or 0):
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                hand = Hand(client, payer, channel.id, Random(0))
                stands = await hand.stands()
                spent = int(stands["spent"])
                assert spent == int(stands["acceptedCumulative"])
                assert spent in (known[-1], known[-1] + PRICE)
                closing = hand.credential(await hand.standing(), spent, action="close")
                assert (await hand.show(closing)).status_code == 204
    assert network.usdc(payer.public_key) == MONEY - spent
