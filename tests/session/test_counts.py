"""What a paid request costs the server: one step of the store, and never a call to the network."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mpp_asgi import house
from mpp_asgi.client import PaymentAuth, SessionPolicy
from tests.charge.bad_line import BadLine, shop_on_bad_line
from tests.methods.stores import FailingStore
from tests.session.drawer import CALL, DEPOSIT, Drawer, Funder, session_challenge
from tests.shop import RECIPIENT, open_shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mpp_asgi.protocol import Challenge
    from tests.shop import Shop

MANY = 25


@dataclass
class Watched:
    """A shop, and what it did since the last look."""

    shop: Shop
    line: BadLine
    stores: list[FailingStore]
    url: str

    def look(self) -> tuple[list[str], Counter[str]]:
        """Calls to the network, and steps of the store but for the guardian's."""
        steps = Counter(name for s in self.stores for name in s.calls if name != "lease")
        seen = list(self.line.calls), steps
        self.line.follow()
        for store in self.stores:
            store.calls.clear()
        return seen


@pytest.fixture(params=["memory", "sqlite"])
async def watched(
    request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Watched]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"
    stores: list[FailingStore] = []
    real = house.store_from_url

    def counted(text: str) -> FailingStore:
        stores.append(FailingStore(real(text)))
        return stores[-1]

    monkeypatch.setattr(house, "store_from_url", counted)
    async with shop_on_bad_line(store=url, recipient_secret=RECIPIENT.secret) as (shop, line):
        yield Watched(shop, line, stores, url)


async def opened(watched: Watched) -> tuple[Funder, Challenge]:
    funder = Funder(watched.shop, 1)
    challenge = session_challenge(await watched.shop.challenges())
    response = await watched.shop.show(funder.open(challenge, CALL))
    assert response.status_code == 200, response.text
    calls, steps = watched.look()
    assert "sendTransaction" in calls  # so what is counted below would be counted
    assert steps["spend"] == 1
    return funder, challenge


async def test_a_voucher_for_each_request(watched: Watched) -> None:
    funder, challenge = await opened(watched)
    for number in range(2, 8):
        assert (await funder.pay(challenge, number * CALL)).status_code == 200
        assert watched.look() == ([], {"spend": 1})


async def test_riding_on_headroom(watched: Watched) -> None:
    funder, challenge = await opened(watched)
    for _ in range(5):
        assert (await funder.pay(challenge, DEPOSIT)).status_code == 200
        assert watched.look() == ([], {"spend": 1})


async def test_what_is_refused_costs_no_more(watched: Watched) -> None:
    funder, challenge = await opened(watched)
    forged = funder.voucher(challenge, 2 * CALL, signature="00" * 64)
    assert (await watched.shop.show(forged)).status_code == 402
    assert watched.look() == ([], {})
    for amount in (0, CALL):
        assert (await funder.pay(challenge, amount)).status_code == 402
        assert watched.look() == ([], {"spend": 1})


async def test_only_a_voucher_beyond_the_deposit_is_asked_about(watched: Watched) -> None:
    """It takes the funder's signature to have the ledger asked."""
    funder, challenge = await opened(watched)
    assert (await funder.pay(challenge, DEPOSIT + 1)).status_code == 402
    assert watched.look() == (["getLedgerEntries"], {"spend": 2, "observe": 1})


@pytest.mark.parametrize("watched", ["sqlite"], indirect=True)
async def test_another_process_looks_a_channel_up_once(watched: Watched) -> None:
    funder, challenge = await opened(watched)
    shop = watched.shop
    others = {"store": watched.url, "recipient_secret": RECIPIENT.secret, "node": watched.line}
    async with open_shop(sandbox=shop.sandbox, time=shop.time, **others) as other:
        drawer = Drawer(other, funder.key, funder.channel, funder.funder)
        await other.challenges()
        watched.look()
        assert (await drawer.pay(challenge, 2 * CALL)).status_code == 200
        assert watched.look() == ([], {"channel": 1, "spend": 1})
        assert (await drawer.pay(challenge, 3 * CALL)).status_code == 200
        assert watched.look() == ([], {"spend": 1})


async def test_one_round_trip_for_each_request(watched: Watched) -> None:
    """As the client does it: one 402 in all, and nothing but the requests it was asked for."""
    requests: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        requests.append(request)

    shop = watched.shop
    auth = PaymentAuth(
        shop.payer().keypair,
        budget="1",
        rpc=shop.sandbox.rpc,
        sessions=SessionPolicy(after="always", expected_calls=MANY),
        clock=shop.time,
        async_sleep=shop.time.sleep,
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(shop.app),
        base_url="https://shop.test",
        auth=auth,
        event_hooks={"request": [note]},
    ) as client:
        for number in range(MANY):
            requests.clear()
            watched.look()
            assert (await client.get("/paid")).status_code == 200
            if number:
                assert len(requests) == 1
                assert watched.look() == ([], {"spend": 1})
            else:
                assert len(requests) == 2
    assert shop.runs == ["/paid"] * MANY
