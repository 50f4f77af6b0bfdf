"""A process stops at any step of a payment; the same credential is shown again elsewhere.

Every step that claiming, submitting, settling and delivering take with the store and the network is
a step to stop at, just before its effect and just after it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.protocol import Credential
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stores.contract import Store
from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.sqlite.store import SqliteStore
from tests.charge.mortal import Moment, Process, stopped
from tests.shop import MODES, PRICE, SPONSOR, Payer, Shop, Time, open_shop

PATHS = ("/paid", "/after")
MOST_STEPS = 40


Opener = Callable[[], Store]

WAYS = [
    *(("memory", mode, path) for mode in MODES for path in PATHS),
    ("sqlite", "sponsored", "/paid"),
]


def openers(kind: str, directory: Path) -> Iterator[Opener]:
    """New stores; each is opened anew by every process that shares it."""
    for number in count():
        if kind == "sqlite":
            yield partial(SqliteStore, directory / f"{number}.db")
        else:
            memory = MemoryStore()
            yield lambda memory=memory: memory  # type: ignore[misc] # bound now


async def show_until_it_ends(shop: Shop, credential: Credential, path: str) -> Any:
    for _ in range(10):
        answer = await shop.show(credential, path)
        if answer.status_code in (200, 402):
            return answer
        assert answer.status_code in (409, 503), answer.text
        shop.time.now += max(1, int(answer.headers["retry-after"]))
    raise AssertionError(f"no end: {answer.status_code} {answer.text}")


async def assert_served(shop: Shop, credential: Credential, path: str, *, already: bool) -> None:
    """The credential is served for one price and one fee, whatever was done before.

    Args:
        already: the resource has left before; serving it again is at the shop's cost.
    """
    answer = await show_until_it_ends(shop, credential, path)
    if answer.status_code != 200 or already:
        assert already, answer.text
        assert answer.status_code == 402, "served twice"
        assert answer.json()["detail"].endswith("its resource was sent.")
    again = await shop.show(credential, path)
    assert again.status_code == 402
    assert again.json()["type"].endswith("invalid-challenge")
    assert shop.earned() == PRICE
    sponsored = credential.challenge.request_object()["methodDetails"]["feePayer"]
    assert sponsor_transactions(shop) == (1 if sponsored else 0)


def sponsor_transactions(shop: Shop) -> int:
    """How many transactions the sponsor has had on the ledger, ever."""
    return Payer(shop, SPONSOR).sequence(SPONSOR) & 0xFFFFFFFF


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("kind", "mode", "path"), WAYS)
async def test_killed_at_any_step(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
    mode: str,
    path: str,
    moment: Moment,
) -> None:
    """Another process finds the record once the dead one's heartbeat is over."""
    for step, store in zip(range(MOST_STEPS), openers(kind, tmp_path), strict=False):
        time = Time()
        sandbox = Sandbox(clock=time, close_interval=0.1)
        dying = Process()
        dying.run_by(monkeypatch, store)
        async with open_shop(sandbox=sandbox, time=time) as shop:
            credential = shop.payer().in_mode(mode, await shop.challenges(path))
            dying.stop_at(step, moment, killed=True)
            if not await stopped(shop.show(credential, path), dying):
                assert step > 4
                return
            has_left = shop.left[-1] == 200
            sandbox.set_close_interval(5)
            time.now += LIFE_SECONDS + 1
            Process().run_by(monkeypatch, store)
            async with open_shop(sandbox=sandbox, time=time) as heir:
                # Between the last byte and the note that it was sent nothing can be known; then
                # the payer gets it twice rather than not at all.
                known = has_left and moment == "after"
                await assert_served(heir, credential, path, already=known)
    raise AssertionError("a payment takes more steps than were tried")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("kind", "mode", "path"), WAYS)
@pytest.mark.parametrize("back", ["at the same process", "at another"])
async def test_left_at_any_step(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    back: str,
    kind: str,
    mode: str,
    path: str,
    moment: Moment,
) -> None:
    """The client gives up and its request is cancelled; it comes back while the process lives."""
    for step, store in zip(range(MOST_STEPS), openers(kind, tmp_path), strict=False):
        time = Time()
        sandbox = Sandbox(clock=time, close_interval=0.1)
        left = Process()
        left.run_by(monkeypatch, store)
        async with open_shop(sandbox=sandbox, time=time) as shop:
            credential = shop.payer().in_mode(mode, await shop.challenges(path))
            left.stop_at(step, moment, killed=False)
            if not await stopped(shop.show(credential, path), left):
                assert step > 4
                return
            has_left = shop.left[-1] == 200
            if back == "at the same process":
                await assert_served(shop, credential, path, already=has_left)
                continue
            Process().run_by(monkeypatch, store)
            async with open_shop(sandbox=sandbox, time=time) as other:
                await assert_served(other, credential, path, already=has_left)
    raise AssertionError("a payment takes more steps than were tried")
