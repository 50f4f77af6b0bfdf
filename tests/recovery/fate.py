"""Faults of the store and of the node, drawn from a seed, and payers who insist."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from mpp_asgi import house
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from tests.charge import bad_line
from tests.charge.bad_line import BadLine
from tests.methods.stores import StoreAround
from tests.session.drawer import open_session_shop
from tests.shop import Time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

    from mpp_asgi.protocol import Credential
    from tests.charge.bad_line import Answer, Fault, Request
    from tests.shop import Shop

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

    def __init__(self, seed: int, time: Time, share: float) -> None:
        self._random = Random(seed)
        self._time = time
        self._share = share
        self.is_kind = True
        self.struck: Counter[str] = Counter()

    def strikes(self, what: str) -> str | None:
        """How a call goes wrong, if it does; it may be slow as well as right."""
        if self.is_kind:
            return None
        drawn = self._random.random()
        if drawn >= self._share:
            return None
        if drawn < self._share / 4:
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


def opened(patch: pytest.MonkeyPatch, seed: int, *, share: float = SHARE) -> tuple[Any, Fate]:
    """A shop to open, whose store and node fail at ``share`` of all calls."""
    time = Time()
    fate = Fate(seed, time, share)
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
