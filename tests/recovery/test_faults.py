"""The store and the node fail at any call, in every way there is: before the effect, after it,
late, with nonsense, behind the others. What was promised holds, and nobody is told to pay again for
a fault of ours.

Each run draws its faults from a seed, and heals in the end; the same seed draws the same.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi import house
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.charge import bad_line
from tests.charge.bad_line import BadLine
from tests.methods.stores import StoreAround
from tests.session.drawer import CALL, DEPOSIT, Drawer, open_session_shop
from tests.shop import MODES, PRICE, Payer, Shop, Time, payment_middleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.protocol import Challenge, Credential
    from tests.charge.bad_line import Answer, Fault, Request

SEEDS = range(12)
PAYMENTS = 6
SHARE = 0.12
"""Of calls that go wrong."""
HEALED_AFTER = 15
MOST_REQUESTS = 40
LEDGER_SECONDS = 2

ANYWHERE: tuple[Fault, ...] = (
    bad_line.lost_before,
    bad_line.lost_after,
    bad_line.refused,
    bad_line.failed,
    bad_line.garbage,
    bad_line.of_another_request,
)
AT: dict[str, tuple[Fault, ...]] = {
    "sendTransaction": (
        bad_line.duplicate_after_effect,
        bad_line.answered_without_effect("TRY_AGAIN_LATER"),
        bad_line.answered_without_effect("DUPLICATE"),
    ),
    "getTransaction": (bad_line.behind(1), bad_line.behind(5), bad_line.behind(1_000)),
}


class Fate:
    """Says what goes wrong, and remembers what did."""

    def __init__(self, seed: int, time: Time) -> None:
        self._random = Random(seed)
        self._time = time
        self.is_kind = True
        self.struck: Counter[str] = Counter()

    def strikes(self, what: str) -> str | None:
        """How a call goes wrong, if it does; it may be slow as well as right."""
        if self.is_kind:
            return None
        drawn = self._random.random()
        if drawn >= SHARE:
            return None
        if drawn < SHARE / 4:
            self._time.now += self._random.choice((1, 4, 11))
            self.struck[f"{what} slow"] += 1
            return None
        how = self._random.choice(("before", "after"))
        self.struck[f"{what} {how}"] += 1
        return how

    def one_of(self, faults: tuple[Fault, ...]) -> Fault:
        return self._random.choice(faults)


class _Store(StoreAround):
    def __init__(self, store: MemoryStore, fate: Fate) -> None:
        super().__init__(store)  # type: ignore[arg-type] # by its names
        self._fate = fate

    async def _call(self, name: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        how = self._fate.strikes(name)
        if how == "before":
            raise StoreUnavailableError(name)
        result = await operation()
        if how == "after":
            raise StoreUnavailableError(name)
        return result


class _Line(BadLine):
    def __init__(self, sandbox: Sandbox, fate: Fate) -> None:
        super().__init__(sandbox)
        self._fate = fate

    def rpc(self, request: Request) -> Answer:
        method = request["method"]
        if self._fate.strikes(method) is None:
            return self.sandbox.rpc(request)
        return self._fate.one_of(ANYWHERE + AT.get(method, ()))(self, request)


def opened(patch: pytest.MonkeyPatch, seed: int) -> tuple[Any, Fate]:
    time = Time()
    fate = Fate(seed, time)
    sandbox = Sandbox(clock=time, close_interval=LEDGER_SECONDS)
    store = _Store(MemoryStore(), fate)
    patch.setattr(house, "store_from_url", lambda _: store)
    shop = open_session_shop(
        sandbox=sandbox,
        node=_Line(sandbox, fate),
        time=time,
        settle_seconds=8,
        challenge_seconds=3_600,
    )
    return shop, fate


async def insist(shop: Shop, fate: Fate, credential: Credential, statuses: Counter[int]) -> int:
    """Show a credential until there is an answer that ends it; the world heals at last."""
    fate.is_kind = False
    status = 0
    for request in range(MOST_REQUESTS):
        if request == HEALED_AFTER:
            fate.is_kind = True
        answer = await shop.show(credential)
        status = answer.status_code
        statuses[status] += 1
        if status in (200, 402):
            break
        assert status in (409, 503), answer.text
        assert "www-authenticate" not in answer.headers
        assert "payment-receipt" not in answer.headers
        shop.time.now += max(1, int(answer.headers["retry-after"]))
    fate.is_kind = True
    return status


def in_mode(payer: Payer, mode: str, challenges: list[Challenge], number: int) -> Credential:
    """A good credential, and for longer than the faults last."""
    if mode == "sponsored":
        last = payer.shop.sandbox.sequence + 3_000 // 5
        return payer.sponsored(challenges[0], expiration_ledger=last, nonce=number)
    return payer.in_mode(mode, challenges)


@pytest.mark.parametrize("mode", MODES)
async def test_charges(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    struck: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    for seed in SEEDS:
        opening, fate = opened(monkeypatch, seed)
        async with opening as shop:
            for number in range(1, PAYMENTS + 1):
                payer = shop.payer(number)
                credential = in_mode(payer, mode, await shop.challenges(), number)
                where = f"seed {seed}, payment {number}"
                assert await insist(shop, fate, credential, statuses) == 200, where
                assert shop.earned() == number * PRICE, where
                again = await shop.show(credential)
                assert (again.status_code, shop.left.count(200)) == (402, number), where
            assert await left(shop) == 0, f"seed {seed}"
        struck += fate.struck
    print(f"{mode}: {dict(statuses)}; 402 for a fault of ours: {statuses[402]}")
    assert statuses[402] == 0
    assert statuses[503] > len(SEEDS), "nothing went wrong"
    assert {"claim after", "write before", "write after", "get before"} <= struck.keys()


async def left(shop: Shop) -> int:
    """Records that nobody finishes, once the processes are gone."""
    shop.time.now += 60
    opened_house = payment_middleware(shop.app)._house
    assert opened_house is not None
    await opened_house._book.tidy()
    await opened_house._recovery.round()
    return len(await shop.store.open_charges(now=int(shop.time.now), limit=100))


async def test_vouchers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One exception: if the store takes a spend and does not say so, nobody can tell; the payer is
    told what was spent, as whoever asks for what was served."""
    statuses: Counter[int] = Counter()
    excused = 0
    for seed in SEEDS:
        opening, fate = opened(monkeypatch, seed)
        async with opening as shop:
            drawer = await Drawer.on_record(shop, deposited=3 * DEPOSIT)
            challenge = await drawer.challenge()
            signed = 0
            for number in range(2 * PAYMENTS):
                where = f"seed {seed}, voucher {number}"
                signed += CALL
                untold = fate.struck["spend after"]
                voucher = drawer.voucher(challenge, signed)
                status = await insist(shop, fate, voucher, statuses)
                channel = await drawer.record()
                if status == 402:
                    assert fate.struck["spend after"] > untold, where
                    excused += 1
                else:
                    assert status == 200, where
                assert channel.accepted == signed, where
                assert channel.spent == signed, where
            assert len(shop.runs) <= channel.units, f"seed {seed}"
    print(
        f"vouchers: {dict(statuses)}; 402 for a fault of ours: {statuses[402] - excused}, "
        f"after a spend that the store took and denied: {excused}"
    )
    assert statuses[402] == excused
    assert statuses[503] > len(SEEDS), "nothing went wrong"
