"""Stellar's own SDK for JavaScript, `@stellar/mpp`, pays our server and is paid by our client.

It comes from npm, or from a directory with a build of it and its dependencies that
``TEST_STELLAR_MPP`` names. It talks to no RPC but by HTTPS.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import trustme
from stellar_sdk import Keypair

from mpp_asgi.client import PaymentAuth, UnacceptableOfferError
from mpp_asgi.protocol import Receipt
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.accounts import get_account
from mpp_asgi.stellar.channel_calls import Opening
from mpp_asgi.stellar.envelope import signed_envelope, unsigned_envelope
from mpp_asgi.stellar.invocation import call_operation, leave_of_source
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc import get_transaction, send_transaction, simulate_transaction
from mpp_asgi.stellar.rpc_drivers import InProcessSyncRpc
from tests.interop.conftest import paid_app
from tests.interop.node import Node, running
from tests.interop.npm import installed
from tests.servers import served
from tests.shop import PRICE, RECIPIENT, SPONSOR

VERSION = "0.7.0"
PEERS = ("mppx@0.6.31", "@stellar/stellar-sdk@15.1.0")
"""The last that it runs with on Node 20."""
SCRIPT = Path(__file__).with_name("stellar_mpp.mjs")
BUILT = "TEST_STELLAR_MPP"
HOST = "127.0.0.1"


def directories() -> tuple[Path, Path]:
    """Of the SDK, and of mppx, whose method it is."""
    if BUILT in os.environ:
        sdk = Path(os.environ[BUILT])
        return sdk, sdk / "node_modules" / "mppx"
    # mppx has peers of its own, which none of this needs.
    found = installed("@stellar/mpp", VERSION, "--legacy-peer-deps", *PEERS)
    modules = found / "node_modules"
    return modules / "@stellar" / "mpp", modules / "mppx"


@dataclass(frozen=True)
class World:
    """A sandbox, by HTTPS, and somebody who pays on it with the SDK."""

    sandbox: Sandbox
    rpc: str
    """By HTTPS, as the SDK wants it."""
    plain_rpc: str
    sdk: Node

    def account(self) -> Keypair:
        """One with 1 USDC."""
        keypair = Keypair.random()
        self.sandbox.fund(keypair.public_key, usdc=1)
        return keypair

    def earned(self) -> int:
        return self.sandbox.balance(RECIPIENT.public_key, self.sandbox.usdc)

    def xlm(self, account: Keypair) -> int:
        return self.sandbox.balance(account.public_key, self.sandbox.xlm)

    def pay(self, payer: Keypair, url: str, mode: str = "pull", **init: Any) -> dict[str, Any]:
        """The SDK's client asks for this, and pays."""
        answer: dict[str, Any] = self.sdk(
            "charge", url=url, init=init, secret=payer.secret, mode=mode, rpcUrl=self.rpc
        )
        return answer


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    installed_in = directories()
    folder = tmp_path_factory.mktemp("tls")
    authority, trusted, key = trustme.CA(), folder / "ca.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(trusted)
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(key)
    sandbox = Sandbox(close_interval=0.1)
    for account in (RECIPIENT, SPONSOR):
        sandbox.fund(account.public_key)
    with (
        served(sandbox.app, tls=key) as rpc,
        served(sandbox.app) as plain_rpc,
        running(SCRIPT, *installed_in, NODE_EXTRA_CA_CERTS=str(trusted)) as sdk,
    ):
        yield World(sandbox, rpc, plain_rpc, sdk)


@contextmanager
def selling(world: World, **settings: Any) -> Iterator[str]:
    """Our server."""
    with served(paid_app(world.sandbox, [], **settings)) as url:
        yield url


def without_sponsor(world: World) -> dict[str, Any]:
    """A sandbox inside an app sponsors by itself, so this one is on testnet for all it knows."""
    return {
        "network": "stellar:testnet",
        "sandbox": None,
        "sponsor": None,
        "store": "memory://",
        "rpc_url": world.plain_rpc,
    }


def receipt_of(answer: dict[str, Any]) -> Receipt:
    assert answer["status"] == 200, answer["body"]
    return Receipt.from_header(answer["receipt"])


ORDER = {
    "method": "POST",
    "body": '{"tea": "Earl Grey"}',
    "headers": {"Content-Type": "application/json"},
}


@pytest.mark.parametrize(("path", "init"), [("/paid", {}), ("/order", ORDER)])
def test_its_client_has_its_fee_sponsored(world: World, path: str, init: dict[str, Any]) -> None:
    payer, earned = world.account(), world.earned()
    fees_left = world.xlm(payer)
    with selling(world) as url:
        receipt = receipt_of(world.pay(payer, f"{url}{path}", **init))
    assert len(receipt.reference) == 64
    assert world.earned() == earned + PRICE
    assert world.xlm(payer) == fees_left


@pytest.mark.parametrize("mode", ["pull", "push"])
def test_its_client_pays_its_own_fee(world: World, mode: str) -> None:
    payer, earned = world.account(), world.earned()
    fees_left = world.xlm(payer)
    with selling(world, **without_sponsor(world)) as url:
        receipt = receipt_of(world.pay(payer, f"{url}/paid", mode))
    assert len(receipt.reference) == 64
    assert world.earned() == earned + PRICE
    assert world.xlm(payer) < fees_left


def test_its_client_pays_by_channel_and_closes_it(world: World) -> None:
    funder, key, earned = world.account(), Keypair.random(), world.earned()
    deposit = 5 * PRICE
    channel = open_channel(world, funder, key, deposit)
    settings = {
        "recipient_secret": RECIPIENT.secret,
        "recipient": None,
        "intents": ["channel"],
        "channel": channel,
    }

    def pay(**context: Any) -> dict[str, Any]:
        answer: dict[str, Any] = world.sdk(
            "channel",
            url=f"{url}/paid",
            commitmentSecret=key.secret,
            address=channel,
            rpcUrl=world.rpc,
            context=context,
        )
        return answer

    with selling(world, **settings) as url:
        spent = [receipt_of(pay()).extra["spent"] for _ in range(3)]
        closed = pay(action="close", cumulativeAmount=str(3 * PRICE))
    assert spent == [str(PRICE), str(2 * PRICE), str(3 * PRICE)]
    assert closed["status"] == 204, closed["body"]
    assert world.earned() == earned + 3 * PRICE
    assert world.sandbox.balance(funder.public_key, world.sandbox.usdc) == 10**7 - 3 * PRICE


@pytest.mark.parametrize("fee_payer", [SPONSOR.secret, None])
@pytest.mark.parametrize("mode", ["pull", "push"])
def test_its_server_is_paid(world: World, mode: Literal["pull", "push"], fee_payer: str) -> None:
    payer, earned = world.account(), world.earned()
    url = world.sdk(
        "serve",
        recipient=RECIPIENT.public_key,
        currency=world.sandbox.usdc,
        rpcUrl=world.rpc,
        feePayer=fee_payer,
    )
    auth = PaymentAuth(payer, budget="1", rpc=world.plain_rpc, mode=mode)
    with httpx.Client(auth=auth, timeout=60) as client:
        if mode == "push" and fee_payer:
            with pytest.raises(UnacceptableOfferError, match="it is sponsored"):
                client.get(url)
            return
        answer = client.get(url)
    assert (answer.status_code, answer.json()) == (200, {"resource": "paid"})
    assert world.earned() == earned + PRICE
    (paid,) = auth.paid
    assert paid.receipt is not None


def open_channel(world: World, funder: Keypair, key: Keypair, deposit: int) -> str:
    """A channel to our recipient, opened without our server: its address."""
    opening = Opening(
        factory=world.sandbox.channel_factory,
        wasm_hash=None,
        salt=bytes(32),
        token=world.sandbox.usdc,
        funder=funder.public_key,
        key=key.raw_public_key(),
        recipient=RECIPIENT.public_key,
        amount=deposit,
        waiting_period=17_280,
    )
    call = opening.call(TESTNET.passphrase)
    operation = call_operation(call, [leave_of_source(call)])
    node, source = InProcessSyncRpc(world.sandbox.rpc), funder.public_key
    simulated = node.do(simulate_transaction(unsigned_envelope(operation, source=source)))
    account = node.do(get_account(source))
    assert account is not None
    assert simulated.min_resource_fee is not None
    assert simulated.transaction_data is not None
    signed = signed_envelope(
        operation,
        source=source,
        sequence=account.sequence + 1,
        fee=1_000 + simulated.min_resource_fee,
        max_time=int(time.time()) + 60,
        soroban_data=simulated.transaction_data,
        signer=funder,
        passphrase=TESTNET.passphrase,
    )
    assert node.do(send_transaction(signed.xdr)).status == "PENDING"
    while (found := node.do(get_transaction(signed.hash))).status == "NOT_FOUND":
        assert found.latest_ledger_close_time < time.time() + 60
        time.sleep(0.05)
    assert found.status == "SUCCESS"
    return opening.channel(TESTNET.passphrase)
