"""Channels in a file: over restarts, and shared by several payers at once."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.client import (
    ChannelFile,
    ChannelsUnavailableError,
    MemoryChannels,
    PaymentAuth,
    SessionPolicy,
    Status,
)
from mpp_asgi.client.channel_file import read, written
from mpp_asgi.client.held_channel import (
    DepositTooSmallError,
    FalseClaimError,
    Flight,
    Funding,
    HeldChannel,
    NotUsableError,
    Place,
)
from mpp_asgi.client.payments import NonceTrace, TransactionTrace
from mpp_asgi.sandbox import Sandbox
from tests.client.session_shop import SessionShop, closing
from tests.client.shop import PAYER, PRICE, URL, USDC, Clock

Payers = Callable[..., PaymentAuth]

PLACE = Place("G", "stellar:testnet", "https://shop.test:443", "R", "T")
OPEN = HeldChannel(
    id="C", place=PLACE, waiting_period=100, status=Status.OPEN, deposit=1_000, method="GET"
)


@pytest.fixture
def shop(sandbox: Sandbox, clock: Clock) -> SessionShop:
    return SessionShop(sandbox, clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "channels.sqlite"


@pytest.fixture(params=["memory", "file"])
def channels(request: pytest.FixtureRequest, path: Path) -> MemoryChannels | ChannelFile:
    return MemoryChannels() if request.param == "memory" else ChannelFile(path)


# --- the store ------------------------------------------------------------------------------------


def test_one_live_channel_for_a_place(channels: MemoryChannels | ChannelFile) -> None:
    assert channels.add(OPEN)
    assert not channels.add(OPEN)
    assert not channels.add(replace(OPEN, id="C2"))
    assert channels.add(replace(OPEN, id="C3", place=replace(PLACE, origin="https://b.test:443")))
    assert channels.live(PLACE) == OPEN
    channels.change("C", lambda each: each.ended(Status.CLOSED))
    assert channels.live(PLACE) is None
    assert channels.add(replace(OPEN, id="C2"))
    assert [each.id for each in channels.all()] == ["C", "C3", "C2"]
    assert channels.get("C4") is None
    with pytest.raises(KeyError):
        channels.change("C4", lambda each: each)


def test_a_change_that_fails_changes_nothing(channels: MemoryChannels | ChannelFile) -> None:
    channels.add(OPEN)

    def fail(each: HeldChannel) -> HeldChannel:
        each.depart(Flight("f", 1, 0))
        raise NotUsableError

    with pytest.raises(NotUsableError):
        channels.change("C", fail)
    assert channels.get("C") == OPEN


_UNITS = st.integers(0, 2**127 - 1)
_TRACES = st.one_of(
    st.builds(NonceTrace, st.text(), st.integers(-(2**63), 2**63 - 1), _UNITS, _UNITS),
    st.builds(TransactionTrace, st.text(), _UNITS, _UNITS),
)
_FUNDINGS = st.builds(
    Funding,
    amount=_UNITS,
    payload=st.dictionaries(st.text(), st.text()),
    trace=_TRACES,
    envelope=st.none() | st.text(),
)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        HeldChannel,
        id=st.text(),
        place=st.builds(Place, st.text(), st.text(), st.text(), st.text(), st.text()),
        waiting_period=_UNITS,
        status=st.sampled_from(Status),
        signed=_UNITS,
        flights=st.lists(st.builds(Flight, st.text(), _UNITS, st.floats(0, 2**40)), max_size=3).map(
            tuple
        ),
        funding=st.none() | _FUNDINGS,
        opened_by=st.none() | st.dictionaries(st.text(), st.text()),
    )
)
def test_what_is_written_is_read(channel: HeldChannel) -> None:
    assert read(written(channel)) == channel


def test_the_file_is_its_owners_alone(path: Path) -> None:
    ChannelFile(path).add(OPEN)
    for each in path.parent.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_other_files_are_left_alone(path: Path, tmp_path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(ChannelsUnavailableError, match="not a file of channels"):
        ChannelFile(path)
    path.write_bytes(b"not a database, but longer than nothing" * 100)
    with pytest.raises(ChannelsUnavailableError, match="cannot be used"):
        ChannelFile(path)
    with pytest.raises(ChannelsUnavailableError, match="cannot be used"):
        ChannelFile(tmp_path / "missing" / "channels.sqlite")


async def test_nothing_is_signed_that_cannot_be_written(
    shop: SessionShop, payer: Payers, path: Path, fetch: Any
) -> None:
    channels = ChannelFile(path)
    auth = payer(channels=channels)
    await fetch(auth)
    channels.close()
    with pytest.raises(ChannelsUnavailableError):
        await fetch(auth)
    assert shop.actions == ["open"]


# --- restarts -------------------------------------------------------------------------------------


async def test_another_process_goes_on(
    shop: SessionShop, payer: Payers, path: Path, fetch: Any
) -> None:
    for _ in range(3):
        auth = payer(channels=path)
        for _ in range(2):
            await fetch(auth)
    assert shop.actions == ["open"] + 5 * ["voucher"]
    [closed] = await closing(payer(channels=path), shop)
    assert closed.owed == shop.earned == 6 * PRICE


async def test_a_process_that_died_with_a_voucher_on_its_way(
    shop: SessionShop, payer: Payers, path: Path, fetch: Any
) -> None:
    """It is written down before it is sent, so nobody signs the same amount for something else."""
    auth = payer(channels=path)
    await fetch(auth)
    seen: list[int] = []

    def dying(request: httpx.Request, credential: Any) -> httpx.Response:
        found = ChannelFile(path).live(auth.channels[0].place)
        assert found is not None
        seen.append(found.signed)
        return shop.honestly_by_session(request, credential)

    shop.reactions = [dying]
    await fetch(auth)
    assert seen == [2 * PRICE]


async def test_a_channel_of_another_payer_is_not_used(
    shop: SessionShop, payer: Payers, path: Path, fetch: Any
) -> None:
    channels = ChannelFile(path)
    theirs = Place("GTHEIRS", "stellar:testnet", "https://shop.test:443", "R", USDC.address)
    channels.add(replace(OPEN, place=theirs))
    auth = payer(channels=channels)
    assert auth.channels == ()
    await fetch(auth)
    assert shop.actions == ["open"]
    assert [each.place.payer for each in auth.channels] == [PAYER.public_key]
    with pytest.raises(ValueError, match="no channel"):
        await auth.aclose_start("C")


# --- several at once ------------------------------------------------------------------------------


async def test_two_payers_with_one_file_share_one_channel(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, path: Path
) -> None:
    policy = SessionPolicy(expected_calls=25)
    auths = [payer(channels=ChannelFile(path), sessions=policy) for _ in range(2)]

    async def calls(auth: PaymentAuth, count: int) -> list[int]:
        async with httpx.AsyncClient(transport=Slow(shop), auth=auth) as client:
            answers = await asyncio.gather(*(client.get(URL) for _ in range(count)))
            return [each.status_code for each in answers]

    for _ in range(2):
        answers = await asyncio.gather(*(calls(auth, 20) for auth in auths))
        assert answers == [[200] * 20] * 2
    assert shop.served == 80
    assert len(shop.accounts) == 1
    assert shop.actions.count("open") == 1
    [closed] = await closing(auths[0], shop)
    assert closed.owed == closed.signed == shop.earned == 80 * PRICE
    assert sum((auth.spent["USDC"] for auth in auths), Decimal()) == Decimal("0.80")


class Slow(httpx.AsyncBaseTransport):
    """Requests overtake each other on their way."""

    def __init__(self, shop: SessionShop) -> None:
        self.shop = shop
        self.count = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        for _ in range(self.count * 7 % 5):
            await asyncio.sleep(0)
        await request.aread()
        response = self.shop(request)
        for _ in range(self.count * 5 % 7):
            await asyncio.sleep(0)
        return response


def test_threads_share_one_channel(shop: SessionShop, payer: Payers, path: Path) -> None:
    auth = payer(
        channels=path,
        sessions=SessionPolicy(expected_calls=100),
        sleep=lambda _: time.sleep(0.001),  # while another thread opens the channel
    )
    one_at_a_time = threading.Lock()

    def serve(request: httpx.Request) -> httpx.Response:
        with one_at_a_time:
            return shop(request)

    def calls(_: int) -> list[int]:
        with httpx.Client(transport=httpx.MockTransport(serve), auth=auth) as client:
            return [client.get(URL).status_code for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(calls, range(4))) == [[200] * 10] * 4
    [account] = shop.accounts.values()
    assert account.spent == account.accepted == 40 * PRICE
    assert auth.channels[0].signed == 40 * PRICE


_OTHER_PROCESS = """
import sys
from mpp_asgi.client.channel_file import ChannelFile
from mpp_asgi.client.held_channel import Flight

channels = ChannelFile(sys.argv[1])
for n in range(50):
    flight = f"{sys.argv[2]}-{n}"
    channels.change("C", lambda each: each.depart(Flight(flight, 1, 0.0)))
    channels.change("C", lambda each: each.land(flight, None))
"""


def test_processes_take_turns(path: Path) -> None:
    channels = ChannelFile(path)
    channels.add(OPEN)
    others = [
        subprocess.Popen([sys.executable, "-c", _OTHER_PROCESS, str(path), name])
        for name in ("a", "b")
    ]
    assert [each.wait(60) for each in others] == [0, 0]
    found = channels.get("C")
    assert found is not None
    assert (found.signed, found.owed, found.asked, found.flights) == (100, 100, 100, ())


# --- the rule of vouchers -------------------------------------------------------------------------

_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["depart", "land", "turn_back", "lose", "spent", "accepted", "again"]),
        st.integers(0, 5),
        st.integers(0, 400),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(_STEPS, st.integers(0, 50))
def test_no_voucher_is_for_more_than_was_asked(
    steps: list[tuple[str, int, int]], least_raise: int
) -> None:
    """Whatever the server says, in whatever order things happen."""
    held = OPEN
    for kind, which, units in steps:
        before, flight = held, str(which)
        try:
            match kind:
                case "depart" if flight in {each.id for each in held.flights}:
                    continue
                case "depart":
                    held = held.depart(Flight(flight, units, 0), least_raise=least_raise)
                case "land":
                    held = held.land(flight, units)
                case "turn_back":
                    held = held.turn_back(flight)
                case "lose":
                    held = held.lose(flight)
                case "again":
                    held = held.sign(least_raise=least_raise)
                case claim:
                    held = held.believe(**{claim: units})
        except (DepositTooSmallError, FalseClaimError):
            continue
        raised = held.signed > before.signed
        assert held.signed >= before.signed
        assert held.signed <= max(before.signed + least_raise * raised, held.asked)
        assert held.owed <= held.signed <= held.deposit


def test_a_top_up_is_counted_once_and_never_for_another() -> None:
    first, second = (
        Funding(amount=amount, payload={}, trace=TransactionTrace("h", amount, 0))
        for amount in (5, 7)
    )
    held = OPEN.fund(first)
    with pytest.raises(NotUsableError):
        held.fund(second)
    assert held.funded(second) == held.unfunded(second) == held
    done = held.funded(first)
    assert (done.deposit, done.funding) == (1_005, None)
    assert done.funded(first) == done
