"""Makes the attacks on every seller and counts."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.peers.bout import Bout
from benchmarks.peers.sellers.ours import open_ours
from benchmarks.peers.sellers.pympp import open_pympp
from benchmarks.peers.sellers.x402 import open_x402
from benchmarks.peers.variant import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from benchmarks.peers.count import Count, Counts
    from benchmarks.peers.sellers.seller import Seller
    from benchmarks.peers.variant import Variant

PLAY_SECONDS = 600.0
SELLERS: dict[str, Callable[[], AbstractContextManager[Seller]]] = {
    "mpp_asgi": open_ours,
    "x402": lambda: open_x402("authorization"),
    "x402 upfront": lambda: open_x402("upfront"),
    "pympp": open_pympp,
}
assert tuple(SELLERS) == NAMES


def run(
    variants: Sequence[Variant],
    names: Sequence[str],
    *,
    seed: int,
    tell: Callable[[Variant, str, Count], None],
) -> tuple[Counts, dict[str, str]]:
    """What came of each, and the versions: one seller after the other, each on its own."""
    counts: Counts = {}
    versions: dict[str, str] = {}
    for name in names:
        with SELLERS[name]() as seller:
            versions[name] = seller.version
            asyncio.run(_all(variants, seller, counts, seed=seed, tell=tell))
    return counts, versions


async def _all(
    variants: Sequence[Variant],
    seller: Seller,
    counts: Counts,
    *,
    seed: int,
    tell: Callable[[Variant, str, Count], None],
) -> None:
    for variant in variants:
        if seller.name not in variant.not_for:
            count = await perform(variant, seller, seed=seed)
            counts[str(variant), seller.name] = count
            tell(variant, seller.name, count)
    await seller.premises.hang_up()


async def perform(variant: Variant, seller: Seller, *, seed: int) -> Count:
    """Make one attack on one seller."""
    bout = Bout(seller, str(variant), times=variant.times, seed=seed)
    started = time.monotonic()
    try:
        async with asyncio.timeout(PLAY_SECONDS):
            await variant.act(bout)
            await bout.close_books()
    except Exception as error:  # noqa: BLE001 # whatever goes wrong in an attack, the others go on
        bout.count.broken += 1
        bout.count.note(f"the attack itself failed: {type(error).__name__}: {str(error)[:300]}")
    finally:
        await bout.calm()
        seller.premises.release()
    bout.count.seconds = time.monotonic() - started
    return bout.count
