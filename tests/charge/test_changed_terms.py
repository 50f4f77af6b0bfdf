"""A seller who changes its terms honours what was paid before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Keypair

from mpp_asgi.sandbox import Sandbox
from tests.shop import PRICE, Time, open_shop

if TYPE_CHECKING:
    from pathlib import Path

ELSEWHERE = Keypair.from_raw_ed25519_seed(bytes(31) + b"e").public_key
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "another recipient": {"recipient": ELSEWHERE},
    "another currency": {"currency": "XLM"},
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_was_paid_and_not_delivered_is_served(tmp_path: Path, change: str) -> None:
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1.0)
    store = f"sqlite:///{tmp_path}/store.db"
    async with open_shop(sandbox=sandbox, time=time, store=store) as before:
        (first, *_) = await before.challenges("/flaky")
        credential = before.payer().sponsored(first)
        assert (await before.show(credential, "/flaky")).status_code == 500
        assert before.earned() == PRICE
    changed = {"sandbox": sandbox, "time": time, "store": store, **CHANGES[change]}
    async with open_shop(**changed) as after:
        after.runs.append("the first time failed before")
        answer = await after.show(credential, "/flaky")
        assert answer.status_code == 200, answer.text
        assert after.earned() == PRICE
        assert (await after.show(credential, "/flaky")).status_code == 402


@pytest.mark.parametrize("path", ["/paid", "/asked"])
@pytest.mark.parametrize("change", ["another recipient", "another currency"])
async def test_what_was_not_paid_is_refused(change: str, path: str) -> None:
    """A price that is asked for each request is honoured as it was quoted; who is paid is not."""
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1.0)
    async with open_shop(sandbox=sandbox, time=time) as before:
        (first, *_) = await before.challenges(path)
        credential = before.payer().sponsored(first)
    async with open_shop(sandbox=sandbox, time=time, **CHANGES[change]) as after:
        answer = await after.show(credential, path)
        honoured = (change, path) == ("another currency", "/asked")
        assert answer.status_code == (200 if honoured else 402), answer.text
        assert after.runs == [path] * honoured
        assert after.earned() == PRICE * honoured


async def test_a_bare_hash_that_was_taken_is_served_when_none_are_taken_any_more(
    tmp_path: Path,
) -> None:
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1.0)
    world = {"sandbox": sandbox, "time": time, "store": f"sqlite:///{tmp_path}/store.db"}
    async with open_shop(**world, allow_hash=True) as before:
        challenge = (await before.challenges("/flaky"))[1]
        payer = before.payer()
        hash_ = payer.push(payer.transfer(challenge))
        credential = payer.credential(challenge, type="hash", hash=hash_)
        assert (await before.show(credential, "/flaky")).status_code == 500
    async with open_shop(**world) as after:
        after.runs.append("the first time failed before")
        assert (await after.show(credential, "/flaky")).status_code == 200
        other = (await after.challenges("/flaky"))[1]
        bare = payer.credential(other, type="hash", hash=hash_)
        assert (await after.show(bare, "/flaky")).status_code == 402
