from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mpp_asgi import turns
from mpp_asgi.stores.memory.store import MemoryStore
from tests.charge.delivering import Forgetful, Worker, Workers
from tests.methods.nod import Till
from tests.methods.stall import Time
from tests.shop import Shop, open_shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_shop() as opened:
        yield opened


@pytest.fixture(params=["memory", "sqlite"])
async def workers(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Workers]:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0)
    time, till, memory = Time(), Till(), MemoryStore()
    settings: dict[str, Any] = {"prices": {"/plain": "1"}, "keep": lambda _: Forgetful(memory)}
    if request.param == "sqlite":
        settings.update(store=f"sqlite:///{tmp_path}/charges.db", keep=Forgetful)
    here, there = (Worker(time, till, settings) for _ in range(2))
    both = Workers(here, there, time, till)
    for each in (both.here, both.there):
        await each.visitor.get("/")  # opens its store
    yield both
    for each in (both.here, both.there):
        await each.app._close()
