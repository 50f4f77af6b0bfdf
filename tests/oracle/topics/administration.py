"""What an asset's administrator does, and what holders do: burn, trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import scval

from tests.oracle import entries
from tests.oracle.entries import (
    ALICE,
    BOB,
    CAROL,
    EURO,
    INT64_MAX,
    ISSUER,
    NATIVE,
    STRANGER,
    USD,
    XLM,
    contract_named,
    token,
)
from tests.oracle.story import FAR, Story

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from stellar_sdk import Keypair

    from tests.oracle.scenario import Scenario

SAFE = contract_named("safe")
_AMOUNTS = (-1, 0, 1, 60, INT64_MAX, INT64_MAX + 1, 2**127 - 1)


def scenarios(_rng: Random) -> Iterator[Scenario]:
    yield from _minting()
    yield from _burning()
    yield from _clawing_back()
    yield from _authorizing()
    yield from _handing_over()
    yield from _trusting()


def _minting() -> Iterator[Scenario]:
    for amount in _AMOUNTS:
        story = Story(f"administration/mint-{amount}")
        for receiver in (BOB, SAFE, STRANGER, ISSUER):
            story.call(USD, "mint", receiver, amount, by=ISSUER)
        yield story.call(USD, "balance", SAFE).told()
    story = Story("administration/mint-by-others")
    story.call(USD, "mint", BOB, 5, by=ALICE)
    story.call(USD, "mint", BOB, 5)
    story.call(NATIVE, "mint", BOB, 5, by=ISSUER)
    yield story.call(USD, "mint", BOB, 5, by=ISSUER, source=ISSUER).told()
    story = Story("administration/mint-to-what-is-not-authorized")
    story.put(entries.trustline(BOB, USD, 5, flags=0))
    story.put(entries.balance_of(SAFE, USD, 5, authorized=False), FAR)
    story.call(USD, "mint", BOB, 5, by=ISSUER)
    yield story.call(USD, "mint", SAFE, 5, by=ISSUER).told()


def _burning() -> Iterator[Scenario]:
    for amount in _AMOUNTS:
        story = Story(f"administration/burn-{amount}")
        story.put(entries.trustline(ALICE, USD, 60))
        story.call(USD, "burn", ALICE, amount, by=ALICE)
        story.call(NATIVE, "burn", ALICE, amount, by=ALICE)
        story.call(USD, "burn", ISSUER, amount, by=ISSUER)
        story.call(USD, "burn", STRANGER, amount, by=STRANGER, source=STRANGER)
        yield story.told()
    story = Story("administration/burn-of-a-contract")
    story.put(entries.balance_of(SAFE, USD, 5), FAR)
    story.call(USD, "burn", SAFE, 5)
    yield story.call(USD, "burn", ALICE, 5).told()
    story = Story("administration/burn-what-is-not-authorized")
    story.put(entries.trustline(ALICE, USD, 5, flags=2))
    yield story.call(USD, "burn", ALICE, 5, by=ALICE).told()


def _clawing_back() -> Iterator[Scenario]:
    for flags in (1, 2, 4, 5, 6):
        for amount in (-1, 0, 40, 50, 51, INT64_MAX + 1):
            story = Story(f"administration/clawback-flags-{flags}-amount-{amount}")
            story.put(entries.trustline(ALICE, USD, 50, flags=flags))
            yield story.call(USD, "clawback", ALICE, amount, by=ISSUER).told()
    for clawback in (True, False):
        story = Story(f"administration/clawback-from-a-contract-{clawback}")
        story.put(entries.balance_of(SAFE, USD, 9, clawback=clawback, authorized=False), FAR)
        story.call(USD, "clawback", SAFE, 10, by=ISSUER)
        story.call(USD, "clawback", SAFE, 9, by=ISSUER)
        story.call(USD, "clawback", SAFE, 0, by=ISSUER)
        yield story.call(USD, "clawback", SAFE, 1, by=ISSUER).told()
    story = Story("administration/clawback-where-there-is-nothing")
    story.call(USD, "clawback", SAFE, 1, by=ISSUER)
    story.call(USD, "clawback", STRANGER, 1, by=ISSUER)
    story.call(USD, "clawback", ISSUER, 1, by=ISSUER)
    story.call(NATIVE, "clawback", ALICE, 1, by=ISSUER)
    story.call(NATIVE, "clawback", SAFE, 1, by=ISSUER)
    yield story.call(USD, "clawback", ALICE, 1, by=ALICE).told()


def _authorizing() -> Iterator[Scenario]:
    for issuer_flags in (0, 1, 2, 3, 10):
        for line_flags in (0, 1, 2, 5, 6):
            name = f"administration/authorize-issuer-{issuer_flags}-line-{line_flags}"
            story = Story(name).put(entries.account(ISSUER, flags=issuer_flags))
            story.put(entries.trustline(ALICE, USD, 50, flags=line_flags))
            for wanted in (False, True, True, False, False):
                story.call(USD, "set_authorized", ALICE, wanted, by=ISSUER)
                story.call(USD, "authorized", ALICE)
            yield story.told()
        story = Story(f"administration/authorize-contract-issuer-{issuer_flags}")
        story.put(entries.account(ISSUER, flags=issuer_flags))
        for wanted in (False, True, False):
            story.call(USD, "authorized", SAFE)
            story.call(USD, "set_authorized", SAFE, wanted, by=ISSUER)
            story.call(USD, "transfer", ALICE, SAFE, 3, by=ALICE)
        yield story.told()
    story = Story("administration/authorize-where-there-is-nothing")
    for wanted in (True, False):
        story.put(entries.account(ISSUER, flags=2))
        story.call(USD, "set_authorized", STRANGER, wanted, by=ISSUER)
        story.call(USD, "set_authorized", ISSUER, wanted, by=ISSUER)
        story.call(NATIVE, "set_authorized", ALICE, wanted, by=ISSUER)
        story.call(USD, "set_authorized", ALICE, wanted, by=ALICE)
        story.call(USD, "set_authorized", ALICE, wanted)
    for who in (STRANGER, ISSUER, ALICE, SAFE, token(USD)):
        story.call(USD, "authorized", who)
        story.call(NATIVE, "authorized", who)
    yield story.told()


def _handing_over() -> Iterator[Scenario]:
    def of(name: str, new: Keypair | str) -> Story:
        story = Story(f"administration/new-administrator-{name}")
        story.call(USD, "admin")
        story.call(USD, "set_admin", new, by=ISSUER)
        return story.call(USD, "admin")

    story = of("alice", ALICE)
    story.call(USD, "mint", BOB, 4, by=ISSUER)
    story.call(USD, "mint", BOB, 4, by=ALICE)
    story.call(USD, "mint", ISSUER, 4, by=ALICE)
    story.call(USD, "set_admin", ISSUER, by=ISSUER)
    story.call(USD, "transfer", ISSUER, BOB, 4, by=ISSUER)
    yield story.call(USD, "set_admin", ISSUER, by=ALICE).told()
    story = of("contract", SAFE)
    yield story.call(USD, "mint", BOB, 4, by=ISSUER).told()
    story = of("nobody", STRANGER)
    story.call(USD, "mint", BOB, 4, by=STRANGER)
    yield story.call(USD, "mint", BOB, 4, by=STRANGER, source=STRANGER).told()
    story = of("itself", ISSUER)
    yield story.jump(200_000).call(USD, "admin").told()
    story = Story("administration/new-administrator-by-others")
    story.call(USD, "set_admin", ALICE, by=ALICE)
    story.call(USD, "set_admin", ALICE)
    story.call(NATIVE, "set_admin", ALICE, by=ISSUER)
    yield story.call(NATIVE, "admin").told()


def _trusting() -> Iterator[Scenario]:
    for issuer_flags in (0, 1, 2, 8, 11):
        story = Story(f"administration/trust-issuer-flags-{issuer_flags}")
        story.put(entries.token_instance(EURO), FAR)
        story.put(entries.account(ISSUER, flags=issuer_flags))
        story.call(EURO, "trust", CAROL, by=CAROL)
        story.call(EURO, "trust", CAROL, by=CAROL)
        story.call(EURO, "balance", CAROL)
        yield story.call(EURO, "transfer", ISSUER, CAROL, 5, by=ISSUER).told()
    for balance, subentries in ((XLM, 0), (XLM * 3 // 2 - 1, 0), (XLM * 3 // 2, 0), (XLM, 1_000)):
        story = Story(f"administration/trust-with-{balance}-and-{subentries}")
        story.put(entries.token_instance(EURO), FAR)
        story.put(entries.account(CAROL, balance, subentries=subentries))
        yield story.call(EURO, "trust", CAROL, by=CAROL).told()
    for subentries in (998, 999, 1_000):
        story = Story(f"administration/trust-with-{subentries}-subentries")
        story.put(entries.token_instance(EURO), FAR)
        story.put(entries.account(CAROL, 10**12, subentries=subentries))
        yield story.call(EURO, "trust", CAROL, by=CAROL).told()
    story = Story("administration/trust-of-others")
    for who in (ISSUER, STRANGER, SAFE, ALICE):
        story.call(USD, "trust", who)
        story.call(NATIVE, "trust", who)
    story.call(USD, "trust", STRANGER, by=STRANGER)
    yield story.call(USD, "trust", STRANGER, by=STRANGER, source=STRANGER).told()
    story = Story("administration/trust-without-an-issuer", empty=True)
    story.put(entries.token_instance(EURO), FAR).put(entries.account(CAROL))
    story.call(EURO, "trust", CAROL, by=CAROL, source=CAROL)
    story.call(EURO, "transfer", CAROL, SAFE, 0, by=CAROL, source=CAROL)
    yield story.call(EURO, "init_asset", scval.to_bytes(b"")).told()
