"""A shop behind a front, and whoever attacks it through that."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from tests.attacks import report, runner
from tests.attacks.scene import Scene
from tests.attacks.variant import Place, all_variants
from tests.attacks.wire import Wire
from tests.fronts.nginx import SHOP_ADDRESS, changed, documented

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.attacks.ground import Ground
    from tests.fronts.nginx import Change, Front

AT_THE_END = "proxy_buffering off;\n        proxy_cache off;"
CACHE_FOLDER = "/var/cache/nginx/api"
OWN = ("<title>501 Not Implemented", "<title>505 HTTP Version Not Supported")
"""What nginx says itself to a Transfer-Encoding and a version that nobody knows."""
TOLD = "add_header X-Cache $upstream_cache_status always;"
"""What a test wants to know of nginx."""


def address(ground: Ground) -> str:
    """Of the shop itself."""
    return f"{ground.wires[-1].host}:{ground.wires[-1].port}"


def proxying(shop: str, changes: Sequence[Change] = ()) -> str:
    """The documented server."""
    return changed(documented("listen 443 ssl;"), [(SHOP_ADDRESS, shop), *changes])


def caching(shop: str, folder: Path, more: str = "", changes: Sequence[Change] = ()) -> str:
    """The same, with the documented cache."""
    beside, within = documented("proxy_cache_path").split("# in its location")
    beside = changed(beside, [(CACHE_FOLDER, str(folder / "kept"))])
    lines = changed(within.partition("\n")[2], changes)
    return beside + proxying(shop, [(AT_THE_END, f"{lines}{TOLD}{more}")])


@asynccontextmanager
async def through(ground: Ground, front: Front) -> AsyncIterator[None]:
    """What is asked of the shop is asked of the front."""
    wire = Wire("127.0.0.1", front.port, tls=front.tls())
    ground.wires.insert(0, wire)
    try:
        yield
    finally:
        ground.wires.pop(0)
        for each in (wire, *ground.wires):
            await each.close()


@asynccontextmanager
async def attacking(
    ground: Ground, front: Front, name: str, *, exact: bool = True, troubled: bool = False
) -> AsyncIterator[Scene]:
    """Through the front. At the end the books have to be right: nothing served that was not paid;
    if ``exact``, nothing paid that was not served."""
    scene = Scene(ground, name, seed=front.port, times=1)
    scene.is_troubled = troubled
    async with through(ground, front):
        yield scene
        await scene.close_books(exact=exact)
    assert scene.tally.is_clean, report.line(name, scene.tally)
    assert scene.tally.attempts


async def found_by_attacks(ground: Ground, front: Front, rows: Sequence[str]) -> list[str]:
    """Make the attacks of these rows through the front, in short, and say what they found."""
    found = []
    async with through(ground, front):
        for variant in all_variants():
            if variant.row in rows and variant.place is Place.PLAIN and variant.short != 0:
                tally = await runner.perform(variant, ground, seed=front.port, is_short=True)
                tally.errors -= sum(any(map(note.__contains__, OWN)) for note in tally.notes)
                if not tally.is_clean:
                    found.append(report.line(str(variant), tally))
    return found


async def submitted(ground: Ground) -> None:
    """Wait until a payment is on its way, and no ledger has it yet."""
    async with asyncio.timeout(60):
        while not _is_submitted(ground):  # noqa: ASYNC110 # it is another process that writes it
            await asyncio.sleep(0.05)


def _is_submitted(ground: Ground) -> bool:
    with closing(sqlite3.connect(ground.store, timeout=30)) as records:
        return bool(records.execute("SELECT 1 FROM charge WHERE state = 'submitted'").fetchone())
