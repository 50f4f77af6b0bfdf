"""The functions of the Stellar Asset Contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpp_asgi.sandbox.contracts.asset import balances
from mpp_asgi.sandbox.contracts.asset.allowances import (
    read_allowance,
    spend_allowance,
    write_allowance,
)
from mpp_asgi.sandbox.contracts.asset.errors import AssetError, failure
from mpp_asgi.sandbox.contracts.asset.metadata import (
    ADMIN_KEY,
    ASSET_INFO_KEY,
    DECIMALS,
    asset_instance,
    asset_of,
    name_of,
    symbol_of,
)
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.host.native import Function, Parameter
from mpp_asgi.sandbox.wire.assets import Asset
from mpp_asgi.sandbox.wire.stream import Reader, XdrError
from mpp_asgi.sandbox.wire.values import (
    VOID,
    Address,
    Val,
    address_val,
    bool_val,
    i128_val,
    map_val,
    symbol_val,
    u32_val,
    u64_val,
    vec_val,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.sandbox.host.invocation import Host

_EXTEND_TO = 7 * balances.DAY_IN_LEDGERS
_THRESHOLD = _EXTEND_TO - balances.DAY_IN_LEDGERS


def _transfer(host: Host, owner: Address, to: Address, amount: int) -> Val:
    _check_amount(host, amount)
    host.require_auth(owner)
    _keep_alive(host)
    receiver = to.demuxed()
    balances.spend(host, owner, amount)
    balances.receive(host, receiver, amount)
    _announce_transfer(host, owner, receiver, amount, to.mux_id)
    return VOID


def _transfer_from(host: Host, spender: Address, owner: Address, to: Address, amount: int) -> Val:
    _check_amount(host, amount)
    host.require_auth(spender)
    _keep_alive(host)
    spend_allowance(host, owner, spender, amount)
    balances.spend(host, owner, amount)
    balances.receive(host, to, amount)
    _announce_transfer(host, owner, to, amount)
    return VOID


def _approve(host: Host, owner: Address, spender: Address, amount: int, live_until: int) -> Val:
    _check_amount(host, amount)
    host.require_auth(owner)
    _keep_alive(host)
    write_allowance(host, owner, spender, amount, live_until)
    _announce(
        host,
        "approve",
        [owner, spender],
        vec_val([i128_val(amount), u32_val(live_until)]),
    )
    return VOID


def _allowance(host: Host, owner: Address, spender: Address) -> Val:
    _keep_alive(host)
    return i128_val(read_allowance(host, owner, spender))


def _balance(host: Host, address: Address) -> Val:
    _keep_alive(host)
    return i128_val(balances.read_balance(host, address))


def _authorized(host: Host, address: Address) -> Val:
    _keep_alive(host)
    return bool_val(balances.is_authorized(host, address))


def _burn(host: Host, owner: Address, amount: int) -> Val:
    _check_amount(host, amount)
    _check_issued(host)
    _check_not_issuer(host, owner)
    host.require_auth(owner)
    _keep_alive(host)
    balances.spend(host, owner, amount)
    _announce(host, "burn", [owner], i128_val(amount))
    return VOID


def _burn_from(host: Host, spender: Address, owner: Address, amount: int) -> Val:
    _check_amount(host, amount)
    _check_issued(host)
    _check_not_issuer(host, owner)
    host.require_auth(spender)
    _keep_alive(host)
    spend_allowance(host, owner, spender, amount)
    balances.spend(host, owner, amount)
    _announce(host, "burn", [owner], i128_val(amount))
    return VOID


def _clawback(host: Host, owner: Address, amount: int) -> Val:
    _check_amount(host, amount)
    balances.check_clawback(host, owner)
    _check_not_issuer(host, owner)
    host.require_auth(_administrator(host))
    _keep_alive(host)
    balances.spend_unchecked(host, owner, amount)
    _announce(host, "clawback", [owner], i128_val(amount))
    return VOID


def _mint(host: Host, to: Address, amount: int) -> Val:
    _check_amount(host, amount)
    _check_not_issuer(host, to)
    host.require_auth(_administrator(host))
    _keep_alive(host)
    balances.receive(host, to, amount)
    _announce(host, "mint", [to], i128_val(amount))
    return VOID


def _set_authorized(host: Host, address: Address, authorize: bool) -> Val:
    host.require_auth(_administrator(host))
    _keep_alive(host)
    balances.set_authorized(host, address, authorize)
    _announce(host, "set_authorized", [address], bool_val(authorize))
    return VOID


def _set_admin(host: Host, administrator: Address) -> Val:
    current = _administrator(host)
    host.require_auth(current)
    _keep_alive(host)
    host.put_instance_value(ADMIN_KEY, address_val(administrator))
    _announce(host, "set_admin", [current], address_val(administrator))
    return VOID


def _admin(host: Host) -> Val:
    return address_val(_administrator(host))


def _decimals(_host: Host) -> Val:
    return u32_val(DECIMALS)


def _trust(host: Host, address: Address) -> Val:
    _keep_alive(host)
    balances.create_trustline(host, address)
    return VOID


def _init_asset(host: Host, encoded: bytes) -> Val:
    if host.has_instance_value(ASSET_INFO_KEY):
        raise failure(
            host,
            AssetError.ALREADY_INITIALIZED,
            "StellarAssetContract has been already initialized",
        )
    try:
        asset = Asset.read(Reader(encoded))
    except XdrError:
        raise HostError(ErrorType.VALUE, ErrorCode.INVALID_INPUT) from None
    _check_code(host, asset)
    if asset.contract(host.environment.network_id) != host.contract:
        raise host.error(ErrorType.CONTEXT, ErrorCode.INTERNAL_ERROR, "bad id for asset contract")
    for name, value in asset_instance(asset).storage or ():
        host.put_instance_value(name, value)
    return VOID


def _check_code(host: Host, asset: Asset) -> None:
    if asset.is_valid:
        return
    trimmed = asset.code.rstrip(b"\0")
    odd = next((byte for byte in trimmed if not chr(byte).isalnum() or byte > 0x7F), None)
    args = []
    if odd == 0:
        text = "asset code can't have 0 character in the middle"
    elif odd is not None:
        text, args = "asset code has invalid character", [u32_val(odd)]
    elif not trimmed:
        text = "asset code doesn't have non-0 characters"
    else:
        text = "asset codes with 4 characters or less should have `CreditAlphanum4` type"
    raise host.error(ErrorType.VALUE, ErrorCode.INVALID_INPUT, text, args)


def _check_amount(host: Host, amount: int) -> None:
    if amount < 0:
        raise failure(
            host,
            AssetError.NEGATIVE_AMOUNT,
            "negative amount is not allowed",
            [i128_val(amount)],
        )


def _check_issued(host: Host) -> None:
    if asset_of(host).is_native:
        raise failure(host, AssetError.OPERATION_NOT_SUPPORTED, "operation invalid on native asset")


def _check_not_issuer(host: Host, address: Address) -> None:
    if asset_of(host).is_issuer(address):
        raise failure(host, AssetError.OPERATION_NOT_SUPPORTED, "operation invalid on issuer")


def _administrator(host: Host) -> Address:
    address: Address = host.instance_value(ADMIN_KEY).value
    return address


def _keep_alive(host: Host) -> None:
    host.extend_instance(_THRESHOLD, _EXTEND_TO)


def _announce_transfer(
    host: Host, owner: Address, to: Address, amount: int, mux_id: int | None = None
) -> None:
    """A transfer out of the issuer is a mint, one into it is a burn."""
    asset = asset_of(host)
    if mux_id is None:
        data = i128_val(amount)
    else:
        data = map_val({"amount": i128_val(amount), "to_muxed_id": u64_val(mux_id)})
    if owner != to and asset.is_issuer(owner):
        _announce(host, "mint", [to], data)
    elif owner != to and asset.is_issuer(to):
        _announce(host, "burn", [owner], i128_val(amount))
    else:
        _announce(host, "transfer", [owner, to], data)


def _announce(host: Host, name: str, subjects: list[Address], data: Val) -> None:
    topics = [symbol_val(name), *(address_val(subject) for subject in subjects), name_of(host)]
    host.emit(topics, data)


_A = Parameter.ADDRESS
_M = Parameter.MUXED_ADDRESS
_I = Parameter.I128

FUNCTIONS: Final[Mapping[str, Function]] = {
    "admin": Function((), _admin),
    "allowance": Function((_A, _A), _allowance),
    "approve": Function((_A, _A, _I, Parameter.U32), _approve),
    "authorized": Function((_A,), _authorized),
    "balance": Function((_A,), _balance),
    "burn": Function((_A, _I), _burn),
    "burn_from": Function((_A, _A, _I), _burn_from),
    "clawback": Function((_A, _I), _clawback),
    "decimals": Function((), _decimals),
    "init_asset": Function((Parameter.BYTES,), _init_asset),
    "mint": Function((_A, _I), _mint),
    "name": Function((), name_of),
    "set_admin": Function((_A,), _set_admin),
    "set_authorized": Function((_A, Parameter.BOOL), _set_authorized),
    "symbol": Function((), symbol_of),
    "transfer": Function((_A, _M, _I), _transfer),
    "transfer_from": Function((_A, _A, _A, _I), _transfer_from),
    "trust": Function((_A,), _trust),
}
