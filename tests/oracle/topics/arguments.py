"""Calls with arguments of the wrong number, kind, size or shape; and functions that only tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import Asset, scval, xdr

from tests.oracle import entries
from tests.oracle.authorization import calling
from tests.oracle.entries import (
    ALICE,
    BOB,
    EURO,
    INSTANCE_KEY,
    ISSUER,
    NATIVE,
    USD,
    contract_named,
    nonce_key,
    symbol_map,
    token,
)
from tests.oracle.story import FAR, START, Story, invocation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.oracle.scenario import Scenario

_PARAMETERS = {
    "admin": "",
    "allowance": "AA",
    "approve": "AAIU",
    "authorized": "A",
    "balance": "A",
    "burn": "AI",
    "burn_from": "AAI",
    "clawback": "AI",
    "decimals": "",
    "init_asset": "Y",
    "mint": "AI",
    "name": "",
    "set_admin": "A",
    "set_authorized": "AB",
    "symbol": "",
    "transfer": "AAI",
    "transfer_from": "AAAI",
    "trust": "A",
}
_GOOD = {
    "A": scval.to_address(ALICE.public_key),
    "I": scval.to_int128(1),
    "U": scval.to_uint32(START + 9),
    "B": scval.to_bool(True),
    "Y": scval.to_bytes(b"1234"),
}


def _strange() -> dict[str, xdr.SCVal]:
    balance = xdr.ClaimableBalanceID(
        xdr.ClaimableBalanceIDType.CLAIMABLE_BALANCE_ID_TYPE_V0, xdr.Hash(bytes(32))
    )
    kinds = xdr.SCAddressType
    pool = xdr.SCAddress(
        kinds.SC_ADDRESS_TYPE_LIQUIDITY_POOL, liquidity_pool_id=xdr.PoolID(xdr.Hash(bytes(32)))
    )
    claimable = xdr.SCAddress(kinds.SC_ADDRESS_TYPE_CLAIMABLE_BALANCE, claimable_balance_id=balance)
    entry = xdr.SCMapEntry
    return {
        "void": scval.to_void(),
        "u32": scval.to_uint32(1),
        "u64": scval.to_uint64(1),
        "i64": scval.to_int64(1),
        "u128": scval.to_uint128(1),
        "i256": scval.to_int256(1),
        "u256": scval.to_uint256(2**200),
        "timepoint": scval.to_timepoint(1),
        "string": scval.to_string("1"),
        "symbol": scval.to_symbol("one"),
        "bad-symbol": scval.to_symbol("one two"),
        "empty-symbol": scval.to_symbol(""),
        "bytes": scval.to_bytes(b"1"),
        "vec": scval.to_vec([scval.to_int128(1)]),
        "empty-vec": scval.to_vec([]),
        "absent-vec": xdr.SCVal(xdr.SCValType.SCV_VEC),
        "map": symbol_map(amount=scval.to_int128(1)),
        "absent-map": xdr.SCVal(xdr.SCValType.SCV_MAP),
        "unsorted-map": _raw_map(entry(_sym("b"), _sym("b")), entry(_sym("a"), _sym("a"))),
        "doubled-map": _raw_map(entry(_sym("a"), _sym("a")), entry(_sym("a"), _sym("b"))),
        "pool": _address_val(pool),
        "claimable": _address_val(claimable),
        "error": xdr.SCVal(
            xdr.SCValType.SCV_ERROR,
            error=xdr.SCError(xdr.SCErrorType.SCE_CONTRACT, contract_code=xdr.Uint32(1)),
        ),
        "instance-key": INSTANCE_KEY,
        "nonce": nonce_key(1),
        "nested-nonce": scval.to_vec([nonce_key(1)]),
        "deep": _deep(30),
        "at-the-limit": _deep(99),
        "beyond-the-limit": _deep(100),
        "far-beyond": _deep(110),
        "long-bad-symbol": scval.to_symbol("a_symbol_of more_than_nine"),
    }


def _sym(text: str) -> xdr.SCVal:
    return scval.to_symbol(text)


def _raw_map(*pairs: xdr.SCMapEntry) -> xdr.SCVal:
    return xdr.SCVal(xdr.SCValType.SCV_MAP, map=xdr.SCMap(list(pairs)))


def _address_val(address: xdr.SCAddress) -> xdr.SCVal:
    return xdr.SCVal(xdr.SCValType.SCV_ADDRESS, address=address)


def _deep(levels: int) -> xdr.SCVal:
    found = scval.to_vec([])
    for _ in range(levels):
        found = scval.to_vec([found])
    return found


def scenarios(_rng: Random) -> Iterator[Scenario]:
    yield from _numbers_of_arguments()
    yield from _kinds_of_arguments()
    yield from _names_of_functions()
    yield from _telling()
    yield from _in_authorizations()


def _numbers_of_arguments() -> Iterator[Scenario]:
    for function, parameters in _PARAMETERS.items():
        story = Story(f"arguments/number-{function}")
        good = [_GOOD[kind] for kind in parameters]
        for args in (good[:-1], [*good, scval.to_void()], []):
            story.call(USD, function, *args, by=ALICE)
        yield story.told()


def _kinds_of_arguments() -> Iterator[Scenario]:
    strange = _strange()
    for function, parameters in _PARAMETERS.items():
        for place in range(len(parameters)):
            # Too many levels leave a line each in the diagnostics: once is enough.
            deep = {"beyond-the-limit", "far-beyond"} if function != "balance" else set()
            story = Story(f"arguments/kinds-{function}-{place}")
            for name, bad in strange.items():
                if name in deep:
                    continue
                args = [_GOOD[kind] for kind in parameters]
                args[place] = bad
                story.call(USD, function, *args, auth=())
            yield story.told()


def _names_of_functions() -> Iterator[Scenario]:
    names = ("", "transferr", "Transfer", "__constructor", "__check_auth", "_", "a b", "x" * 32)
    story = Story("arguments/names-of-functions")
    for name in names:
        story.call(USD, name)
        story.call(contract_named("nothing-here"), name)
    yield story.told()
    story = Story("arguments/called-address-is-no-contract")
    story.call(ALICE.public_key, "balance", ALICE)
    yield story.told()


def _telling() -> Iterator[Scenario]:
    assets = {
        "xlm": NATIVE,
        "usd": USD,
        "euro": EURO,
        "one": Asset("A", ISSUER.public_key),
        "four": Asset("ABCD", ISSUER.public_key),
        "five": Asset("ABCDE", ISSUER.public_key),
        "twelve": Asset("ABCDEFGHIJKL", ISSUER.public_key),
    }
    for name, asset in assets.items():
        story = Story(f"arguments/telling-{name}").put(entries.token_instance(asset), FAR)
        for function in ("name", "symbol", "decimals", "admin"):
            story.call(asset, function)
        for who in (ALICE, ISSUER, token(asset)):
            story.call(asset, "balance", who)
            story.call(asset, "authorized", who)
            story.call(asset, "allowance", who, BOB)
        yield story.told()


def _in_authorizations() -> Iterator[Scenario]:
    """What no value may be is no value in an authorization either."""
    for name, bad in _strange().items():
        story = Story(f"arguments/in-an-authorization-{name}")
        args = [scval.to_address(ALICE.public_key), scval.to_address(BOB.public_key), bad]
        surplus = story.signed(ALICE, calling(token(USD), "transfer", args))
        function = invocation(token(USD), "balance", [scval.to_address(ALICE.public_key)])
        story.invoke(function, auth=[surplus], record=None)
        yield story.told()
