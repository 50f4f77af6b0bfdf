"""Balances: accounts hold in their account or trustline, contracts in the contract's storage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.contracts.asset.errors import AssetError, failure
from mpp_asgi.sandbox.contracts.asset.metadata import asset_of
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType
from mpp_asgi.sandbox.wire.entries import (
    AUTH_CLAWBACK_ENABLED,
    AUTH_REQUIRED,
    AUTH_REVOCABLE,
    AUTHORIZED,
    AUTHORIZED_TO_MAINTAIN_LIABILITIES,
    CLAWBACK_ENABLED,
    INT64_MAX,
    Account,
    Trustline,
    trustline_flags,
)
from mpp_asgi.sandbox.wire.keys import account_key, trustline_key
from mpp_asgi.sandbox.wire.values import (
    Address,
    AddressKind,
    Val,
    address_val,
    bool_val,
    fields,
    i64_val,
    i128_val,
    map_val,
    symbol_val,
    vec_val,
)

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.errors import HostError
    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.wire.assets import Asset

DAY_IN_LEDGERS = 17_280
_EXTEND_TO = 30 * DAY_IN_LEDGERS
_THRESHOLD = _EXTEND_TO - DAY_IN_LEDGERS
_INT128_MAX = 2**127 - 1
_MAX_SUBENTRIES = 1_000

_ACCOUNT = "account"
_TRUSTLINE = "account trustline"


def read_balance(host: Host, address: Address) -> int:
    if address.kind == AddressKind.CONTRACT:
        value = host.contract_value(_balance_key(address))
        if value is None:
            return 0
        host.extend_contract_value(_balance_key(address), _THRESHOLD, _EXTEND_TO)
        amount: int = fields(value)["amount"].value
        return amount
    asset = asset_of(host)
    if asset.is_native:
        return _account_balance(host, address)
    if asset.is_issuer(address):
        return INT64_MAX
    return _trustline_balance(host, address, asset)


def _account_balance(host: Host, address: Address) -> int:
    """What an account holds; nothing is told of one that holds less than its reserve."""
    account = _account(host, address)
    if account.balance < account.minimum_balance(host.environment.base_reserve):
        raise _impossible(host, "account has balance < minimum")
    return account.balance


def _trustline_balance(host: Host, address: Address, asset: Asset) -> int:
    line = _trustline(host, address, asset)
    if line.balance > line.limit:
        raise _impossible(host, "trustline has balance > maximum")
    return line.balance


def _impossible(host: Host, text: str) -> HostError:
    return host.error(ErrorType.STORAGE, ErrorCode.INTERNAL_ERROR, text)


def is_authorized(host: Host, address: Address) -> bool:
    asset = asset_of(host)
    if address.kind == AddressKind.CONTRACT:
        value = host.contract_value(_balance_key(address))
        if value is not None:
            return bool(fields(value)["authorized"].value)
        return not _issuer_has(host, asset, AUTH_REQUIRED)
    if asset.is_native or asset.is_issuer(address):
        return True
    return _trustline(host, address, asset).is_authorized


def receive(host: Host, address: Address, amount: int) -> None:
    _require_authorized(host, address)
    if address.kind != AddressKind.CONTRACT:
        if amount > INT64_MAX:
            raise failure(host, AssetError.OVERFLOW, "received amount is too large for an i64")
        _change_classic(host, address, amount)
        return
    value = host.contract_value(_balance_key(address))
    if value is None:
        balance = 0
        clawback = bool_val(_issuer_has(host, asset_of(host), AUTH_CLAWBACK_ENABLED))
        authorized = bool_val(True)
    else:
        parts = fields(value)
        balance, authorized, clawback = (
            parts["amount"].value,
            parts["authorized"],
            parts["clawback"],
        )
    if balance + amount > _INT128_MAX:
        raise failure(host, AssetError.OVERFLOW, "balance overflow in receive_balance")
    _write_balance(host, address, balance + amount, authorized, clawback)


def spend(host: Host, address: Address, amount: int) -> None:
    _require_authorized(host, address)
    spend_unchecked(host, address, amount)


def spend_unchecked(host: Host, address: Address, amount: int) -> None:
    """Spend even what is not authorized to be held, as a clawback does."""
    if address.kind != AddressKind.CONTRACT:
        if amount > INT64_MAX:
            raise failure(host, AssetError.OVERFLOW, "spent amount is too large for an i64")
        _change_classic(host, address, -amount)
        return
    value = host.contract_value(_balance_key(address))
    if value is None:
        if amount > 0:
            raise failure(
                host,
                AssetError.BALANCE,
                "zero balance is not sufficient to spend",
                [i128_val(amount)],
            )
        return
    parts = fields(value)
    balance = parts["amount"].value
    if balance < amount:
        raise failure(
            host,
            AssetError.BALANCE,
            "balance is not sufficient to spend",
            [value, i128_val(amount)],
        )
    _write_balance(host, address, balance - amount, parts["authorized"], parts["clawback"])


def set_authorized(host: Host, address: Address, authorize: bool) -> None:
    asset = asset_of(host)
    if not authorize and not _issuer_has(host, asset, AUTH_REVOCABLE):
        raise failure(
            host,
            AssetError.OPERATION_NOT_SUPPORTED,
            "issuer does not have AUTH_REVOCABLE set",
        )
    if address.kind != AddressKind.CONTRACT:
        _authorize_trustline(host, address, asset, authorize)
        return
    value = host.contract_value(_balance_key(address))
    if value is None:
        clawback = bool_val(_issuer_has(host, asset, AUTH_CLAWBACK_ENABLED))
        _write_balance(host, address, 0, bool_val(authorize), clawback)
    else:
        parts = fields(value)
        amount = parts["amount"].value
        _write_balance(host, address, amount, bool_val(authorize), parts["clawback"])


def _authorize_trustline(host: Host, address: Address, asset: Asset, authorize: bool) -> None:
    if asset.is_native:
        raise failure(host, AssetError.OPERATION_NOT_SUPPORTED, "expected trustline asset")
    if asset.is_issuer(address):
        raise failure(host, AssetError.OPERATION_NOT_SUPPORTED, "issuer doesn't have a trustline")
    line = _trustline(host, address, asset)
    if line.is_authorized == authorize:
        return
    kept = line.flags & ~(AUTHORIZED | AUTHORIZED_TO_MAINTAIN_LIABILITIES)
    flag = AUTHORIZED if authorize else AUTHORIZED_TO_MAINTAIN_LIABILITIES
    host.write(replace(line, flags=kept | flag), _TRUSTLINE, [address_val(address)])


def check_clawback(host: Host, address: Address) -> None:
    """Raise unless the issuer may take the asset back from the address."""
    if address.kind == AddressKind.CONTRACT:
        value = host.contract_value(_balance_key(address))
        if value is None:
            raise failure(host, AssetError.BALANCE, "no balance to clawback")
        if not fields(value)["clawback"].value:
            raise failure(host, AssetError.BALANCE, "balance isn't clawbackable")
        return
    asset = asset_of(host)
    if asset.is_native:
        raise failure(host, AssetError.OPERATION_NOT_SUPPORTED, "cannot clawback native asset")
    if asset.is_issuer(address):
        raise failure(host, AssetError.OPERATION_NOT_SUPPORTED, "cannot clawback from issuer")
    if not _trustline(host, address, asset).flags & CLAWBACK_ENABLED:
        raise failure(host, AssetError.BALANCE, "trustline isn't clawbackable")


def create_trustline(host: Host, address: Address) -> None:
    """Open an unlimited trustline unless there is one; the address must allow it."""
    if address.kind == AddressKind.CONTRACT:
        return
    asset = asset_of(host)
    if asset.is_native:
        raise failure(
            host,
            AssetError.OPERATION_NOT_SUPPORTED,
            "trust operation is not supported for native asset",
        )
    if asset.is_issuer(address):
        raise failure(
            host, AssetError.OPERATION_NOT_SUPPORTED, "cannot create trustline for issuer"
        )
    subject = [address_val(address)]
    key = trustline_key(address.key, asset)
    if host.find(key, Trustline, _TRUSTLINE, subject) is not None:
        return
    host.require_auth(address)
    issuer = host.load_account(Address.account(asset.issuer))
    account = _account(host, address)
    if account.subentries >= _MAX_SUBENTRIES:
        raise failure(
            host,
            AssetError.TOO_MANY_ACCOUNT_SUBENTRIES,
            "account has reached maximum number of sub-entries",
        )
    if account.available_balance(host.environment.base_reserve) < host.environment.base_reserve:
        raise failure(
            host,
            AssetError.INSUFFICIENT_ACCOUNT_RESERVE,
            "account has insufficient reserve for new trustline",
        )
    line = Trustline(public_key=address.key, asset=asset, flags=trustline_flags(issuer))
    host.write(line, _TRUSTLINE, subject)
    host.write(replace(account, subentries=account.subentries + 1), _ACCOUNT, subject)


def _require_authorized(host: Host, address: Address) -> None:
    if not is_authorized(host, address):
        raise failure(host, AssetError.BALANCE_DEAUTHORIZED, "balance is deauthorized")


def _change_classic(host: Host, address: Address, amount: int) -> None:
    asset = asset_of(host)
    if asset.is_native:
        _change_account(host, address, amount)
    elif not asset.is_issuer(address):
        _change_trustline(host, address, asset, amount)


def _change_account(host: Host, address: Address, amount: int) -> None:
    subject = [address_val(address)]
    account = host.find(account_key(address.key), Account, _ACCOUNT, subject)
    if account is None:
        account = _new_account(host, address, amount)
    else:
        minimum = account.minimum_balance(host.environment.base_reserve)
        _check_range(host, minimum, account.balance + amount, INT64_MAX)
        account = replace(account, balance=account.balance + amount)
    host.write(account, _ACCOUNT, subject)


def _new_account(host: Host, address: Address, amount: int) -> Account:
    """XLM sent to an account that does not exist yet creates it."""
    if amount <= 0:
        raise failure(
            host,
            AssetError.ACCOUNT_MISSING,
            "account entry is missing",
            [address_val(address)],
        )
    minimum = 2 * host.environment.base_reserve
    if amount < minimum:
        raise failure(
            host,
            AssetError.INSUFFICIENT_ACCOUNT_RESERVE,
            "transfer amount is below minimum balance for new account",
            [i64_val(amount), i64_val(minimum)],
        )
    return Account(public_key=address.key, balance=amount, sequence=host.sequence << 32)


def _change_trustline(host: Host, address: Address, asset: Asset, amount: int) -> None:
    line = _trustline(host, address, asset)
    _check_range(host, 0, line.balance + amount, line.limit)
    line = replace(line, balance=line.balance + amount)
    host.write(line, _TRUSTLINE, [address_val(address)])


def _check_range(host: Host, minimum: int, balance: int, maximum: int) -> None:
    if not -(2**63) <= balance <= INT64_MAX:
        raise failure(host, AssetError.BALANCE, "resulting balance overflow")
    if not minimum <= balance <= maximum:
        raise failure(
            host,
            AssetError.BALANCE,
            "resulting balance is not within the allowed range",
            [i64_val(minimum), i64_val(balance), i64_val(maximum)],
        )


def _account(host: Host, address: Address) -> Account:
    subject = [address_val(address)]
    account = host.find(account_key(address.key), Account, _ACCOUNT, subject)
    if account is None:
        raise failure(host, AssetError.ACCOUNT_MISSING, "account entry is missing", subject)
    return account


def _trustline(host: Host, address: Address, asset: Asset) -> Trustline:
    subject = [address_val(address)]
    line = host.find(trustline_key(address.key, asset), Trustline, _TRUSTLINE, subject)
    if line is None:
        text = "trustline entry is missing for account"
        raise failure(host, AssetError.TRUSTLINE_MISSING, text, subject)
    return line


def _issuer_has(host: Host, asset: Asset, flag: int) -> bool:
    if asset.is_native:
        return False
    return bool(host.load_account(Address.account(asset.issuer)).flags & flag)


def _balance_key(address: Address) -> Val:
    return vec_val([symbol_val("Balance"), address_val(address)])


def _write_balance(
    host: Host, address: Address, amount: int, authorized: Val, clawback: Val
) -> None:
    key = _balance_key(address)
    value = map_val({"amount": i128_val(amount), "authorized": authorized, "clawback": clawback})
    host.put_contract_value(key, value)
    host.extend_contract_value(key, _THRESHOLD, _EXTEND_TO)
