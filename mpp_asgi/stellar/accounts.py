"""What the ledger says of an account: whether it is there, what it holds, what it trusts.

Calls to read it with, for people's tools: nothing here takes part in a payment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from stellar_sdk import Asset, Keypair, StrKey, scval, xdr

from mpp_asgi.stellar.address import address_to_xdr
from mpp_asgi.stellar.inspection import XDR_ERRORS
from mpp_asgi.stellar.rpc import get_ledger_entries
from mpp_asgi.stellar.rpc_call import RpcCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mpp_asgi.stellar.rpc_call import Fields

T = TypeVar("T")

BASE_RESERVE: Final = 5_000_000
"""Stroops that stay locked for an account twice, and once for each thing it keeps."""

_AUTHORIZED: Final = 1
_ASSET_INFO: Final = scval.to_vec([scval.to_symbol("AssetInfo")])
_INSTANCE: Final = xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account of the ledger. Amounts are stroops."""

    balance: int
    spendable: int
    """The balance without what is locked as reserve or offered for sale."""
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trustline:
    """An account's leave to hold an asset. Amounts are base units."""

    balance: int
    limit: int
    authorized: bool
    """The asset's issuer lets the account hold and move it."""


def get_account(address: str) -> RpcCall[Account | None]:
    """The account ``G…``; ``None`` if there is none."""
    return _entry(_account_key(address), _account)


def get_accounts(addresses: Sequence[str]) -> RpcCall[Mapping[str, Account]]:
    """Those of the accounts (``G…``, at most 200) that exist, by address."""
    entries = get_ledger_entries([_account_key(address).to_xdr() for address in addresses])

    def parse(answer: Fields) -> Mapping[str, Account]:
        found = {}
        for each in entries.parse(answer).entries:
            try:
                entry = xdr.LedgerEntryData.from_xdr(each.xdr)
                account = _account(entry)
            except XDR_ERRORS:
                raise answer.senseless("entries") from None
            if entry.account is not None:
                found[_address_of(entry.account)] = account
        return found

    return RpcCall(entries.method, entries.params, parse)


def get_trustline(address: str, asset: Asset) -> RpcCall[Trustline | None]:
    """The trustline of account ``G…`` for an issued asset; ``None`` if there is none."""
    key = xdr.LedgerKey(
        xdr.LedgerEntryType.TRUSTLINE,
        trust_line=xdr.LedgerKeyTrustLine(
            Keypair.from_public_key(address).xdr_account_id(),
            asset.to_trust_line_asset_xdr_object(),
        ),
    )
    return _entry(key, _trustline)


def get_asset(token: str) -> RpcCall[Asset | None]:
    """The asset whose contract the token ``C…`` is; ``None`` if it is another contract, or none.

    Accounts need a trustline to hold an issued asset, and nothing to hold another contract's token.
    """
    key = xdr.LedgerKey(
        xdr.LedgerEntryType.CONTRACT_DATA,
        contract_data=xdr.LedgerKeyContractData(
            contract=address_to_xdr(token),
            key=_INSTANCE,
            durability=xdr.ContractDataDurability.PERSISTENT,
        ),
    )
    return _entry(key, _asset)


def _account_key(address: str) -> xdr.LedgerKey:
    return xdr.LedgerKey(
        xdr.LedgerEntryType.ACCOUNT,
        account=xdr.LedgerKeyAccount(Keypair.from_public_key(address).xdr_account_id()),
    )


def _address_of(account: xdr.AccountEntry) -> str:
    key = account.account_id.account_id.ed25519
    if key is None:
        raise ValueError("an account without a key")
    return StrKey.encode_ed25519_public_key(key.uint256)


def _entry(key: xdr.LedgerKey, read: Callable[[xdr.LedgerEntryData], T]) -> RpcCall[T | None]:
    entries = get_ledger_entries([key.to_xdr()])

    def parse(answer: Fields) -> T | None:
        found = entries.parse(answer).entries
        if not found:
            return None
        try:
            return read(xdr.LedgerEntryData.from_xdr(found[0].xdr))
        except (*XDR_ERRORS, KeyError):
            raise answer.senseless("entries") from None

    return RpcCall(entries.method, entries.params, parse)


def _account(entry: xdr.LedgerEntryData) -> Account:
    if entry.account is None:
        raise ValueError("not an account")
    account = entry.account
    kept = 2 + account.num_sub_entries.uint32
    selling = 0
    if account.ext.v1 is not None:
        selling = account.ext.v1.liabilities.selling.int64
        sponsorship = account.ext.v1.ext.v2
        if sponsorship is not None:
            kept += sponsorship.num_sponsoring.uint32 - sponsorship.num_sponsored.uint32
    balance = account.balance.int64
    return Account(
        balance=balance,
        spendable=max(balance - kept * BASE_RESERVE - selling, 0),
        sequence=account.seq_num.sequence_number.int64,
    )


def _trustline(entry: xdr.LedgerEntryData) -> Trustline:
    if entry.trust_line is None:
        raise ValueError("not a trustline")
    return Trustline(
        balance=entry.trust_line.balance.int64,
        limit=entry.trust_line.limit.int64,
        authorized=bool(entry.trust_line.flags.uint32 & _AUTHORIZED),
    )


def _asset(entry: xdr.LedgerEntryData) -> Asset | None:
    instance = entry.contract_data.val.instance if entry.contract_data is not None else None
    if instance is None:
        raise ValueError("not a contract's instance")
    kind = xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET
    if instance.executable.type != kind or instance.storage is None:
        return None
    for field in instance.storage.sc_map:
        if field.key == _ASSET_INFO:
            return _asset_info(field.val)
    return None


def _asset_info(value: xdr.SCVal) -> Asset:
    """``[Native]``, or ``[AlphaNum4, {asset_code, issuer}]``."""
    _, *issued = scval.from_vec(value)
    if not issued:
        return Asset.native()
    fields = {scval.from_symbol(each.key): each.val for each in _map(issued[0])}
    code = scval.from_string(fields["asset_code"]).rstrip(b"\0").decode("ascii")
    issuer = StrKey.encode_ed25519_public_key(scval.from_bytes(fields["issuer"]))
    return Asset(code, issuer)


def _map(value: xdr.SCVal) -> list[xdr.SCMapEntry]:
    if value.map is None:
        raise ValueError("not a map")
    return value.map.sc_map
