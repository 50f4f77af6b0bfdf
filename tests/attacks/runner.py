"""Makes the attacks, each on its place, and counts."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.attacks.ground import SHOP, Ground, open_ground
from tests.attacks.scene import Scene
from tests.attacks.tally import Tally
from tests.attacks.variant import Place, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Results = dict[str, Tally]
"""By variant, as ``A5 pay cheap, take dear``."""
PLAY_SECONDS = 900


def run(
    variants: Sequence[Variant],
    *,
    seed: int,
    is_short: bool,
    tell: Callable[[Variant, Tally], None] = lambda *_: None,
) -> Results:
    """Start what is needed, attack it, and stop it. Places are attacked at the same time."""
    if is_short:
        variants = [variant for variant in variants if variant.short != 0]
    results: Results = {}
    with ExitStack() as stack:
        grounds = {
            place: stack.enter_context(open_ground(place, is_small=is_short))
            for place in Place
            if any(variant.place is place for variant in variants)
        }

        async def everywhere() -> None:
            await asyncio.gather(*(along(place, ground) for place, ground in grounds.items()))

        async def along(place: Place, ground: Ground) -> None:
            for variant in variants:
                if variant.place is place:
                    tally = await perform(variant, ground, seed=seed, is_short=is_short)
                    results[str(variant)] = tally
                    tell(variant, tally)
            await ground.hang_up()

        asyncio.run(everywhere())
    return results


async def perform(variant: Variant, ground: Ground, *, seed: int, is_short: bool) -> Tally:
    """Make one attack."""
    times = variant.times
    if is_short:
        times = min(times, 3) if not variant.short else variant.short
    scene = Scene(ground, str(variant), seed=seed, times=times, is_short=is_short)
    started = time.monotonic()
    try:
        async with asyncio.timeout(PLAY_SECONDS):
            await variant.play(scene)
            await scene.close_books(exact=variant.exact)
    except Exception as error:  # noqa: BLE001 # whatever goes wrong in an attack, the others go on
        scene.tally.broken += 1
        scene.tally.err(f"the attack itself failed: {type(error).__name__}: {str(error)[:300]}")
    finally:
        if ground.crooked is not None:
            ground.crooked.reset()
    scene.tally.seconds = time.monotonic() - started
    return scene.tally


__all__ = ["SHOP", "Results", "perform", "run"]
