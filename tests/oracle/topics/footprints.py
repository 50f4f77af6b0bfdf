"""Footprints that name too little: every key left out, and every written one only read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stellar_sdk import Keypair, scval

from tests.oracle import entries
from tests.oracle.authorization import calling
from tests.oracle.entries import (
    ALICE,
    BOB,
    CAROL,
    EURO,
    INSTANCE_KEY,
    ISSUER,
    NATIVE,
    STRANGER,
    USD,
    XLM,
    account_key,
    address_of,
    allowance_key,
    balance_key,
    contract_named,
    data_key,
    nonce_key,
    token,
    trustline_key,
)
from tests.oracle.story import FAR, START, Story, Value, Who, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from stellar_sdk import Asset

    from tests.oracle.scenario import Scenario

SAFE = contract_named("safe")
_NONCE = 77

_CALLS: dict[str, tuple[Asset, str, tuple[Value, ...], Who | None]] = {
    "transfer": (USD, "transfer", (ALICE, BOB, 5), ALICE),
    "transfer-xlm": (NATIVE, "transfer", (ALICE, BOB, 5), ALICE),
    "transfer-new": (NATIVE, "transfer", (ALICE, STRANGER, 5 * XLM), ALICE),
    "transfer-safe": (USD, "transfer", (ALICE, SAFE, 5), ALICE),
    "transfer-new-safe": (USD, "transfer", (ALICE, contract_named("new"), 5), ALICE),
    "transfer-issuer": (USD, "transfer", (ALICE, ISSUER, 5), ALICE),
    "approve": (USD, "approve", (ALICE, CAROL, 5, scval.to_uint32(START + 9)), ALICE),
    "transfer-from": (USD, "transfer_from", (CAROL, ALICE, BOB, 5), CAROL),
    "allowance": (USD, "allowance", (ALICE, CAROL), None),
    "balance": (USD, "balance", (ALICE,), None),
    "balance-safe": (USD, "balance", (SAFE,), None),
    "balance-xlm": (NATIVE, "balance", (ALICE,), None),
    "mint": (USD, "mint", (BOB, 5), ISSUER),
    "burn": (USD, "burn", (ALICE, 5), ALICE),
    "clawback": (USD, "clawback", (SAFE, 1), ISSUER),
    "set-authorized": (USD, "set_authorized", (ALICE, True), ISSUER),
    "set-admin": (USD, "set_admin", (BOB,), ISSUER),
    "trust": (EURO, "trust", (CAROL,), CAROL),
}


def scenarios(_rng: Random) -> Iterator[Scenario]:
    for name, (asset, function, args, by) in _CALLS.items():
        for restriction in ("without", "read_only"):
            story = _world(f"{name}-{restriction.replace('_', '-')}")
            for key in _keys(asset, args, by):
                auth = []
                if by is not None:
                    allowed = calling(token(asset), function, [value(arg) for arg in args])
                    auth = [story.signed(by, allowed, nonce=_NONCE)]
                options: dict[str, Any] = {restriction: [key], "auth": auth, "record": None}
                story.call(asset, function, *args, **options)
                # The nonce is forgotten until the next key is tried.
                story.jump(1_000)
            yield story.told()


def _world(name: str) -> Story:
    story = Story(f"footprints/{name}")
    story.put(entries.account(ISSUER, flags=2))
    story.put(entries.token_instance(EURO), FAR)
    story.put(entries.balance_of(SAFE, USD, 900, clawback=True), FAR)
    until = scval.to_uint32(START + 500)
    return story.call(USD, "approve", ALICE, CAROL, 1_000, until, by=ALICE, record=None)


def _keys(asset: Asset, args: Sequence[Value], by: Who | None) -> list[str]:
    """Whatever the call may touch, and a few it does not."""
    people = [arg for arg in (*args, ISSUER) if isinstance(arg, Keypair)]
    address = token(asset)
    keys = [account_key(who) for who in people]
    keys.append(data_key(address, INSTANCE_KEY))
    keys += [data_key(address, balance_key(arg)) for arg in args if isinstance(arg, str)]
    allowance = allowance_key(ALICE.public_key, CAROL.public_key)
    keys.append(data_key(address, allowance, temporary=True))
    if not asset.is_native():
        keys += [trustline_key(who, asset) for who in people]
    if by is not None:
        keys.append(data_key(address_of(by), nonce_key(_NONCE), temporary=True))
    return keys
