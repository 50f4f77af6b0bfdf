"""Allowances: given, used, used up, over ledgers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import scval

from tests.oracle import entries
from tests.oracle.entries import (
    ALICE,
    BOB,
    CAROL,
    INT64_MAX,
    ISSUER,
    NATIVE,
    STRANGER,
    USD,
    XLM,
    address_of,
    contract_named,
)
from tests.oracle.story import FAR, START, Story

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from stellar_sdk import Asset, Keypair

    from tests.oracle.scenario import Scenario

SAFE = contract_named("safe")
_MAX_TTL = 3_110_400


def scenarios(rng: Random) -> Iterator[Scenario]:
    yield from _expiries()
    yield from _amounts()
    yield from _replacing()
    yield from _spending()
    yield from _burning()
    yield from _parties()
    yield from _series(rng)


def approve(
    story: Story, asset: Asset, owner: Keypair, spender: Keypair | str, amount: int, until: int
) -> Story:
    return story.call(asset, "approve", owner, spender, amount, scval.to_uint32(until), by=owner)


def spend(
    story: Story,
    asset: Asset,
    spender: Keypair,
    owner: Keypair,
    to: Keypair | str,
    amount: int,
) -> Story:
    return story.call(asset, "transfer_from", spender, owner, to, amount, by=spender)


def _expiries() -> Iterator[Scenario]:
    ledgers = (
        0,
        START - 1,
        START,
        START + 1,
        START + 719,
        START + 720,
        START + 5_000,
        START + _MAX_TTL - 2,
        START + _MAX_TTL - 1,
        START + _MAX_TTL,
        2**32 - 1,
    )
    for until in ledgers:
        for amount in (0, 50):
            story = Story(f"allowances/until-{until}-amount-{amount}")
            approve(story, USD, ALICE, BOB, amount, until)
            story.call(USD, "allowance", ALICE, BOB)
            spend(story, USD, BOB, ALICE, CAROL, 10)
            yield story.told()
    for lasts in (0, 1, 100, 719, 720, 721, 5_000):
        for waits in sorted({lasts - 1, lasts, lasts + 1, 719, 720} - {-1, 0}):
            story = Story(f"allowances/lasts-{lasts}-used-after-{waits}")
            approve(story, USD, ALICE, BOB, 50, START + lasts).jump(waits)
            story.call(USD, "allowance", ALICE, BOB)
            spend(story, USD, BOB, ALICE, CAROL, 10)
            yield story.call(USD, "allowance", ALICE, BOB).told()


def _amounts() -> Iterator[Scenario]:
    for amount in (-1, 0, 1, INT64_MAX, INT64_MAX + 1, 2**127 - 1):
        for asset in (USD, NATIVE):
            name = "xlm" if asset.is_native() else "usd"
            story = Story(f"allowances/amount-{amount}-{name}")
            approve(story, asset, ALICE, BOB, amount, START + 100)
            story.call(asset, "allowance", ALICE, BOB)
            for wanted in (-1, 0, 1, 5):
                spend(story, asset, BOB, ALICE, CAROL, wanted)
            yield story.call(asset, "allowance", ALICE, BOB).told()


def _replacing() -> Iterator[Scenario]:
    for first, second in ((100, 200), (200, 100), (2_000, 100), (100, 2_000), (1_000, 1_000)):
        for amount in (0, 9):
            story = Story(f"allowances/replaced-{first}-by-{second}-of-{amount}")
            approve(story, USD, ALICE, BOB, 50, START + first).jump(3)
            approve(story, USD, ALICE, BOB, amount, START + second)
            story.call(USD, "allowance", ALICE, BOB).jump(90)
            spend(story, USD, BOB, ALICE, CAROL, 9)
            yield story.call(USD, "allowance", ALICE, BOB).told()
    story = Story("allowances/revoked-with-an-expiry-that-is-past")
    approve(story, USD, ALICE, BOB, 50, START + 100)
    approve(story, USD, ALICE, BOB, 0, START - 1)
    story.call(USD, "allowance", ALICE, BOB)
    yield approve(story, USD, ALICE, BOB, 0, 0).told()
    story = Story("allowances/revoked-after-it-expired")
    approve(story, USD, ALICE, BOB, 50, START + 10).jump(11)
    approve(story, USD, ALICE, BOB, 0, 0)
    yield approve(story, USD, ALICE, BOB, 7, START + 30).told()


def _spending() -> Iterator[Scenario]:
    for asset in (USD, NATIVE):
        name = "xlm" if asset.is_native() else "usd"
        story = Story(f"allowances/spent-bit-by-bit-{name}")
        approve(story, asset, ALICE, BOB, 10 * XLM, START + 1_000)
        for amount in (4, 6 * XLM, 4 * XLM, 4 * XLM - 4, 1, 0):
            spend(story, asset, BOB, ALICE, CAROL, amount).jump(7)
        yield story.call(asset, "allowance", ALICE, BOB).told()
        story = Story(f"allowances/more-than-there-is-{name}")
        approve(story, asset, ALICE, BOB, 10**15, START + 1_000)
        spend(story, asset, BOB, ALICE, CAROL, 10**14)
        yield story.call(asset, "allowance", ALICE, BOB).told()
    for receiver in (STRANGER, SAFE, ISSUER, ALICE, BOB):
        story = Story(f"allowances/to-{address_of(receiver)}")
        approve(story, USD, ALICE, BOB, 90, START + 1_000)
        approve(story, NATIVE, ALICE, BOB, 2 * XLM, START + 1_000)
        spend(story, USD, BOB, ALICE, receiver, 30)
        yield spend(story, NATIVE, BOB, ALICE, receiver, XLM).told()
    story = Story("allowances/owner-is-not-authorized")
    story.put(entries.trustline(ALICE, USD, 50, flags=2))
    approve(story, USD, ALICE, BOB, 90, START + 1_000)
    yield spend(story, USD, BOB, ALICE, CAROL, 5).told()


def _burning() -> Iterator[Scenario]:
    for asset in (USD, NATIVE):
        for owner in (ALICE, ISSUER):
            name = f"{'xlm' if asset.is_native() else 'usd'}-{owner.public_key[:6]}"
            story = Story(f"allowances/burn-from-{name}")
            approve(story, asset, owner, BOB, 9, START + 1_000)
            for amount in (-1, 0, 4, 6, 5):
                story.call(asset, "burn_from", BOB, owner, amount, by=BOB)
            yield story.call(asset, "allowance", owner, BOB).told()


def _parties() -> Iterator[Scenario]:
    story = Story("allowances/to-oneself")
    approve(story, USD, ALICE, ALICE, 9, START + 100)
    yield spend(story, USD, ALICE, ALICE, BOB, 5).told()
    story = Story("allowances/by-the-issuer")
    approve(story, USD, ISSUER, BOB, 9, START + 100)
    yield spend(story, USD, BOB, ISSUER, BOB, 5).told()
    story = Story("allowances/to-a-contract")
    approve(story, USD, ALICE, SAFE, 9, START + 100)
    story.call(USD, "transfer_from", SAFE, ALICE, BOB, 5)
    yield story.told()
    story = Story("allowances/of-those-without-anything")
    approve(story, USD, STRANGER, BOB, 9, START + 100)
    approve(story, NATIVE, STRANGER, BOB, 9, START + 100)
    story.call(USD, "allowance", STRANGER, BOB)
    yield spend(story, USD, BOB, STRANGER, ALICE, 5).told()
    story = Story("allowances/nobody-signs")
    story.call(USD, "approve", ALICE, BOB, 9, scval.to_uint32(START + 9))
    yield story.call(USD, "transfer_from", BOB, ALICE, BOB, 0).told()
    story = Story("allowances/from-a-contracts-balance")
    story.put(entries.balance_of(SAFE, USD, 9), FAR)
    yield story.call(USD, "transfer_from", BOB, SAFE, ALICE, 0, by=BOB).told()


def _series(rng: Random) -> Iterator[Scenario]:
    people = (ALICE, BOB, CAROL)
    for number in range(20):
        story = Story(f"allowances/series-{number}")
        asset = rng.choice((USD, NATIVE))
        for _ in range(8):
            owner, spender, receiver = (rng.choice(people) for _ in range(3))
            if rng.random() < 0.5:
                until = story.sequence + rng.choice((-1, 0, 10, 700, 800, 20_000))
                approve(story, asset, owner, spender, rng.choice((0, 50, 10**12)), until)
            else:
                spend(story, asset, spender, owner, receiver, rng.choice((0, 20, 40, 10**10)))
            if rng.random() < 0.4:
                story.jump(rng.choice((1, 9, 15, 715, 30_000)))
        yield story.told()
