"""Which attack finds which check missing: an attack that cannot succeed anywhere proves nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.attacks.ground import WEAKENED, open_ground
from tests.attacks.runner import perform
from tests.attacks.variant import Place, all_variants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.attacks.tally import Tally

FINDERS: tuple[tuple[str, str], ...] = (
    ("a settlement that failed is taken for one",
     "A1 money taken away before it is sent, sponsored, /paid"),
    ("any transfer will do", "A1 unsponsored: pays less"),
    ("a settlement that failed is taken for one",
     "A2 money taken away while it is settled, sponsored, /after-stream"),
    ("what was delivered is not written down", "A3 at once and one after the other, sponsored"),
    ("what was delivered is not written down", "A3 on /after"),
    ("proofs are not claimed", "A4 one payment, one challenge after the other, push"),
    ("challenges are not bound to requests", "A5 same price, another path"),
    ("challenges are not bound to requests", "A5 another body"),
    ("paths are read in one way", "A5 a dear path that reads as a cheap one"),
    ("challenges are not authenticated", "A6 another id"),
    ("challenges do not expire", "A6 after its time"),
    ("headroom is not looked at", "A7 headroom for 7, many at once, one worker"),
    ("who has waited is not looked at again", "A9 one balance for many, who wait for each other"),
    ("anything may be sponsored", "A10 sponsored: transaction source is the payer"),
    ("any transfer will do", "A10 sponsored: pays less"),
    ("a handler that failed has delivered",
     "A11 the handler fails the first time, /failing, sponsored"),
    ("hashes need no signature", "A12 push: somebody else's hash in its payer's name"),
    ("paths are priced as they are spelled", "A13 a path with a dot before its last part"),
    ("paths are read in one way", "A13 a path with the last letter twice escaped"),
    ("what no route takes costs nothing", "A13 a path with as it is"),
    ("unreadable credentials are not expected", "A14 noise"),
    ("any contract is a channel", "A15 shown: a tiny waiting period"),
    ("nobody guards the channels", "A16 closed and refunded while vouchers are unsettled"),
    ("vouchers are not verified", "A17 another key"),
    ("headroom is not looked at", "A17 lower"),
    ("trouble of ours is a refusal", "A19 charges, and a store that is full"),
    ("trouble of ours is a refusal", "A20 simulateTransaction is answered with 500, instead"),
    ("credentials are logged", "A21 logs at DEBUG, of everything that can happen"),
    ("unpaid requests are remembered", "A22 a flood of new queries"),
)  # fmt: skip
"""A check, and an attack that succeeds where it is missing."""
Found = dict[tuple[str, str], "Tally"]


def find(*, seed: int, finders: Sequence[tuple[str, str]] = FINDERS) -> Found:
    """Remove the checks one after the other and make the attacks."""
    variants = {str(variant): variant for variant in all_variants()}
    found: Found = {}
    with open_ground(Place.TROUBLED, app=WEAKENED) as ground:

        async def go() -> None:
            for number, (check, name) in enumerate(finders):
                await ground.weaken(check)
                ground.settings["WEAKENED"] = check  # for servers that the attack starts
                variant = variants[name]
                tally = await perform(variant, ground, seed=seed + number, is_short=True)
                found[check, name] = tally
            await ground.hang_up()

        asyncio.run(go())
    return found


def table(found: Found) -> str:
    """A line for each."""
    heads = f"{'leaked':>7} {'over':>5} {'denied':>6} {'5xx':>4}"
    lines = [f"{'without the check':46} {'attack':70} {heads}"]
    for (check, name), tally in found.items():
        numbers = f"{tally.leaked:7} {tally.overcharged:5} {tally.denied:6} {tally.errors:4}"
        lines.append(f"{check:46} {name:70} {numbers}{'' if tally.found else '  NOT FOUND'}")
    return "\n".join(lines)
