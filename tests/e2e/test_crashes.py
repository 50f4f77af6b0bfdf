"""Handlers that fail, workers that race, processes that are killed: one price, one answer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import httpx
import pytest

from example_app.demo.handmade import first_challenge, sponsored_credential
from example_app.demo.processes import ProcessError, Server
from mpp_asgi.client import PaymentAuth, PaymentOutcomeUnknownError
from mpp_asgi.protocol import Problem
from mpp_asgi.stellar.rpc_drivers import SyncRpc
from mpp_asgi.stores.contract import State
from mpp_asgi.stores.url import store_from_url
from tests.servers import clean_environment, running_app

if TYPE_CHECKING:
    from stellar_sdk import Keypair

    from tests.servers import Network

APP = "tests.e2e.till:app"
PRICE = 100_000
MONEY = 10 * 10**7
REQUESTS = 60


@pytest.fixture
def settings(network: Network, tmp_path: Path) -> dict[str, str]:
    trace = tmp_path / "trace.txt"
    trace.touch()
    return network.settings | {
        "MPP_STORE": f"sqlite:///{tmp_path}/payments.db",
        "TRACE": str(trace),
    }


def traces(settings: dict[str, str]) -> list[str]:
    """The endpoints that were run, in order."""
    return Path(settings["TRACE"]).read_text().splitlines()


def handmade_credential(network: Network, url: str, payer: Keypair) -> str:
    rpc = SyncRpc(network.url)
    try:
        return sponsored_credential(first_challenge(httpx.get(url)), payer, rpc)
    finally:
        rpc.close()


def kill_at_work(server: Server, settings: dict[str, str]) -> None:
    """Kill the process as soon as an endpoint runs, and so after its payment was settled."""
    deadline = time.monotonic() + 30
    while not traces(settings) and time.monotonic() < deadline:
        time.sleep(0.02)
    server.kill()


async def race(url: str, credential: str) -> list[httpx.Response]:
    """The same credential, many times at once, each over a connection of its own."""
    every_connection = httpx.Limits(max_connections=REQUESTS, max_keepalive_connections=0)
    headers = {"Authorization": credential}
    async with httpx.AsyncClient(timeout=60, limits=every_connection, headers=headers) as client:
        return await asyncio.gather(*(client.get(url) for _ in range(REQUESTS)))


async def let_half_a_minute_pass(settings: dict[str, str], challenge_id: str) -> None:
    """As far as the store can tell: a killed process counts as alive until its last heartbeat is
    out of date."""
    store = store_from_url(settings["MPP_STORE"])
    await store.open()
    charge = await store.get(challenge_id)
    assert charge is not None
    assert charge.owner is not None
    assert charge.state is State.SETTLED
    await store.heartbeat(charge.owner, alive_until=0)
    await store.close()


def wait_for_workers(url: str, count: int) -> set[int]:
    """Until that many processes answer: their ids."""
    seen: set[int] = set()
    deadline = time.monotonic() + 30
    with httpx.Client(headers={"Connection": "close"}) as client:
        while len(seen) < count and time.monotonic() < deadline:
            seen.add(client.get(f"{url}/worker").json()["worker"])
    assert len(seen) == count
    return seen


async def test_two_workers_grant_one_credential_once(
    network: Network, settings: dict[str, str]
) -> None:
    payer = network.payer()
    with running_app(APP, "--workers", "2", settings=settings) as (url, _):
        wait_for_workers(url, 2)
        credential = handmade_credential(network, f"{url}/served", payer)
        answers = await race(f"{url}/served", credential)
    assert [answer.status_code for answer in answers].count(200) == 1
    for answer in answers:
        if answer.status_code == 402:
            assert Problem.from_json(answer.content).slug == "invalid-challenge"
            assert "WWW-Authenticate" in answer.headers
        elif answer.status_code != 200:
            assert (answer.status_code, "Retry-After" in answer.headers) == (409, True)
    assert traces(settings) == ["served"]
    assert network.usdc(payer.public_key) == MONEY - PRICE


@pytest.mark.parametrize("path", ["/crash", "/after"])
def test_an_endpoint_that_failed_is_asked_again_for_free(
    network: Network, settings: dict[str, str], path: str
) -> None:
    payer = network.payer()
    auth = PaymentAuth(payer, budget="0.02", rpc=network.url)
    with (
        running_app(APP, settings=settings) as (url, _),
        httpx.Client(base_url=url, auth=auth, timeout=60) as client,
    ):
        answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json() == {"attempts": 2}
    assert len(auth.receipts) == 1
    assert network.usdc(payer.public_key) == MONEY - PRICE


def test_a_killed_server_owes_the_answer(network: Network, settings: dict[str, str]) -> None:
    """SIGKILL between the settlement and the answer; the next process serves it for free."""
    payer = network.payer()
    auth = PaymentAuth(payer, budget="0.02", rpc=network.url)
    with (
        running_app(APP, settings=settings) as (url, server),
        httpx.Client(base_url=url, auth=auth, timeout=60) as client,
    ):
        killer = Thread(target=kill_at_work, args=[server, settings])
        killer.start()
        with pytest.raises(PaymentOutcomeUnknownError) as lost:
            client.get("/hang")
        killer.join()
        assert network.usdc(payer.public_key) == MONEY - PRICE
        assert len(auth.unresolved) == 1
        asyncio.run(let_half_a_minute_pass(settings, lost.value.challenge_id))
        with running_app(APP, settings=settings, port=httpx.URL(url).port or 0):
            answer = client.get("/hang")
            again = client.get("/served")
    assert answer.json() == {"attempts": 2}
    assert answer.headers["Payment-Receipt"]
    assert again.status_code == 200
    assert traces(settings) == ["hang", "hang", "served"]
    assert network.usdc(payer.public_key) == MONEY - 2 * PRICE
    assert not auth.unresolved


def test_several_workers_are_told_how_to_share_a_sandbox(settings: dict[str, str]) -> None:
    environment = clean_environment() | {"MPP_NETWORK": "sandbox", "TRACE": settings["TRACE"]}
    with Server("uvicorn", APP, "--port", "0", "--workers", "2", environment=environment) as server:
        said = server.wait_for(r"Several workers need one sandbox between them: .*")[0]
    assert "run `mpp-asgi sandbox`" in said


def test_an_app_without_a_network_does_not_start(settings: dict[str, str]) -> None:
    environment = clean_environment() | {"TRACE": settings["TRACE"]}
    server = Server("uvicorn", APP, "--port", "0", environment=environment)
    with server, pytest.raises(ProcessError, match='add network="sandbox" to try it out'):
        server.wait_for("running on")
    assert server.process.returncode not in (0, None)
