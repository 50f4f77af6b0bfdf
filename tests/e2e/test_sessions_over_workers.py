"""Sessions at two workers on one SQLite file: one account of every channel, whoever serves it."""

from __future__ import annotations

import asyncio
from collections import Counter
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
    from collections.abc import Iterator

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

    api: str
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
        async with httpx.AsyncClient(base_url=self.api, timeout=60) as client:
            challenge = await self.standing(client)
            knows = int(challenge.request_object()["methodDetails"]["acceptedCumulative"])
            for _ in range(times):
                # Riding, by a call or two, too late, beyond the deposit; by a bit less at times.
                raises = self.random.choice([0, 1, 1, 1, 2, -2, DEPOSITED]) * PRICE
                amount = max(0, knows + raises - self.random.choice([0, 0, 0, 1]))
                answer = await self.show(client, self.credential(challenge, amount))
                knows = self.note(amount, answer, knows)

    async def ride(self, amount: int, times: int) -> None:
        async with httpx.AsyncClient(base_url=self.api, timeout=60) as client:
            credential = self.credential(await self.standing(client), amount)
            for _ in range(times):
                self.note(amount, await self.show(client, credential), 0)

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

    async def standing(self, client: httpx.AsyncClient) -> Challenge:
        """A challenge that says how the channel stands."""
        answer = await client.get("/served", headers={"Payment-Session": self.channel})
        challenges = Challenge.all_from_headers(answer.headers.get_list("WWW-Authenticate"))
        (session,) = [each for each in challenges if each.intent == "session"]
        return session

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

    async def show(self, client: httpx.AsyncClient, credential: Credential) -> httpx.Response:
        return await client.get("/served", headers={"Authorization": credential.to_header()})


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

    hands = [Hand(api, payer, channel.id, Random(seed)) for seed in range(CLIENTS)]
    await asyncio.gather(*(hand.draw(REQUESTS) for hand in hands))
    highest = max(amount for hand in hands for amount in hand.shown if amount <= channel.deposit)
    stands = await standing(hands[0])
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
    assert int((await standing(hands[0]))["spent"]) == grants * PRICE <= last
    async with httpx.AsyncClient(base_url=api, timeout=60) as client:
        challenge = await hands[0].standing(client)
        closing = hands[0].credential(challenge, grants * PRICE, action="close")
        closed = await hands[0].show(client, closing)
    assert closed.status_code == 204, closed.text
    assert network.usdc(payer.public_key) == MONEY - grants * PRICE
    assert network.usdc(network.recipient) == earned + grants * PRICE


async def standing(hand: Hand) -> dict[str, str]:
    """What the server says of the channel."""
    async with httpx.AsyncClient(base_url=hand.api, timeout=60) as client:
        challenge = await hand.standing(client)
    details: dict[str, str] = challenge.request_object()["methodDetails"]
    return details


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
        hand = Hand(url, payer, channel.id, Random(0))
        known = [PRICE]

        async def spend_until_it_is_dead() -> None:
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                challenge = await hand.standing(client)
                while True:
                    amount = known[-1] + PRICE
                    answer = await hand.show(client, hand.credential(challenge, amount))
                    assert answer.status_code == 200, answer.text
                    known.append(amount)
                    if len(known) == 20:
                        asyncio.get_running_loop().call_later(0.02, server.process.kill)

        with pytest.raises(httpx.TransportError):
            await spend_until_it_is_dead()
        with running_app(APP, settings=settings, port=httpx.URL(url).port or 0):
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                last = await hand.standing(client)
                stands = last.request_object()["methodDetails"]
                spent = int(stands["spent"])
                assert spent == int(stands["acceptedCumulative"])
                assert spent in (known[-1], known[-1] + PRICE)
                closing = hand.credential(last, spent, action="close")
                assert (await hand.show(client, closing)).status_code == 204
    assert network.usdc(payer.public_key) == MONEY - spent
