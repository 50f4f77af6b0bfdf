"""One credential, many requests: one settlement, one grant."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from mpp_asgi import charges, price, turns
from mpp_asgi.stores.memory.store import MemoryStore
from tests.methods.nod import Till
from tests.methods.stall import Selling, Visitor, credential, payment, running
from tests.methods.stores import SlowStore


def shop(runs: list[str]) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    @price("1")
    async def run() -> str:
        runs.append("run")
        for _ in range(5):
            await asyncio.sleep(0)
        return "content"

    @app.get("/after")
    @price("1", settle="after")
    async def after() -> str:
        runs.append("run")
        await asyncio.sleep(0)
        return "content"

    @app.get("/thread")
    @price("1")
    def thread() -> str:
        runs.append("run")
        return "content"

    @app.get("/stream")
    @price("1")
    async def stream() -> StreamingResponse:
        runs.append("run")
        return StreamingResponse(iter(["content"] * 5))

    return app


async def give_way(step: str) -> None:
    del step
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("target", ["/", "/after", "/thread", "/stream"])
async def test_two_hundred_requests_at_once_are_granted_once(target: str) -> None:
    runs: list[str] = []
    selling = Selling(step=give_way, keep=SlowStore)
    visitor = Visitor(selling.to(shop(runs)))
    headers = payment(await visitor.challenge("GET", target))
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(visitor.get(target, headers=headers) for _ in range(200)))
    statuses = Counter(answer.status for answer in answers)
    assert statuses[200] == 1
    assert statuses[402] == charges.MOST_WAITING
    assert statuses[409] == 199 - charges.MOST_WAITING
    assert (len(runs), selling.till.moves.total()) == (1, 1)
    for answer in answers:
        if answer.status == 402:
            assert answer.problem == "invalid-challenge"
        elif answer.status == 409:
            assert answer.header("retry-after") == "1"
            assert answer.challenges == []


async def test_requests_that_wait_for_money_leave_the_threads_to_others() -> None:
    """Frameworks have forty threads for plain functions."""
    together = asyncio.Barrier(61)

    async def wait(step: str) -> None:
        if step == "move":
            await together.wait()

    app = shop([])
    app.add_api_route("/free", lambda: "free")
    visitor = Visitor(Selling(step=wait).to(app))
    headers = [payment(await visitor.challenge("GET", "/thread")) for _ in range(60)]
    paying = [asyncio.create_task(visitor.get("/thread", headers=each)) for each in headers]
    async with asyncio.timeout(60):
        for _ in range(100):
            await asyncio.sleep(0)
        assert (await visitor.get("/free")).json() == "free"
        await together.wait()
        assert {answer.status for answer in await asyncio.gather(*paying)} == {200}


@pytest.mark.parametrize("target", ["/", "/after"])
async def test_so_they_are_by_two_processes_on_one_sqlite_file(target: str, tmp_path: Path) -> None:
    runs: list[str] = []
    till = Till()
    settings: dict[str, Any] = {
        "store": f"sqlite:///{tmp_path}/charges.db",
        "clock": time.time,  # else heartbeats in no time would be late ones
        "sleep": asyncio.sleep,
    }
    workers = [Selling(step=give_way, till=till, **settings) for _ in range(2)]
    apps = [worker.to(shop(runs)) for worker in workers]
    async with running(apps[0]), running(apps[1]), asyncio.timeout(20):
        visitors = [Visitor(app) for app in apps]
        headers = payment(await visitors[0].challenge("GET", target))
        answers = await asyncio.gather(
            *(visitors[n % 2].get(target, headers=headers) for n in range(60))
        )
    statuses = Counter(answer.status for answer in answers)
    assert statuses[200] == 1
    assert set(statuses) <= {200, 402, 409}
    assert (len(runs), till.moves.total()) == (1, 1)


async def test_one_proof_for_many_challenges_is_granted_once() -> None:
    """The race for one transaction: each challenge is fresh, what is shown is not."""
    runs: list[str] = []
    selling = Selling(step=give_way, keep=SlowStore)
    visitor = Visitor(selling.to(shop(runs)))
    challenges = [await visitor.challenge("GET", "/") for _ in range(40)]
    answers = await asyncio.gather(
        *(visitor.get("/", headers=payment(each, proof="one hash")) for each in challenges)
    )
    statuses = Counter(answer.status for answer in answers)
    assert (statuses[200], statuses[402]) == (1, 39)
    assert (len(runs), selling.till.moves.total()) == (1, 1)


async def test_a_challenge_is_good_for_one_credential() -> None:
    runs: list[str] = []
    selling = Selling()
    visitor = Visitor(selling.to(shop(runs)))
    challenge = await visitor.challenge("GET", "/")
    assert (await visitor.get("/", headers=payment(challenge, by="ann"))).status == 200
    other = await visitor.get("/", headers=payment(challenge, by="bob"))
    assert (other.status, other.problem) == (402, "invalid-challenge")
    assert len(runs) == 1


async def test_the_same_credential_written_otherwise_is_the_same() -> None:
    selling = Selling()
    visitor = Visitor(selling.to(shop([])))
    challenge = await visitor.challenge("GET", "/")
    written = credential(challenge, by="ann").to_header()
    first, *spellings = [
        written,
        written.replace("Payment ", "payment  "),
        written.replace("Payment ", "PAYMENT "),
        f" {written} ",
    ]
    assert (await visitor.get("/", headers={"authorization": first})).status == 200
    for spelling in spellings:
        refused = await visitor.get("/", headers={"authorization": spelling})
        assert (refused.status, refused.problem) == (402, "invalid-challenge")
    assert selling.till.moves.total() == 1


async def test_who_waits_too_long_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.01)
    settling, go = asyncio.Event(), asyncio.Event()

    async def wait(step: str) -> None:
        if step == "move":
            settling.set()
            await go.wait()

    selling = Selling(step=wait)
    visitor = Visitor(selling.to(shop([])))
    headers = payment(await visitor.challenge("GET", "/"))
    first = asyncio.create_task(visitor.get("/", headers=headers))
    await settling.wait()
    impatient = await visitor.get("/", headers=headers)
    assert (impatient.status, impatient.header("retry-after")) == (409, "1")
    go.set()
    assert (await first).status == 200
    assert (await visitor.get("/", headers=headers)).status == 402


async def test_who_waits_is_served_when_the_first_one_fails() -> None:
    failures = [ValueError()]
    app = FastAPI()

    @app.get("/")
    @price("1")
    async def run() -> str:
        for _ in range(10):
            await asyncio.sleep(0)
        if failures:
            raise failures.pop()
        return "content"

    selling = Selling(step=give_way)
    visitor = Visitor(selling.to(app), app_raises=True)
    headers = payment(await visitor.challenge("GET", "/"))
    answers = await asyncio.gather(*(visitor.get("/", headers=headers) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 402, 402, 402, 500]
    assert selling.till.moves.total() == 1


async def test_who_goes_away_while_waiting_leaves_the_queue_as_it_was() -> None:
    settling, go = asyncio.Event(), asyncio.Event()

    async def wait(step: str) -> None:
        if step == "move":
            settling.set()
            await go.wait()

    selling = Selling(step=wait)
    visitor = Visitor(selling.to(shop([])))
    headers = payment(await visitor.challenge("GET", "/"))
    requests = [asyncio.create_task(visitor.get("/", headers=headers)) for _ in range(6)]
    await settling.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    for waiting in requests[2:5]:
        waiting.cancel()
    await asyncio.sleep(0)
    go.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(answer) for answer in answers[2:5]] == [asyncio.CancelledError] * 3
    rest = [answers[0], answers[1], answers[5]]
    assert sorted(answer.status for answer in rest) == [200, 402, 402]  # type: ignore[union-attr]
    assert (await visitor.get("/", headers=headers)).status == 402


async def test_a_worker_that_died_is_succeeded_once_its_heartbeat_is_stale() -> None:
    """It took the money and was gone: another one delivers, free."""
    store = MemoryStore()
    runs: list[str] = []

    took_money = asyncio.Event()

    async def die(step: str) -> None:
        if step == "settle":
            took_money.set()
            await asyncio.Event().wait()

    dying = Selling(step=die, keep=lambda _: store)
    heir = Selling(till=dying.till, time=dying.time, keep=lambda _: store)
    app = shop(runs)
    first, second = Visitor(dying.around(app)), Visitor(heir.around(app))
    headers = payment(await first.challenge("GET", "/"))
    request = asyncio.create_task(first.get("/", headers=headers))
    await took_money.wait()
    [book] = dying.books
    await store.heartbeat(book.owner, alive_until=int(dying.time.now) + 60)
    busy = await second.get("/", headers=headers)
    assert (busy.status, busy.header("retry-after")) == (409, "1")
    dying.time.now += 60
    served = await second.get("/", headers=headers)
    assert (served.status, runs) == (200, ["run"])
    assert dying.till.moves.total() == 1
    request.cancel()
    await asyncio.wait([request])
    assert (await second.get("/", headers=headers)).status == 402
