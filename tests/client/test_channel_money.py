"""What a payer's channels may cost: no more than was allowed, whoever closes, lies or dies when."""

import asyncio
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from mpp_asgi.client import (
    ChannelFile,
    ChannelsUnavailableError,
    DepositInDoubtError,
    LedgerUnavailableError,
    PaymentAuth,
    PaymentError,
    SessionPolicy,
    Status,
)
from mpp_asgi.protocol import Credential, problems
from mpp_asgi.sandbox import Sandbox
from tests.client.mishaps import losing
from tests.client.session_shop import SessionShop, closing
from tests.client.shop import PRICE, URL, USDC, Clock, credentials_of, make_payer

Payers = Callable[..., PaymentAuth]


@pytest.fixture
def shop(sandbox: Sandbox, clock: Clock) -> SessionShop:
    return SessionShop(sandbox, clock)


def shown(request: httpx.Request) -> Credential | None:
    request.read()
    found = credentials_of(request)
    return Credential.from_header(found[0]) if found else None


def client_of(auth: PaymentAuth, server: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(server), auth=auth)


class GivingWay:
    """A node that lets other tasks go on, as real ones do."""

    def __init__(self, auth: PaymentAuth) -> None:
        make = auth._node.asynchronous
        auth._node.asynchronous = lambda: self._around(make())  # type: ignore[method-assign]

    def _around(self, rpc: Any) -> Any:
        self._rpc = rpc
        return self

    async def do(self, call: Any) -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
        return await self._rpc.do(call)

    async def aclose(self) -> None:
        await self._rpc.aclose()


class Flaky:
    """A node that fails at the next calls of some methods."""

    def __init__(self, auth: PaymentAuth, *methods: str, times: int = 1) -> None:
        self._real = auth._node._rpc
        self._left = dict.fromkeys(methods, times)
        auth._node._rpc = self  # type: ignore[assignment]

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._left.get(request["method"], 0) > 0:
            self._left[request["method"]] -= 1
            raise ConnectionError
        return self._real(request)  # type: ignore[no-any-return]


# --- what comes back ------------------------------------------------------------------------------


async def test_what_was_signed_ahead_comes_back_once(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    shop.details["minVoucherDelta"] = str(4 * PRICE)
    auth = payer(sessions="always")
    for _ in range(5):
        await fetch(auth)
    [closed] = await closing(auth, shop)
    for _ in range(3):
        await auth.arefund(closed.id)
        assert auth.spent == {"USDC": Decimal("0.05")}


async def test_it_comes_back_once_though_many_requests_learn_of_it(
    shop: SessionShop, payer: Payers
) -> None:
    """The server closes at a voucher in the middle, and says so to all of them."""
    auth = payer(sessions="always", budget="0.50")
    count, vouchers, all_came = 6, dict[int, str](), asyncio.Event()

    async def server(request: httpx.Request) -> httpx.Response:
        credential = shown(request)
        if not is_closing or credential is None or credential.payload["action"] != "voucher":
            return shop(request)
        channel = str(credential.payload["channelId"])
        vouchers[int(str(credential.payload["cumulativeAmount"]))] = str(
            credential.payload["signature"]
        )
        if len(vouchers) == count:
            all_came.set()
        await all_came.wait()
        if not shop.accounts[channel].closed:
            middle = sorted(vouchers)[count // 2]
            shop._paid(channel, "close", middle, vouchers[middle])
            shop.accounts[channel].closed = True
        return shop.refuse(request, problems.SESSION_CHANNEL_FINALIZED)

    async with client_of(auth, server) as client:
        for _ in range(8):
            is_closing = False
            vouchers.clear()
            all_came.clear()
            await client.get(URL)
            is_closing = True
            await asyncio.gather(*(client.get(URL) for _ in range(count)), return_exceptions=True)
            is_closing = False
            await auth.aclose_sessions(client)
    assert auth.spent == {"USDC": Decimal(shop.earned) / 10**7}
    assert auth.spent["USDC"] <= Decimal("0.50")


async def test_what_is_settled_just_before_a_refund_was_spent(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    for _ in range(3):
        await fetch(auth)
    [channel] = auth.channels
    closes_at = await auth.aclose_start(channel.id)
    while sandbox.sequence < closes_at:
        sandbox.close_ledger()
    real = auth._node._rpc

    def settling(request: dict[str, Any]) -> dict[str, Any]:
        if request["method"] == "sendTransaction" and not shop.earned:
            shop.settle(channel.id)
        return real(request)

    auth._node._rpc = settling
    refunded = await auth.arefund(channel.id)
    assert refunded.owed == shop.earned == 3 * PRICE
    assert auth.spent == {"USDC": Decimal("0.03")}


async def test_a_server_that_is_gone_keeps_no_other_channel_open(
    shop: SessionShop, payer: Payers
) -> None:
    auth = payer(sessions="always")
    gone: set[str] = set()

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.host in gone:
            raise httpx.ConnectError("gone", request=request)
        return shop(request)

    async with client_of(auth, server) as client:
        for host in ("a.test", "b.test", "c.test"):
            await client.get(f"https://{host}/")
        gone |= {"a.test", "b.test"}
        with pytest.raises(httpx.ConnectError, match="gone"):
            await auth.aclose_sessions(client)
        assert [each.status for each in auth.channels] == [*[Status.CLOSING] * 2, Status.CLOSED]
        gone.clear()
        await auth.aclose_sessions(client)
    assert {each.status for each in auth.channels} == {Status.CLOSED}


async def test_what_could_not_begin_has_not_begun(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions="always")
    await fetch(auth)
    [channel] = auth.channels
    Flaky(auth, "simulateTransaction", "getLatestLedger", "getNetwork", "getLedgerEntries")
    with pytest.raises(LedgerUnavailableError):
        await auth.aclose_start(channel.id)
    assert auth.channels[0].status is Status.OPEN
    await fetch(auth)
    assert len(auth.channels) == 1


async def test_a_channel_that_is_used_up_and_closed_makes_room_for_another(
    shop: SessionShop, payer: Payers, fetch: Any
) -> None:
    auth = payer(sessions=SessionPolicy(after="always", expected_calls=2))
    for _ in range(2):
        await fetch(auth)
    [channel] = auth.channels
    account = shop.accounts[channel.id]
    shop._paid(channel.id, "close", account.accepted, account.signature)
    account.closed = True

    def refusing(request: httpx.Request, credential: Credential) -> httpx.Response:
        assert credential.payload["action"] == "topUp"
        return shop.refuse(request, problems.SESSION_CHANNEL_FINALIZED)

    shop.reactions = [refusing]
    assert (await fetch(auth)).status_code == 200
    assert [each.status for each in auth.channels] == [Status.CLOSED, Status.OPEN]
    assert auth.spent == {"USDC": Decimal("0.03")}


# --- what is locked up ----------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["in memory", "in a file"])
async def test_many_at_once_lock_up_no_more_than_may_be(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, tmp_path: Path, kept: str
) -> None:
    auth = payer(
        sessions=SessionPolicy(after="always", max_deposit="0.10"),
        channels=tmp_path / "channels.sqlite" if kept == "in a file" else None,
    )
    GivingWay(auth)
    async with client_of(auth, shop) as client:
        await asyncio.gather(
            *(client.get(f"https://h{number}.test/") for number in range(8)),
            return_exceptions=True,
        )
    locked = sum(each.locked for each in auth.channels)
    assert locked == sum(sandbox.balance(each.id, USDC.address) for each in auth.channels)
    assert 0 < locked <= 10 * PRICE


async def test_nor_do_top_ups_at_once(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, tmp_path: Path
) -> None:
    path = tmp_path / "channels.sqlite"
    policy = SessionPolicy(after="always", expected_calls=2, max_deposit="0.11")
    auths = [payer(sessions=policy, channels=path) for _ in range(2)]
    for auth in auths:
        GivingWay(auth)
    hosts = [f"https://h{number}.test/" for number in range(4)]
    for host in hosts:  # 0.08 are locked up
        for _ in range(2):
            async with client_of(auths[0], shop) as client:
                await client.get(host)

    async def ask(auth: PaymentAuth, host: str) -> None:
        async with client_of(auth, shop) as client:
            await client.get(host)

    await asyncio.gather(
        *(ask(auths[number % 2], host) for number, host in enumerate(hosts)),
        return_exceptions=True,
    )
    really = sum(sandbox.balance(each.id, USDC.address) for each in auths[0].channels)
    assert 8 * PRICE < really <= 11 * PRICE


async def test_a_top_up_counts_when_the_ledger_has_it(
    shop: SessionShop, sandbox: Sandbox, payer: Payers
) -> None:
    """The server says that it has submitted it, keeps it for later, and wants another."""
    auth = payer(sessions=SessionPolicy(after="always", expected_calls=1, max_deposit="0.05"))
    kept: list[str] = []

    def lying(request: httpx.Request) -> httpx.Response:
        credential = shown(request)
        if credential is not None and credential.payload["action"] == "topUp":
            kept.append(str(credential.payload["transaction"]))
            return httpx.Response(204)
        return shop(request)

    async with client_of(auth, lying) as client:
        await client.get(URL)
        for _ in range(5):
            with pytest.raises(DepositInDoubtError):
                await client.get(URL)
    assert len(set(kept)) == 1
    for transaction in set(kept):
        shop._submitted(transaction)
    [channel] = auth.channels
    assert channel.locked == sandbox.balance(channel.id, USDC.address) <= 5 * PRICE


# --- what is pushed -------------------------------------------------------------------------------


async def test_an_opening_that_is_in_the_ledger_is_not_void(
    shop: SessionShop, sandbox: Sandbox, payer: Payers, fetch: Any
) -> None:
    """It was pushed, the answer got lost, and the ledger cannot be asked at the next request."""
    shop.details["feePayer"] = False
    auth = payer(sessions="always", mode="push")
    shop.reactions = [losing()]
    with pytest.raises(DepositInDoubtError):
        await fetch(auth)
    Flaky(auth, "getTransaction", "getLatestLedger")
    assert (await fetch(auth)).status_code == 200
    [channel] = auth.channels
    assert channel.status is Status.OPEN
    assert channel.deposit == sandbox.balance(channel.id, USDC.address)


async def test_requests_at_once_push_no_top_up_of_another(
    shop: SessionShop, sandbox: Sandbox, clock: Clock
) -> None:
    shop.details["feePayer"] = False

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        sandbox.close_ledger()
        await asyncio.sleep(0)

    policy = SessionPolicy(after="always", expected_calls=2)
    auth = make_payer(sandbox, clock, [], sessions=policy, mode="push", async_sleep=sleep)
    GivingWay(auth)

    async def later(client: httpx.AsyncClient, ticks: int) -> httpx.Response:
        for _ in range(ticks):
            await asyncio.sleep(0)
        return await client.get(URL)

    async with client_of(auth, shop) as client:
        for _ in range(2):
            await client.get(URL)
        for _ in range(3):
            answers = await asyncio.gather(*(later(client, 3 * number) for number in range(8)))
            assert {each.status_code for each in answers} == {200}
    [channel] = auth.channels
    assert channel.deposit == sandbox.balance(channel.id, USDC.address)


# --- the file -------------------------------------------------------------------------------------


async def test_every_new_channel_is_on_the_disk_before_its_deposit_leaves(
    shop: SessionShop, payer: Payers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ChannelFile(tmp_path / "channels.sqlite")
    auth = payer(sessions="always", channels=file)
    waits: list[int] = []
    add = file.add

    def looked_at(*arguments: Any, **named: Any) -> bool:
        added = add(*arguments, **named)
        waits.extend(file._connection.execute("PRAGMA synchronous").fetchone())
        return added

    monkeypatch.setattr(file, "add", looked_at)
    async with client_of(auth, shop) as client:
        for host in ("a.test", "a.test", "b.test"):
            await client.get(f"https://{host}/")
    full = 2
    assert waits == [full, full]


async def test_what_cannot_be_noted_costs_no_response(
    shop: SessionShop, payer: Payers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpp_asgi.client.channel_file.PATIENCE", 0.01)
    path = tmp_path / "channels.sqlite"
    auth = payer(sessions="always", channels=path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def locking(request: httpx.Request) -> httpx.Response:
        response = shop(request)
        if credentials_of(request):
            other.execute("BEGIN IMMEDIATE")
        return response

    async with client_of(auth, shop) as client:
        await client.get(URL)
    async with client_of(auth, locking) as client:
        assert (await client.get(URL)).status_code == 200
        other.execute("ROLLBACK")
    async with client_of(auth, shop) as client:
        await client.get(URL)
    assert auth.spent["USDC"] >= Decimal(shop.served * PRICE) / 10**7
    other.close()


async def test_a_record_that_cannot_be_read_is_told_of(
    shop: SessionShop, payer: Payers, fetch: Any, tmp_path: Path
) -> None:
    path = tmp_path / "channels.sqlite"
    await fetch(payer(sessions="always", channels=path))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE channel SET record = '{\"news\": 1}'")
    connection.close()
    with pytest.raises(ChannelsUnavailableError, match="cannot be read"):
        await fetch(payer(sessions="always", channels=path))


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [402, 410, 200])
async def test_what_another_origin_says_of_a_channel_is_not_heard(
    shop: SessionShop, payer: Payers, fetch: Any, status: int
) -> None:
    auth = payer(sessions="always")
    await fetch(auth)
    [channel] = auth.channels
    problem = (
        problems.SESSION_CHANNEL_NOT_FOUND
        if status == 410
        else problems.SESSION_INSUFFICIENT_BALANCE
    )
    lie = {"spent": str(10**12), "channelId": channel.id}

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.host == "evil.test":
            response = httpx.Response(status, content=problem.because("x", extra=lie).to_json())
            if status == 200 and (credential := last[-1]) is not None:
                shop.add_receipt(response, credential, spent=str(10**12))
            return response
        last.append(shown(request))
        return httpx.Response(302, headers={"Location": "https://evil.test/"})

    last: list[Credential | None] = []
    try:
        response = await fetch(auth, server=server, follow_redirects=True)
        assert response.status_code == status
    except PaymentError:
        pass
    assert auth.channels[0].status is Status.OPEN
    assert (await fetch(auth)).status_code == 200
