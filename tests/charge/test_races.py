"""Many at once: one credential, one payment, one sponsor, one store. Everybody gets their due."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mpp_asgi.charges import ChargeBook
from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.protocol import Credential
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.policy import LEAST_LEDGERS
from mpp_asgi.stores.contract import OwnershipLostError, State
from mpp_asgi.stores.memory.store import MemoryStore
from tests.charge.bad_line import SUBMITTING, BadLine, Plan
from tests.charge.mortal import Process
from tests.shop import MODES, PRICE, SPONSOR, START, Payer, Shop, Time, open_shop

PATHS = ("/paid", "/after")


@asynccontextmanager
async def workers(
    number: int, directory: Path, *, interval: float = 1.0
) -> AsyncIterator[list[Shop]]:
    """As many processes as that over one store, one ledger and one sponsor."""
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=interval)
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                open_shop(sandbox=sandbox, time=time, store=f"sqlite:///{directory}/charges.db")
            )
            for _ in range(number)
        ]


async def statuses(requests: Sequence[Awaitable[Any]]) -> Counter[int]:
    answers = await asyncio.gather(*requests)
    for answer in answers:
        assert ("retry-after" in answer.headers) == (answer.status_code in (409, 503))
    return Counter(answer.status_code for answer in answers)


async def insist(shop: Shop, credential: Credential, path: str = "/paid") -> int:
    """Show the credential until it is served or refused for good."""
    for _ in range(60):
        answer = await shop.show(credential, path)
        if answer.status_code in (200, 402):
            return int(answer.status_code)
        await shop.time.sleep(int(answer.headers["retry-after"]))
    raise AssertionError("no end")


def sponsor_transactions(shop: Shop) -> int:
    return Payer(shop, SPONSOR).sequence(SPONSOR) & 0xFFFFFFFF


# --- one credential -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", MODES)
async def test_one_credential_many_times(shop: Shop, mode: str, path: str) -> None:
    credential = shop.payer().in_mode(mode, await shop.challenges(path))
    got = await statuses([shop.show(credential, path) for _ in range(60)])
    assert got == {200: 1, 402: 59}
    assert (shop.left.count(200), shop.earned()) == (1, PRICE)


@pytest.mark.parametrize("mode", MODES)
async def test_one_credential_at_many_workers(tmp_path: Path, mode: str) -> None:
    async with workers(3, tmp_path) as shops:
        credential = shops[0].payer().in_mode(mode, await shops[0].challenges())
        got = await statuses([shop.show(credential) for shop in shops for _ in range(8)])
        assert got[200] == 1
        assert set(got) <= {200, 402, 409}
        assert sum(shop.left.count(200) for shop in shops) == 1
        assert shops[0].earned() == PRICE
        assert await statuses([shop.show(credential) for shop in shops]) == {402: 3}


async def test_more_than_can_wait_are_told_to_come_back(shop: Shop) -> None:
    credential = shop.payer().sponsored((await shop.challenges())[0])
    got = await statuses([shop.show(credential) for _ in range(100)])
    assert got[200] == 1
    assert got[409] > 0
    assert sum(got.values()) == 100
    assert shop.earned() == PRICE


@pytest.mark.parametrize("mode", MODES)
async def test_failed_endpoint_is_tried_again_by_who_waits(tmp_path: Path, mode: str) -> None:
    """The first run fails with a server error; one of those who wait gets the resource, free."""
    async with workers(2, tmp_path) as shops:
        first, second = shops
        second.runs.append("the first time fails at the first only")
        credential = first.payer().in_mode(mode, await first.challenges("/flaky"))
        got = await statuses(
            [first.show(credential, "/flaky")]
            + [shop.show(credential, "/flaky") for shop in shops for _ in range(3)]
        )
        assert got[500] <= 1
        assert set(got) <= {200, 402, 409, 500}
        await insist(second, credential, "/flaky")  # if all others had lost their patience
        assert sum(shop.left.count(200) for shop in shops) == 1
        assert first.earned() == PRICE


async def test_who_waits_goes_on_where_the_other_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """At another process the money has moved, and its request is then given up."""
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=0.1)
    store = MemoryStore()  # without threads, whose time is not the test's
    stuck = Process()
    stuck.run_by(monkeypatch, lambda: store)
    async with open_shop(sandbox=sandbox, time=time) as one:
        credential = one.payer().sponsored((await one.challenges())[0])
        stuck.stop_at_write_of("settled")
        giving_up = asyncio.create_task(one.show(credential))
        await stuck.hangs.wait()
        assert one.earned() == PRICE
        Process().run_by(monkeypatch, lambda: store)
        async with open_shop(sandbox=sandbox, time=time) as other:
            waiting = asyncio.create_task(other.show(credential))
            started = time.now
            while time.now < started + 1:  # noqa: ASYNC110 # time passes as it waits
                await asyncio.sleep(0)
            giving_up.cancel()
            answer = await waiting
            assert answer.status_code == 200, answer.text
            assert other.earned() == PRICE


async def test_who_waits_begins_anew_where_the_other_gave_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other process has submitted, as the record says; but its node refuses it for good."""
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=0.1)
    line = BadLine(sandbox)
    line.follow(Plan("sendTransaction", 0, SUBMITTING["ERROR"], more=10**6))
    store = MemoryStore()
    slow = Process()
    slow.run_by(monkeypatch, lambda: store)
    async with open_shop(sandbox=sandbox, node=line, time=time) as one:
        credential = one.payer().sponsored((await one.challenges())[0])
        slow.stop_at_write_of("submitted")
        giving_up = asyncio.create_task(one.show(credential))
        await slow.hangs.wait()
        Process().run_by(monkeypatch, lambda: store)
        async with open_shop(sandbox=sandbox, time=time) as other:
            waiting = asyncio.create_task(other.show(credential))
            started = time.now
            while time.now < started + 1:  # noqa: ASYNC110 # time passes as it waits
                await asyncio.sleep(0)
            slow.goes_on.set()
            assert (await giving_up).status_code == 503
            answer = await waiting
            assert answer.status_code == 200, answer.text
            assert (other.earned(), sponsor_transactions(other)) == (PRICE, 1)


@pytest.mark.parametrize("mode", ["sponsored", "unsponsored"])
async def test_what_another_process_has_begun_in_time_is_not_refused_as_too_late(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """The payer would pay again, and the first payment goes through all the same."""
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=0.1)
    store = MemoryStore()
    slow = Process()
    slow.run_by(monkeypatch, lambda: store)
    async with open_shop(sandbox=sandbox, time=time) as one:
        credential = one.payer().in_mode(mode, await one.challenges())
        slow.stop_at(3, "before", killed=False)  # after it was looked for and claimed
        paying = asyncio.create_task(one.show(credential))
        await slow.hangs.wait()
        begun = await store.get(credential.challenge.id)
        assert begun is not None
        assert begun.state is State.CLAIMED
        assert begun.owner is not None
        time.now = Payer.expires(credential.challenge) - 1
        await store.heartbeat(begun.owner, alive_until=int(time.now) + 100)
        Process().run_by(monkeypatch, lambda: store)
        async with open_shop(sandbox=sandbox, time=time) as other:
            time.now += 1
            assert (await other.show(credential)).status_code == 409
            paying.cancel()
            await asyncio.wait([paying])
            assert (await other.show(credential)).status_code == 402  # nothing was paid


async def test_who_lost_a_charge_does_not_refuse_it() -> None:
    """What another process makes of it is open: 402 would have the payer pay again."""
    time = Time()
    store = MemoryStore()
    slow, other = [ChargeBook(store, owner=name, clock=time) for name in ("slow", "other")]
    mine = await slow.turn("challenge")
    await mine.claim("credential", (), keep_until=START + 1_000)
    time.now += LIFE_SECONDS + 1
    theirs = await other.turn("challenge")
    await theirs.claim("credential", (), keep_until=START + 1_000)
    with pytest.raises(OwnershipLostError):
        await mine.submitted(
            reference="ab" * 32, envelope="", valid_until=START, payer="G", proofs=()
        )


# --- one payment ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_one_payment_for_many_challenges(tmp_path: Path, mode: str) -> None:
    """The same transaction, authorization or hash, each time with a challenge of its own."""
    async with workers(2, tmp_path) as shops:
        payer = shops[0].payer()
        requests = []
        paid = payer.in_mode(mode, await shops[0].challenges())
        hash_ = paid.payload.get("hash")
        for shop in shops * 10:
            challenge = (await shop.challenges())[0 if mode == "sponsored" else 1]
            shown = replace(paid, challenge=challenge)
            if isinstance(hash_, str):
                shown = payer.signed_hash(challenge, hash_)
            requests.append(shop.show(shown))
        assert await statuses(requests) == {200: 1, 402: 19}
        assert shops[0].earned() == PRICE
        assert sum(shop.left.count(200) for shop in shops) == 1


# --- one sponsor ----------------------------------------------------------------------------------


async def test_many_payers_at_one_sponsor(shop: Shop) -> None:
    payers = [shop.payer(number) for number in range(1, 21)]
    credentials = [payer.sponsored((await shop.challenges())[0]) for payer in payers]
    assert await statuses([shop.show(credential) for credential in credentials]) == {200: 20}
    assert {payer.balance() for payer in payers} == {10 * 10**7 - PRICE}
    assert shop.earned() == 20 * PRICE
    assert sponsor_transactions(shop) == 20


async def test_two_workers_with_one_sponsor(tmp_path: Path) -> None:
    """They use the same sequence numbers; each collision is one worker's turn to try again."""
    async with workers(2, tmp_path) as shops:
        payers = [shops[0].payer(number) for number in range(1, 17)]
        credentials = [payer.sponsored((await shops[0].challenges())[0]) for payer in payers]
        ends = await asyncio.gather(
            *(insist(shops[i % 2], credential) for i, credential in enumerate(credentials))
        )
        assert set(ends) == {200}
        assert {payer.balance() for payer in payers} == {10 * 10**7 - PRICE}
        assert shops[0].earned() == 16 * PRICE
        assert sponsor_transactions(shops[0]) == 16
        assert sum(shop.left.count(200) for shop in shops) == 16


async def test_payer_with_money_for_one_of_five(tmp_path: Path) -> None:
    """All five are good when they come; what waits is looked at again before the fee is spent."""
    async with workers(1, tmp_path, interval=5) as (shop,):
        payer = shop.payer(usdc="0.01")
        credentials = [
            payer.sponsored((await shop.challenges())[0], nonce=nonce) for nonce in range(5)
        ]
        got = await statuses([shop.show(credential) for credential in credentials])
        assert got == {200: 1, 402: 4}
        assert (shop.earned(), sponsor_transactions(shop)) == (PRICE, 1)


async def test_authorization_that_ends_while_it_waits(tmp_path: Path) -> None:
    async with workers(1, tmp_path, interval=5) as (shop,):
        soon = shop.sandbox.sequence + LEAST_LEDGERS + 1
        credentials = [
            shop.payer(number).sponsored((await shop.challenges())[0], expiration_ledger=soon)
            for number in range(1, 6)
        ]
        got = await statuses([shop.show(credential) for credential in credentials])
        assert got[200] >= 1
        assert got[402] >= 1
        assert shop.earned() == got[200] * PRICE
        assert sponsor_transactions(shop) == got[200]


async def test_challenge_that_expires_while_it_waits(tmp_path: Path) -> None:
    async with workers(1, tmp_path, interval=5) as (shop,):
        challenges = [(await shop.challenges())[0] for _ in range(4)]
        shop.time.now += 289
        soon = shop.sandbox.sequence + 5
        credentials = [
            shop.payer(number).sponsored(challenge, expiration_ledger=soon)
            for number, challenge in enumerate(challenges, 1)
        ]
        ends = Counter(await asyncio.gather(*(insist(shop, each) for each in credentials)))
        assert ends[200] >= 1
        assert ends[402] >= 1
        assert shop.earned() == ends[200] * PRICE
        assert sponsor_transactions(shop) == ends[200]


async def test_queue_at_the_sponsor_is_bounded() -> None:
    async with open_shop(sponsor_queue=3) as shop:
        credentials = [
            shop.payer(number).sponsored((await shop.challenges())[0]) for number in range(1, 11)
        ]
        got = await statuses([shop.show(credential) for credential in credentials])
        assert got[503] > 0
        assert got[200] + got[503] == 10
        assert {await insist(shop, credential) for credential in credentials} <= {200, 402}
        assert shop.earned() == 10 * PRICE
