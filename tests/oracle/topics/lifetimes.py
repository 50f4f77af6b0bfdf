"""Entries that grow old: extended when used, archived when not, restored when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.oracle import entries
from tests.oracle.entries import (
    ALICE,
    BOB,
    INSTANCE_KEY,
    ISSUER,
    NATIVE,
    USD,
    XLM,
    account_key,
    balance_key,
    contract_named,
    data_key,
    nonce_key,
    token,
)
from tests.oracle.story import START, Story

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.oracle.scenario import Scenario

SAFE = contract_named("safe")
_DAY = 17_280
_INSTANCE = 7 * _DAY
_BALANCE = 30 * _DAY


def scenarios(rng: Random) -> Iterator[Scenario]:
    yield from _instances()
    yield from _balances()
    yield from _archived()
    yield from _keeping()
    yield from _series(rng)


def _instances() -> Iterator[Scenario]:
    for left in (0, 1, _DAY, _INSTANCE - _DAY - 1, _INSTANCE - _DAY, _INSTANCE - _DAY + 1):
        for function in ("balance", "transfer", "allowance", "decimals", "name", "admin"):
            args = {"balance": (ALICE,), "transfer": (ALICE, BOB, 1), "allowance": (ALICE, BOB)}
            story = Story(f"lifetimes/instance-left-{left}-{function}")
            story.put(entries.token_instance(USD), START + left)
            by = ALICE if function == "transfer" else None
            story.call(USD, function, *args.get(function, ()), by=by)
            yield story.jump(1).call(USD, function, *args.get(function, ()), by=by).told()
    for left in (_INSTANCE - 1, _INSTANCE, _INSTANCE + 1):
        story = Story(f"lifetimes/instance-left-{left}")
        story.put(entries.token_instance(USD), START + left)
        story.call(USD, "balance", ALICE).jump(_DAY).call(USD, "balance", ALICE)
        yield story.jump(1).call(USD, "balance", ALICE).told()


def _balances() -> Iterator[Scenario]:
    for left in (0, 1, _BALANCE - _DAY - 1, _BALANCE - _DAY, _BALANCE - _DAY + 1, _BALANCE):
        story = Story(f"lifetimes/balance-left-{left}")
        story.put(entries.balance_of(SAFE, USD, 50), START + left)
        story.call(USD, "balance", SAFE).jump(1)
        story.call(USD, "transfer", ALICE, SAFE, 5, by=ALICE)
        yield story.jump(_DAY + 1).call(USD, "balance", SAFE).told()


def _archived() -> Iterator[Scenario]:
    for unrestored in (False, True):
        mark = "left" if unrestored else "restored"
        story = Story(f"lifetimes/archived-balance-{mark}")
        story.put(entries.balance_of(SAFE, USD, 50), START - 1)
        story.call(USD, "balance", SAFE, unrestored=unrestored)
        story.call(USD, "transfer", ALICE, SAFE, 5, by=ALICE, unrestored=unrestored)
        yield story.call(USD, "authorized", SAFE, unrestored=unrestored).told()
        story = Story(f"lifetimes/archived-instance-{mark}")
        story.put(entries.token_instance(USD), START - 1)
        story.call(USD, "name", unrestored=unrestored)
        yield story.call(USD, "transfer", ALICE, BOB, 5, by=ALICE, unrestored=unrestored).told()
        story = Story(f"lifetimes/archived-both-{mark}")
        story.put(entries.token_instance(USD), START - 1)
        story.put(entries.balance_of(SAFE, USD, 50), START - 1)
        options: dict[str, Any] = {"by": ALICE, "unrestored": unrestored}
        story.call(USD, "transfer", ALICE, SAFE, 10**15, **options)
        story.call(USD, "transfer", ALICE, SAFE, 5, **options)
        yield story.call(USD, "balance", SAFE).told()
    story = Story("lifetimes/archived-after-long")
    story.call(USD, "transfer", ALICE, SAFE, 5, by=ALICE).jump(200_000)
    story.call(USD, "transfer", ALICE, SAFE, 5, by=ALICE).jump(600_000)
    story.call(USD, "balance", SAFE)
    yield story.call(USD, "transfer", ALICE, SAFE, 5, by=ALICE).told()


def _keeping() -> Iterator[Scenario]:
    """Entries let live longer or brought back on purpose."""
    keys = {
        "instance": data_key(token(USD), INSTANCE_KEY),
        "balance": data_key(token(USD), balance_key(SAFE)),
        "missing": data_key(token(USD), balance_key(contract_named("nobody"))),
        "nonce": data_key(ALICE.public_key, nonce_key(1), temporary=True),
        "account": account_key(ALICE),
    }
    both = (keys["balance"], keys["instance"])
    for lives in (10, 5_000):
        story = Story(f"lifetimes/kept-that-live-{lives}")
        story.put(entries.token_instance(USD), START + lives)
        story.put(entries.balance_of(SAFE, USD, 50), START + 2 * lives)
        story.call(USD, "transfer", ALICE, BOB, 1, by=ALICE)
        for waits in (1, lives - 1, 1, lives, 800):
            for key in keys.values():
                for extend_to in (0, 1, lives, 10_000, 3_110_399):
                    story.keep(key, extend_to=extend_to)
                story.keep(key)
            story.keep(*both, extend_to=20_000).keep(*both).keep().keep(extend_to=5)
            story.jump(waits)
        yield story.told()


def _series(rng: Random) -> Iterator[Scenario]:
    for number in range(25):
        story = Story(f"lifetimes/series-{number}")
        asset = rng.choice((USD, NATIVE))
        story.put(entries.token_instance(asset), START + rng.randrange(200_000))
        story.put(entries.balance_of(SAFE, asset, XLM), START + rng.randrange(300_000))
        for _ in range(8):
            story.jump(rng.choice((1, 10, _DAY, 100_000, 600_000)))
            match rng.randrange(4):
                case 0:
                    story.call(asset, "balance", rng.choice((SAFE, ALICE)))
                case 1:
                    story.call(asset, "transfer", ALICE, SAFE, rng.randrange(9), by=ALICE)
                case 2:
                    story.call(asset, "transfer", ALICE, BOB, rng.randrange(9), by=ALICE)
                case _:
                    story.call(asset, "clawback", SAFE, rng.randrange(9), by=ISSUER)
        yield story.told()
