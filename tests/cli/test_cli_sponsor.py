"""``mpp-asgi sponsor`` on a sandbox of its own, with a server's records beside it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from stellar_sdk import Keypair

from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from mpp_asgi.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command
    from tests.servers import Network


@pytest.fixture(autouse=True)
def _settings(network: Network, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in network.settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MPP_STORE", f"sqlite:///{tmp_path / 'records.db'}")


async def make_records(path: Path, *, busy: str | None = None) -> None:
    store = SqliteStore(path / "records.db")
    await store.open()
    if busy is not None:
        now = int(time.time())
        await store.borrow([busy], until=now + 600, now=now)
    await store.close()


def addresses(network: Network, count: int) -> list[str]:
    sponsor = Keypair.from_secret(network.settings["MPP_SPONSOR"])
    return [key.public_key for key in channel_accounts(sponsor, count)]


def test_accounts_are_created_once(command: Command, network: Network, tmp_path: Path) -> None:
    said = command("sponsor", "create", "--accounts", "2")
    assert said.status == 0, said.err
    assert "MPP_SPONSOR_ACCOUNTS=2" in said.err
    again = command("sponsor", "create", "--accounts", "60")
    assert again.status == 0, again.err
    created = {line.split()[1] for line in again.out.splitlines()}
    assert created == set(addresses(network, 60)[2:])
    assert (
        "All 60 channel accounts are there." in command("sponsor", "create", "--accounts", "60").err
    )

    asyncio.run(make_records(tmp_path, busy=addresses(network, 2)[1]))
    status = command("sponsor", "status", "--accounts", "2")
    assert status.status == 0, status.err
    sponsor, today, free, busy = status.out.splitlines()
    assert "XLM to spend" in sponsor
    assert today == "today    0 XLM counted, of 250 XLM"
    assert free.startswith(f"account  {addresses(network, 1)[0]}  1 XLM  sequence ")
    assert free.endswith("  free")
    assert busy.endswith("  in use")
    short = command("sponsor", "status", "--accounts", "61")
    assert short.status == 1
    assert "1 channel account missing" in short.err


def test_what_is_too_much_is_returned(command: Command, network: Network) -> None:
    command("sponsor", "create", "--accounts", "2")
    rich = addresses(network, 2)[1]
    # The faucet opens a trustline as well, which locks half an XLM.
    query: dict[str, str | float] = {"addr": rich, "xlm": "5.5", "usdc": 0}
    httpx.post(f"{network.url}/faucet", params=query).raise_for_status()
    said = command("sponsor", "rebalance", "--accounts", "2")
    assert said.status == 0, said.err
    assert said.out.splitlines()[-1] == "5 XLM returned to the sponsor by 1 channel account"
    nothing = command("sponsor", "rebalance", "--accounts", "2")
    assert nothing.out.splitlines()[-1].startswith("0 XLM returned")


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"MPP_SPONSOR": ""}, "set MPP_SPONSOR"),
        ({"MPP_NETWORK": "sandbox", "MPP_RPC_URL": ""}, "makes its channel accounts itself"),
        ({}, "How many?"),
        ({"MPP_SPONSOR": Keypair.from_raw_ed25519_seed(bytes(32)).secret}, "does not exist"),
    ],
)
def test_says_what_to_do(
    command: Command, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], advice: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    more = [] if advice == "How many?" else ["--accounts", "3"]
    said = command("sponsor", "create", *more)
    assert said.status == 1
    assert advice in said.err


def test_doctor_misses_accounts(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPP_SPONSOR_ACCOUNTS", "150")
    said = command("doctor")
    assert "of 150 channel accounts are missing" in said.out
    assert "mpp-asgi sponsor create" in said.out
