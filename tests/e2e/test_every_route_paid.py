"""The example app and a sandbox over HTTP: everything bought in every way, and counted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from stellar_sdk import xdr

from example_app.demo.processes import ROOT
from example_app.demo.purchases import PURCHASES, WAYS, Purchase, Way
from mpp_asgi.client import PaymentAuth
from mpp_asgi.stellar.rpc import get_transaction
from mpp_asgi.stellar.rpc_drivers import SyncRpc
from tests.servers import clean_environment, running_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stellar_sdk import Keypair

    from tests.servers import Network

MONEY, XLM = 10 * 10**7, 100 * 10**7


@pytest.fixture(scope="module")
def api(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("store") / "payments.db"
    settings = network.settings | {"MPP_STORE": f"sqlite:///{store}"}
    with running_app("example_app.main:app", settings=settings) as (url, _):
        yield url


def fee_of(network: Network, tx_hash: str) -> int:
    """Stroops, from the ledger."""
    rpc = SyncRpc(network.url)
    try:
        found = rpc.do(get_transaction(tx_hash))
    finally:
        rpc.close()
    assert found.status == "SUCCESS"
    assert found.result_xdr is not None
    return int(xdr.TransactionResult.from_xdr(found.result_xdr).fee_charged.int64)


async def buy(network: Network, api: str, payer: Keypair, purchase: Purchase, way: Way) -> str:
    """Buy once; returns the transaction that the receipt names."""
    auth = PaymentAuth(
        payer, budget="0.10", rpc=network.url, mode=way.mode, sponsored=way.sponsored
    )
    async with httpx.AsyncClient(base_url=api, auth=auth, timeout=60) as client:
        answer = await client.request(purchase.method, purchase.path, json=purchase.json)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "private"
    (paid,) = auth.paid
    assert (paid.amount, paid.recipient) == (purchase.price, network.recipient)
    assert paid.receipt is not None
    assert paid.receipt.reference == paid.transaction_hash
    assert not auth.unresolved
    return paid.receipt.reference


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_every_route_is_paid_for_exactly(network: Network, api: str, way: Way) -> None:
    payers = [network.payer() for _ in PURCHASES]
    earned = network.usdc(network.recipient)
    references = await asyncio.gather(
        *(
            buy(network, api, payer, purchase, way)
            for payer, purchase in zip(payers, PURCHASES, strict=True)
        )
    )
    assert len(set(references)) == len(PURCHASES)
    for payer, purchase, reference in zip(payers, PURCHASES, references, strict=True):
        assert network.usdc(payer.public_key) == MONEY - purchase.price
        fee = 0 if way.sponsored else fee_of(network, reference)
        assert network.xlm(payer.public_key) == XLM - fee
    total = sum(purchase.price for purchase in PURCHASES)
    assert network.usdc(network.recipient) == earned + total


async def test_a_stream_arrives_piece_by_piece(network: Network, api: str) -> None:
    auth = PaymentAuth(network.payer(), budget="0.10", rpc=network.url)
    async with (
        httpx.AsyncClient(base_url=api, auth=auth, timeout=60) as client,
        client.stream("GET", "/live/tokyo") as stream,
    ):
        pieces = [piece async for piece in stream.aiter_raw()]
    assert b"".join(pieces).count(b"data: ") == 10
    assert len(pieces) > 1


async def test_a_session_buys_by_the_unit(network: Network, api: str) -> None:
    payer = network.payer()
    auth = PaymentAuth(payer, budget="0.10", rpc=network.url, sessions="always")
    async with httpx.AsyncClient(base_url=api, auth=auth, timeout=60) as client:
        async with auth.astream(client, "GET", "/watch/lima?readings=20") as events:
            heights = [float(event.data) async for event in events]
        (closed,) = await auth.aclose_sessions(client)
    assert len(heights) == 20
    assert closed.owed == 21 * 10_000
    assert network.usdc(payer.public_key) == MONEY - closed.owed


async def test_what_is_not_sold_costs_nothing(network: Network, api: str) -> None:
    payer = network.payer()
    auth = PaymentAuth(payer, budget="0.10", rpc=network.url)
    async with httpx.AsyncClient(base_url=api, auth=auth, timeout=60) as client:
        for path, status in (
            ("/", 200),
            ("/sun/atlantis", 404),
            ("/white-nights/cairo", 404),
            ("/calendars/decade/paris", 422),
            ("/sun/paris?on=someday", 422),
        ):
            assert (await client.get(path)).status_code == status
        assert (await client.post("/journeys", json={"stops": []})).status_code == 422
    assert network.usdc(payer.public_key) == MONEY
    assert auth.paid == ()


def test_the_app_and_its_agent_need_no_setting_to_play() -> None:
    """As the README says: `uvicorn example_app.main:app`, and `python -m example_app.agent`."""
    with running_app("example_app.main:app", settings={}) as (url, _):
        agent = subprocess.run(
            [sys.executable, "-m", "example_app.agent"],
            cwd=ROOT,
            env={**clean_environment(), "DAYLIGHT_URL": url},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
    assert (agent.returncode, agent.stderr) == (0, "")
    assert "The price of 0.25 USDC is more than the 0.064 USDC left" in agent.stdout
    assert agent.stdout.endswith("Spent 0.0360000 USDC, 0.0640000 left.\n")
