"""What an asset's contract keeps in its instance: the asset, its names and its administrator."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.assets import NATIVE, Asset
from mpp_asgi.sandbox.wire.keys import value_order
from mpp_asgi.sandbox.wire.values import (
    STELLAR_ASSET,
    Address,
    Instance,
    Val,
    address_val,
    bytes_val,
    fields,
    map_val,
    string_val,
    symbol_val,
    u32_val,
    vec_val,
)

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.invocation import Host

DECIMALS = 7

ADMIN_KEY = vec_val([symbol_val("Admin")])
ASSET_INFO_KEY = vec_val([symbol_val("AssetInfo")])
METADATA_KEY = symbol_val("METADATA")


def asset_instance(asset: Asset) -> Instance:
    """A fresh instance of the asset's contract, administered by the issuer."""
    stored = {METADATA_KEY: _metadata(asset), ASSET_INFO_KEY: _asset_info(asset)}
    if not asset.is_native:
        stored[ADMIN_KEY] = address_val(Address.account(asset.issuer))
    return Instance(
        STELLAR_ASSET, tuple(sorted(stored.items(), key=lambda item: value_order(item[0])))
    )


def _metadata(asset: Asset) -> Val:
    return map_val(
        {
            "decimal": u32_val(DECIMALS),
            "name": string_val(asset.name.encode()),
            "symbol": string_val(asset.symbol.encode()),
        }
    )


def _asset_info(asset: Asset) -> Val:
    if asset.is_native:
        return vec_val([symbol_val("Native")])
    kind = "AlphaNum4" if len(asset.code) == 4 else "AlphaNum12"
    info = map_val({"asset_code": string_val(asset.code), "issuer": bytes_val(asset.issuer)})
    return vec_val([symbol_val(kind), info])


@lru_cache(maxsize=256)
def asset_from_info(info: Val) -> Asset:
    kind = info.value[0].value
    if kind == "Native":
        return NATIVE
    parts = fields(info.value[1])
    return Asset(parts["asset_code"].value, parts["issuer"].value)


def asset_of(host: Host) -> Asset:
    """The asset of the contract that runs."""
    return asset_from_info(host.instance_value(ASSET_INFO_KEY))


def name_of(host: Host) -> Val:
    return fields(host.instance_value(METADATA_KEY))["name"]


def symbol_of(host: Host) -> Val:
    return fields(host.instance_value(METADATA_KEY))["symbol"]
