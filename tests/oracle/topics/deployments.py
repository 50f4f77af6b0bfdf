"""Contracts of assets created, and creations that make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import Asset, xdr

from tests.oracle import entries
from tests.oracle.authorization import by_source
from tests.oracle.channels import creating, creation
from tests.oracle.entries import ALICE, BOB, EURO, ISSUER, NATIVE, STRANGER, USD, contract_named
from tests.oracle.story import Story

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.oracle.scenario import Scenario

_ASSETS = {
    "xlm": NATIVE,
    "usd": USD,
    "euro": EURO,
    "one": Asset("A", ISSUER.public_key),
    "four": Asset("ABCD", ISSUER.public_key),
    "five": Asset("ABCDE", ISSUER.public_key),
    "twelve": Asset("ABCDEFGHIJKL", ISSUER.public_key),
}


def scenarios(_rng: Random) -> Iterator[Scenario]:
    yield from _assets()
    yield from _mismatches()


def _creation_of(asset: xdr.Asset, executable: xdr.ContractExecutable) -> xdr.HostFunction:
    kind = xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ASSET
    preimage = xdr.ContractIDPreimage(kind, from_asset=asset)
    return xdr.HostFunction(
        xdr.HostFunctionType.HOST_FUNCTION_TYPE_CREATE_CONTRACT,
        create_contract=xdr.CreateContractArgs(preimage, executable),
    )


def _stellar_asset() -> xdr.ContractExecutable:
    return xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET)


def _assets() -> Iterator[Scenario]:
    for name, asset in _ASSETS.items():
        story = Story(f"deployments/asset-{name}", empty=True)
        for who in (ALICE, BOB, ISSUER):
            story.put(entries.account(who))
        if not asset.is_native():
            story.put(entries.trustline(ALICE, asset, 70))
        function = _creation_of(asset.to_xdr_object(), _stellar_asset())
        story.invoke(function, ALICE).invoke(function, BOB)
        for asked in ("name", "symbol", "decimals", "admin"):
            story.call(asset, asked, source=BOB)
        story.call(asset, "transfer", ALICE, contract_named("safe"), 7, by=ALICE, source=BOB)
        yield story.told()
    for code, size in (
        (b"A B\0", 4),
        (b"\0\0\0\0", 4),
        (b"A\0B\0", 4),
        (b"ABCD\0\0\0\0\0\0\0\0", 12),
    ):
        story = Story(f"deployments/asset-code-{code.hex()}")
        function = _creation_of(_raw_asset(code, size), _stellar_asset())
        yield story.invoke(function).told()


def _raw_asset(code: bytes, size: int) -> xdr.Asset:
    issuer = ISSUER.xdr_account_id()
    if size == 4:
        body = xdr.AlphaNum4(xdr.AssetCode4(code), issuer)
        return xdr.Asset(xdr.AssetType.ASSET_TYPE_CREDIT_ALPHANUM4, alpha_num4=body)
    long_body = xdr.AlphaNum12(xdr.AssetCode12(code), issuer)
    return xdr.Asset(xdr.AssetType.ASSET_TYPE_CREDIT_ALPHANUM12, alpha_num12=long_body)


def _mismatches() -> Iterator[Scenario]:
    wasm = xdr.ContractExecutable(
        xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM, wasm_hash=xdr.Hash(bytes(32))
    )
    story = Story("deployments/asset-with-wasm")
    yield story.invoke(_creation_of(EURO.to_xdr_object(), wasm)).told()
    story = Story("deployments/address-with-asset")
    function = creation(ALICE, bytes(32), bytes(32), [])
    assert function.create_contract_v2 is not None
    function.create_contract_v2.executable = _stellar_asset()
    tree = creating(ALICE, bytes(32), bytes(32), [])
    assert tree.function.create_contract_v2_host_fn is not None
    tree.function.create_contract_v2_host_fn.executable = _stellar_asset()
    story.invoke(function, ALICE, [by_source(tree)])
    story.invoke(function, BOB, [story.signed(ALICE, tree)])
    yield story.invoke(function, BOB, [story.signed(ALICE, tree, [STRANGER])]).told()
    story = Story("deployments/unknown-wasm-by-the-older-form")
    newer = creation(ALICE, bytes(32), bytes(32), []).create_contract_v2
    assert newer is not None
    older = xdr.CreateContractArgs(newer.contract_id_preimage, newer.executable)
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_CREATE_CONTRACT
    function = xdr.HostFunction(kind, create_contract=older)
    tree = creating(ALICE, bytes(32), bytes(32), [])
    story.invoke(function, ALICE, [by_source(tree)])
    yield story.invoke(function, BOB, [story.signed(ALICE, tree)]).told()
