"""``mpp-asgi channels``, on the records of a server."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest

from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stores.channels import Channel, ChannelStatus
from mpp_asgi.stores.sqlite.store import SqliteStore
from tests.sandbox.conftest import Clock, Stage
from tests.servers import served
from tests.session.watchtower import DEPOSIT, Harbour, Node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from mpp_asgi.stores.contract import Store
    from tests.cli.conftest import Command

T = TypeVar("T")
UNIT = 10_000_000
"""Base units of a whole token."""


@dataclass
class Office:
    """A network that is served, and a server's records."""

    harbour: Harbour
    path: Path

    def on_record(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Do something with the records, as the server does."""

        async def do() -> T:
            store = SqliteStore(self.path)
            await store.open()
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(do())

    def opened(self, spent: int = 0, *, ahead: int = 0, amount: int = 5 * UNIT) -> str:
        """A channel that a server knows, and has served so much on."""

        async def work(store: Store) -> str:
            channel = await self.harbour.opened(store, amount=amount)
            if spent or ahead:
                await self.harbour.spend(store, channel, spent, ahead=ahead)
            return channel

        return self.on_record(work)

    def record(self, channel: str) -> Channel:
        found = self.on_record(lambda store: store.channel(channel))
        assert found is not None
        return found


@pytest.fixture(scope="module")
def town() -> Iterator[tuple[Harbour, str]]:
    """A network that goes by the real clock, and its URL."""
    sandbox = Sandbox(close_interval=0.2)
    stage = Stage(sandbox, Clock(time.time()))
    for who, usdc in ((stage.payer, 1_000), (stage.seller, 1), (stage.sponsor, 0)):
        sandbox.fund(who.public_key, usdc=usdc)
    with served(sandbox.app) as url:
        yield Harbour(stage, None, Node(sandbox.rpc)), url


@pytest.fixture
def office(town: tuple[Harbour, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Office:
    harbour, url = town
    stage = harbour.stage
    stage.clock.now = time.time()
    harbour.begin()
    for name, value in {
        "NETWORK": "stellar:testnet",
        "RPC_URL": url,
        "RECIPIENT_SECRET": stage.seller.secret,
        "SPONSOR": harbour.house.secret,
        "CHANNEL_WASM_HASHES": stage.sandbox.channel_wasm_hash,
        "STORE": "sqlite:///records.db",
    }.items():
        monkeypatch.setenv(f"MPP_{name}", value)
    return Office(harbour, tmp_path / "records.db")


# Looking


def test_lists_what_is_open(office: Office, command: Command) -> None:
    first, second = sorted([office.opened(3 * UNIT), office.opened(UNIT, ahead=UNIT // 2)])
    said = command("channels", "list")

    assert said.status == 0
    headings, *lines = said.out.splitlines()
    assert headings.split()[:4] == ["channel", "status", "deposited", "settled"]
    assert [line.split()[0] for line in lines] == [first, second]
    assert {len(line.split("  ")[0]) for line in lines} == {56}
    earned = {line.split()[0]: re.findall(r"([\d.]+) USDC", line) for line in lines}
    assert sorted(earned.values()) == [["5", "0", "1", "0.5"], ["5", "0", "3", "0"]]
    assert said.err == "2 channels; 4 USDC to settle\n"


def test_lists_those_that_are_closed_if_asked(office: Office, command: Command) -> None:
    channel = office.opened()
    seen = office.record(channel)
    office.on_record(
        lambda store: store.observe(
            channel,
            ledger=seen.seen_ledger,
            deposited=0,
            settled=0,
            closes_at=1,
            closed=True,
            now=int(time.time()),
        )
    )

    assert channel not in command("channels", "list").out
    assert command("channels", "list").err == "0 channels; nothing to settle\n"
    assert channel in command("channels", "list", "--all").out


def test_shows_one_without_its_signature(office: Office, command: Command) -> None:
    channel = office.opened(3 * UNIT, ahead=UNIT)
    said = command("channels", "show", channel)

    assert said.status == 0
    title, *lines = said.out.splitlines()
    rows = dict(line.strip().split("  ", 1) for line in lines)
    found = office.record(channel)
    assert title == "Channel"
    assert rows["funder"].strip() == found.funder
    assert rows["voucher"].strip() == "4 USDC"
    assert rows["spent"].strip() == "3 USDC, for 1 unit"
    assert rows["headroom"].strip() == "1 USDC"
    assert rows["last settled"].strip() == "never"
    assert found.signature not in said.out


def test_the_store_is_the_one_that_is_named(
    office: Office, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = office.opened(UNIT)
    monkeypatch.setenv("MPP_STORE", "sqlite:///another.db")

    assert command("channels", "list").status == 1
    assert channel in command("channels", "list", "--store", "sqlite:///records.db").out


@pytest.mark.parametrize(
    ("store", "advice"),
    [
        ("memory://", "MPP_STORE"),
        ("sqlite:///nowhere.db", "nowhere.db"),
        ("redis://:secret@127.0.0.1:1", "Redis"),
        ("mysql://secret@host", "mysql"),
    ],
)
def test_says_where_there_are_no_records(
    office: Office, command: Command, store: str, advice: str
) -> None:
    said = command("channels", "list", "--store", store)

    assert (said.status, said.out) == (1, "")
    assert advice in said.err
    assert "secret" not in said.err
    assert not (office.path.parent / "nowhere.db").exists()


@pytest.mark.parametrize("action", ["show", "settle", "close"])
def test_says_that_a_channel_is_not_on_record(
    office: Office, command: Command, action: str
) -> None:
    office.opened()
    said = command("channels", action, office.harbour.channels.factory)

    assert (said.status, said.out) == (1, "")
    assert "not on record" in said.err


# Settling


def test_settles_what_is_held(office: Office, command: Command) -> None:
    channel = office.opened(3 * UNIT, ahead=UNIT)
    said = command("channels", "settle", channel)

    assert said.status == 0, said.err
    assert re.fullmatch(rf"{channel}  4 USDC  transaction [0-9a-f]{{64}}\n", said.out)
    assert office.harbour.earned() == office.record(channel).settled == 4 * UNIT
    again = command("channels", "settle", channel)
    assert (again.status, again.out) == (1, "")
    assert "No voucher is held" in again.err


def test_settles_what_is_due_and_what_is_about_to_go(office: Office, command: Command) -> None:
    small, due, closing = office.opened(UNIT // 2), office.opened(UNIT), office.opened(7)
    office.harbour.close_start(closing)
    said = command("channels", "settle", "--due")

    assert said.status == 0, said.err
    assert [line.split()[0] for line in said.out.splitlines()] == [closing, due]
    assert office.harbour.earned() == UNIT + 7
    assert office.record(small).settled == 0
    assert command("channels", "settle", "--due").err == "Nothing is due.\n"


def test_settles_by_the_servers_own_policy(
    office: Office, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.opened(UNIT // 2)
    monkeypatch.setenv("MPP_SETTLE_AMOUNT", "0.6")
    assert command("channels", "settle", "--due").out == ""
    monkeypatch.setenv("MPP_SETTLE_UNITS", "1")

    assert "0.5 USDC" in command("channels", "settle", "--due").out


def test_says_what_key_is_missing(
    office: Office, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = office.opened(UNIT)
    monkeypatch.delenv("MPP_RECIPIENT_SECRET")
    monkeypatch.setenv("MPP_RECIPIENT", office.harbour.stage.seller.public_key)
    said = command("channels", "settle", channel)

    assert said.status == 1
    assert "MPP_RECIPIENT_SECRET" in said.err


def test_says_that_a_network_within_the_app_is_out_of_reach(
    office: Office, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = office.opened(UNIT)
    monkeypatch.setenv("MPP_NETWORK", "sandbox")
    monkeypatch.delenv("MPP_RPC_URL")

    assert command("channels", "list").status == 0
    said = command("channels", "settle", channel)
    assert said.status == 1
    assert "mpp-asgi sandbox" in said.err


def test_says_that_the_rpc_does_not_answer(
    office: Office, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = office.opened(UNIT)
    monkeypatch.setenv("MPP_RPC_URL", "http://127.0.0.1:9")
    said = command("channels", "settle", channel)

    assert (said.status, said.out) == (1, "")
    assert "run this again" in said.err


# Closing


def test_closes_at_what_was_spent(office: Office, command: Command) -> None:
    funds = office.harbour.stage.usdc_of(office.harbour.stage.payer)
    channel = office.opened(3 * UNIT)
    said = command("channels", "close", channel)

    assert said.status == 0, said.err
    assert re.fullmatch(rf"{channel}  3 USDC  transaction [0-9a-f]{{64}}\n", said.out)
    assert office.harbour.earned() == 3 * UNIT
    assert office.harbour.stage.usdc_of(office.harbour.stage.payer) == funds - 3 * UNIT
    assert office.record(channel).status is ChannelStatus.CLOSED
    again = command("channels", "close", channel)
    assert again.status == 1
    assert "closed already" in again.err


def test_does_not_close_on_more_than_was_spent(office: Office, command: Command) -> None:
    channel = office.opened(3 * UNIT, ahead=UNIT)
    said = command("channels", "close", channel)

    assert (said.status, said.out) == (1, "")
    assert "1 USDC more than was spent" in said.err
    assert office.record(channel).status is ChannelStatus.OPEN
    assert office.harbour.earned() == 0


def test_does_not_close_without_a_voucher(office: Office, command: Command) -> None:
    channel = office.opened(amount=DEPOSIT)
    said = command("channels", "close", channel)

    assert said.status == 1
    assert "only its funder" in said.err
    assert office.record(channel).status is ChannelStatus.OPEN
