"""``mpp-asgi sandbox --state FILE``: stopped or killed, it goes on where it was."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from stellar_sdk import Asset, Keypair, SorobanServer, TransactionBuilder
from stellar_sdk.soroban_rpc import GetTransactionStatus, SendTransactionStatus

from example_app.demo.processes import Server
from mpp_asgi.sandbox import TESTNET_PASSPHRASE, Sandbox
from tests.servers import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from stellar_sdk import Account, TransactionEnvelope

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are another matter there")


def command(*arguments: str) -> AbstractContextManager[Server]:
    given = ("--port", "0", "--close-interval", "0.05", *arguments)
    return Server("mpp_asgi.cli", "sandbox", *given, environment=clean_environment())


def url_of(run: Server) -> str:
    url: str = run.wait_for(r"export MPP_RPC_URL=(\S+)")[1]
    return url


@pytest.fixture
def payer() -> Keypair:
    return Keypair.random()


def payment(source: Account, payer: Keypair) -> TransactionEnvelope:
    envelope = (
        TransactionBuilder(source, TESTNET_PASSPHRASE, 100)
        .add_time_bounds(0, 0)
        .append_payment_op(payer.public_key, Asset.native(), "1")
        .build()
    )
    envelope.sign(payer)
    return envelope


def pay(server: SorobanServer, envelope: TransactionEnvelope) -> None:
    sent = server.send_transaction(envelope)
    assert sent.status is SendTransactionStatus.PENDING, sent
    found = server.poll_transaction(sent.hash, max_attempts=500, sleep_strategy=lambda _: 0)
    assert found.status is GetTransactionStatus.SUCCESS


def until_saved(path: Path, address: str) -> Iterator[None]:
    """Wait for what runs in another process."""
    limit = time.monotonic() + 30
    while not Sandbox(state=path, close_interval=None).has_account(address):
        assert time.monotonic() < limit
        time.sleep(0.05)
        yield


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_saves_everything(tmp_path: Path, payer: Keypair, number: signal.Signals) -> None:
    path = tmp_path / "state"
    with command("--state", str(path)) as run, SorobanServer(url_of(run)) as server:
        httpx.post(f"{url_of(run)}/faucet", params={"addr": payer.public_key, "usdc": "5"})
        source = server.load_account(payer.public_key)
        pay(server, payment(source, payer))
        last = server.get_latest_ledger().sequence
        run.process.send_signal(number)
        assert run.process.wait(60) == 0

    with command("--state", str(path)) as run, SorobanServer(url_of(run)) as server:
        run.wait_for(rf"state    {path}, from ledger [\d,]+ on")
        assert server.get_latest_ledger().sequence >= last
        pay(server, payment(source, payer))  # the client's own sequence number is still right
        page = server.get_transactions(start_ledger=1_000)
        assert len(page.transactions) == 2
        recipient = run.wait_for(r"export MPP_RECIPIENT=(\S+)")[1]
        run.process.send_signal(number)
        assert run.process.wait(60) == 0
    kept = Sandbox(state=path)
    assert kept.balance(recipient, kept.xlm) == 10_000 * 10**7  # it was not given it once more
    assert kept.balance(payer.public_key, kept.usdc) == 5 * 10**7


def test_killed_it_goes_on_from_the_last_save(tmp_path: Path, payer: Keypair) -> None:
    path = tmp_path / "state"
    with command("--state", str(path)) as run, SorobanServer(url_of(run)) as server:
        httpx.post(f"{url_of(run)}/friendbot", params={"addr": payer.public_key})
        source = server.load_account(payer.public_key)
        for _ in until_saved(path, payer.public_key):
            server.get_health()
        run.process.kill()
        run.process.wait(60)

    with command("--state", str(path)) as run, SorobanServer(url_of(run)) as server:
        pay(server, payment(source, payer))


def test_a_file_that_is_not_its_own_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Buy bread.")
    with command("--state", str(path)) as run:
        assert run.process.wait(20) == 1
        run.wait_for(rf"state file {path} is not for this sandbox: it is not a state")
    assert path.read_text() == "Buy bread."


def test_admin_is_on_unless_told_otherwise() -> None:
    with command() as run:
        assert httpx.post(f"{url_of(run)}/admin/close").status_code == 200
        run.wait_for(r"control  curl -X POST http://127\.0\.0\.1:\d+/admin/close")
    with command("--no-admin") as run:
        assert httpx.get(f"{url_of(run)}/admin").status_code == 404
