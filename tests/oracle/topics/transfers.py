"""Transfers of every shape and failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import Asset, Keypair, MuxedAccount

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
from tests.oracle.story import FAR, Story, Who

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.oracle.scenario import Scenario

VAULT, SAFE = contract_named("vault"), contract_named("safe")
AMOUNTS = {
    "one": 1,
    "some": 5 * XLM,
    "nothing": 0,
    "minus-one": -1,
    "least": -(2**127),
    "all": 100 * XLM,
    "one-too-many": 100 * XLM + 1,
    "i64-max": INT64_MAX,
    "beyond-i64": INT64_MAX + 1,
    "i128-max": 2**127 - 1,
}
_NAMES = {ALICE: "alice", BOB: "bob", ISSUER: "issuer", STRANGER: "stranger"}


def scenarios(rng: Random) -> Iterator[Scenario]:
    yield from _amounts()
    yield from _between_everyone()
    yield from _muxed()
    yield from _reserves()
    yield from _new_accounts()
    yield from _trustlines()
    yield from _contract_balances()
    yield from _missing_contract()
    yield from _series(rng)


def asset_name(asset: Asset) -> str:
    return "xlm" if asset.is_native() else asset.code.lower()


def _name(who: Who) -> str:
    if isinstance(who, Keypair):
        return _NAMES[who]
    return "vault" if who == VAULT else "safe"


def _world(name: str) -> Story:
    """Alice and Bob, and two contracts that hold as much."""
    story = Story(f"transfers/{name}")
    for contract in (VAULT, SAFE):
        story.put(entries.balance_of(contract, USD, 100 * XLM), FAR)
        story.put(entries.balance_of(contract, NATIVE, 100 * XLM), FAR)
    return story


def _amounts() -> Iterator[Scenario]:
    for asset in (USD, NATIVE):
        for text, amount in AMOUNTS.items():
            for receiver in (BOB, SAFE):
                name = f"{asset_name(asset)}-amount-{text}-to-{_name(receiver)}"
                story = _world(name).call(asset, "transfer", ALICE, receiver, amount, by=ALICE)
                yield story.call(asset, "balance", receiver).told()


def _between_everyone() -> Iterator[Scenario]:
    people: tuple[Who, ...] = (ALICE, BOB, ISSUER, SAFE)
    for asset in (USD, NATIVE):
        for owner in (ALICE, ISSUER):
            for receiver in (*people, STRANGER):
                name = f"{asset_name(asset)}-{_name(owner)}-to-{_name(receiver)}"
                story = _world(name).call(asset, "transfer", owner, receiver, 7, by=owner)
                story.call(asset, "transfer", owner, receiver, 11, by=owner, source=owner)
                yield story.told()


def _muxed() -> Iterator[Scenario]:
    for asset in (USD, NATIVE):
        for number in (0, 1, 2**64 - 1):
            for receiver in (BOB, ISSUER, ALICE, STRANGER):
                muxed = MuxedAccount(receiver.public_key, number).account_muxed
                assert muxed is not None
                name = f"{asset_name(asset)}-muxed-{number}-{_name(receiver)}"
                story = _world(name)
                yield story.call(asset, "transfer", ALICE, muxed, 3 * XLM, by=ALICE).told()
    muxed = MuxedAccount(BOB.public_key, 9).account_muxed
    assert muxed is not None
    story = _world("muxed-where-none-may-be")
    story.call(USD, "transfer", muxed, ALICE, 1, by=BOB)
    story.call(USD, "balance", muxed)
    story.call(USD, "transfer_from", ALICE, BOB, muxed, 1, by=ALICE)
    story.call(USD, "mint", muxed, 1, by=ISSUER)
    yield story.told()
    issuer_muxed = MuxedAccount(BOB.public_key, 4).account_muxed
    assert issuer_muxed is not None
    story = _world("mint-to-muxed")
    yield story.call(USD, "transfer", ISSUER, issuer_muxed, 12, by=ISSUER).told()


def _reserves() -> Iterator[Scenario]:
    for subentries in (0, 1, 5):
        reserve = (2 + subentries) * XLM // 2
        for left in (reserve - 1, reserve, reserve + 1):
            story = _world(f"reserve-{subentries}-{left - reserve}")
            story.put(entries.account(ALICE, 30 * XLM, subentries=subentries))
            story.call(NATIVE, "transfer", ALICE, BOB, 30 * XLM - left, by=ALICE)
            story.call(NATIVE, "transfer", ALICE, SAFE, 1, by=ALICE)
            yield story.call(NATIVE, "transfer", BOB, ALICE, 1, by=BOB).told()
    story = _world("below-the-reserve-can-receive-only-enough")
    story.put(entries.account(BOB, XLM // 2))
    story.call(NATIVE, "transfer", ALICE, BOB, 1, by=ALICE)
    story.call(NATIVE, "transfer", ALICE, BOB, XLM // 2, by=ALICE)
    yield story.told()
    for asset in (USD, NATIVE):
        story = _world(f"accounts-that-were-sources-{asset_name(asset)}")
        for who in (ALICE, BOB):
            story.put(entries.account(who, sequence_ledger=900, signers=[(CAROL, 1)]))
        story.call(asset, "transfer", ALICE, BOB, 5, by=ALICE)
        yield story.call(asset, "transfer", ALICE, BOB, 5, by=ALICE, source=ALICE).told()
    story = _world("balance-below-the-reserve")
    story.put(entries.account(BOB, XLM, subentries=1))
    story.call(NATIVE, "balance", BOB)
    yield story.call(NATIVE, "transfer", BOB, ALICE, 0, by=BOB).told()
    story = _world("full-account")
    story.put(entries.account(BOB, INT64_MAX - 10))
    story.call(NATIVE, "transfer", ALICE, BOB, 11, by=ALICE)
    story.call(NATIVE, "transfer", ALICE, BOB, 10, by=ALICE)
    yield story.call(NATIVE, "transfer", ALICE, BOB, 1, by=ALICE).told()


def _new_accounts() -> Iterator[Scenario]:
    for amount in (0, 1, XLM - 1, XLM, XLM + 1, 500 * XLM):
        story = _world(f"new-account-{amount}")
        story.call(NATIVE, "transfer", ALICE, STRANGER, amount, by=ALICE)
        story.call(NATIVE, "balance", STRANGER)
        story.call(NATIVE, "transfer", ALICE, STRANGER, 3, by=ALICE)
        story.call(NATIVE, "transfer", STRANGER, BOB, 3, by=STRANGER)
        yield story.told()
    story = _world("from-a-missing-account")
    story.call(NATIVE, "transfer", STRANGER, BOB, 1, by=STRANGER)
    story.call(NATIVE, "transfer", STRANGER, BOB, 1, by=STRANGER, source=STRANGER)
    story.call(USD, "transfer", STRANGER, BOB, 1, by=STRANGER, source=STRANGER)
    yield story.told()
    story = _world("to-oneself-missing")
    story.call(NATIVE, "transfer", STRANGER, STRANGER, 0, by=STRANGER, source=STRANGER)
    story.call(NATIVE, "transfer", STRANGER, STRANGER, XLM, by=STRANGER, source=STRANGER)
    yield story.told()


def _trustlines() -> Iterator[Scenario]:
    for flags in (0, 1, 2, 4, 5, 6):
        for holder in (ALICE, BOB):
            story = _world(f"trustline-flags-{flags}-{_name(holder)}")
            story.put(entries.trustline(holder, USD, 50, flags=flags))
            story.call(USD, "transfer", ALICE, BOB, 5, by=ALICE)
            story.call(USD, "transfer", ALICE, ISSUER, 5, by=ALICE)
            story.call(USD, "transfer", ISSUER, BOB, 5, by=ISSUER)
            story.call(USD, "transfer", ALICE, BOB, 0, by=ALICE)
            yield story.told()
    for room in (0, 4, 5, 6):
        story = _world(f"trustline-room-{room}")
        story.put(entries.trustline(BOB, USD, 100, limit=100 + room))
        story.call(USD, "transfer", ALICE, BOB, 5, by=ALICE)
        yield story.call(USD, "transfer", ISSUER, BOB, 5, by=ISSUER).told()
    story = _world("trustline-over-its-limit")
    story.put(entries.trustline(BOB, USD, 100, limit=90))
    story.call(USD, "balance", BOB)
    story.call(USD, "transfer", BOB, ALICE, 5, by=BOB)
    yield story.call(USD, "transfer", BOB, ALICE, 50, by=BOB).told()
    for asset in (USD, EURO):
        story = _world(f"no-trustline-{asset_name(asset)}")
        story.put(entries.token_instance(EURO), FAR)
        story.call(asset, "transfer", ALICE, STRANGER, 5, by=ALICE)
        story.call(asset, "transfer", ISSUER, CAROL, 5, by=ISSUER)
        story.call(asset, "transfer", CAROL, ISSUER, 5, by=CAROL)
        yield story.call(asset, "balance", CAROL).told()
    story = Story("transfers/issuer-account-missing", empty=True)
    story.put(entries.account(ALICE)).put(entries.account(BOB))
    story.put(entries.trustline(ALICE, USD, 10)).put(entries.trustline(BOB, USD, 10))
    story.put(entries.token_instance(USD), FAR)
    story.call(USD, "transfer", ALICE, BOB, 5, by=ALICE)
    story.call(USD, "transfer", ALICE, ISSUER, 5, by=ALICE)
    story.call(USD, "transfer", ALICE, SAFE, 1, by=ALICE)
    yield story.call(USD, "balance", SAFE).told()


def _contract_balances() -> Iterator[Scenario]:
    for issuer_flags in (0, 1, 2, 8, 10, 11):
        story = Story(f"transfers/first-of-a-contract-issuer-flags-{issuer_flags}")
        story.put(entries.account(ISSUER, flags=issuer_flags))
        story.call(USD, "transfer", ALICE, SAFE, 5, by=ALICE)
        story.call(USD, "transfer", ALICE, SAFE, 6, by=ALICE)
        story.call(USD, "transfer", ALICE, SAFE, 0, by=ALICE)
        yield story.call(USD, "balance", SAFE).told()
    for authorized in (True, False):
        story = Story(f"transfers/contract-authorized-{authorized}")
        story.put(entries.balance_of(SAFE, USD, 9, authorized=authorized), FAR)
        story.call(USD, "transfer", ALICE, SAFE, 5, by=ALICE)
        yield story.call(USD, "authorized", SAFE).told()
    for held in (2**127 - 1, 2**127 - 6, 2**127 - 5):
        story = Story(f"transfers/contract-holds-{held}")
        story.put(entries.balance_of(SAFE, USD, held), FAR)
        yield story.call(USD, "transfer", ALICE, SAFE, 5, by=ALICE).told()
    story = Story("transfers/from-a-contract-that-nobody-signs-for")
    story.put(entries.balance_of(SAFE, USD, 9), FAR)
    story.call(USD, "transfer", SAFE, ALICE, 5)
    yield story.call(USD, "transfer", SAFE, ALICE, 5, by=SAFE).told()
    story = Story("transfers/to-the-token-itself")
    story.call(USD, "transfer", ALICE, token(USD), 5, by=ALICE)
    yield story.call(NATIVE, "transfer", ALICE, token(USD), 5, by=ALICE).told()


def _missing_contract() -> Iterator[Scenario]:
    story = Story("transfers/token-not-deployed")
    yield story.call(EURO, "transfer", ALICE, BOB, 5, by=ALICE).told()


def _series(rng: Random) -> Iterator[Scenario]:
    """Many small transfers among few, so that balances run low and high again."""
    people: tuple[Keypair, ...] = (ALICE, BOB, CAROL, ISSUER)
    for number in range(12):
        story = _world(f"series-{number}")
        asset = rng.choice((USD, NATIVE))
        for _ in range(8):
            owner = rng.choice(people)
            receivers: list[Who] = [*people, SAFE, VAULT]
            receiver = rng.choice(receivers)
            amount = rng.choice((1, 40 * XLM, 99 * XLM, 120 * XLM, rng.randrange(10**10)))
            if rng.random() < 0.3:
                story.jump(rng.choice((1, 17, 17_281, 120_000)))
            story.call(asset, "transfer", owner, receiver, amount, by=owner)
        yield story.told()
