"""Setting the scene: accounts, trustlines and balances, written straight into the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.contracts.asset.metadata import ASSET_INFO_KEY, asset_from_info
from mpp_asgi.sandbox.state import find, find_account, find_trustline, require_account
from mpp_asgi.sandbox.wire.entries import INT64_MAX, Account, ContractData, Trustline
from mpp_asgi.sandbox.wire.keys import PERSISTENT, contract_data_key
from mpp_asgi.sandbox.wire.values import (
    INSTANCE_KEY,
    Address,
    AddressKind,
    address_val,
    fields,
    symbol_val,
    vec_val,
)

if TYPE_CHECKING:
    from mpp_asgi.sandbox.ledger import Ledger
    from mpp_asgi.sandbox.wire.assets import Asset
    from mpp_asgi.sandbox.wire.entries import Entry

Amount = Decimal | int | str
_BASE_UNITS = 10**7


@dataclass(frozen=True, slots=True)
class Funds:
    """Gives out XLM of the bank and any issued asset, as applied operations would leave them."""

    ledger: Ledger
    bank: bytes
    """Public key of the account all XLM comes from."""

    def has_account(self, address: Address) -> bool:
        return find_account(self.ledger.state, address.key) is not None

    def give(self, address: Address, asset: Asset, *, xlm: int, units: int) -> None:
        """Add stroops and base units of ``asset`` to an account.

        Opens account and trustline where they are missing. Raises ``ValueError`` for what the
        ledger could not hold.
        """
        if address.key == self.bank:
            raise ValueError("the bank gives, and is given nothing")
        state = self.ledger.state
        bank = require_account(state, self.bank)
        account = find_account(state, address.key) or Account(
            public_key=address.key, balance=0, sequence=self.ledger.sequence << 32
        )
        entries: list[Entry] = []
        if not asset.is_issuer(address):
            line = find_trustline(state, address.key, asset)
            if line is None:
                line = Trustline(public_key=address.key, asset=asset)
                account = replace(account, subentries=account.subentries + 1)
            if line.balance + units > line.limit:
                raise ValueError(f"more {asset.symbol} than the trustline allows")
            entries.append(replace(line, balance=line.balance + units))
        balance = account.balance + xlm
        minimum = account.minimum_balance(self.ledger.network.base_reserve)
        if xlm > bank.balance or balance < minimum:
            raise ValueError(f"the account must hold at least {minimum} stroops, and not all XLM")
        self.ledger.write([replace(bank, balance=bank.balance - xlm)])
        self.ledger.write([replace(account, balance=balance), *entries])

    def balance(self, owner: Address, token: Address) -> int:
        """Base units of a token; 0 where there is no account, trustline or entry.

        Raises ``ValueError`` when ``token`` is no asset's contract on this ledger.
        """
        state = self.ledger.state
        asset = self._asset(token)
        if owner.kind == AddressKind.CONTRACT:
            name = vec_val([symbol_val("Balance"), address_val(owner)])
            data = find(state, contract_data_key(token, name, PERSISTENT), ContractData)
            return 0 if data is None else int(fields(data.value)["amount"].value)
        holding = (
            find_account(state, owner.key)
            if asset.is_native
            else find_trustline(state, owner.key, asset)
        )
        return 0 if holding is None else holding.balance

    def _asset(self, token: Address) -> Asset:
        key = contract_data_key(token, INSTANCE_KEY, PERSISTENT)
        data = find(self.ledger.state, key, ContractData)
        storage = dict(data.value.value.storage or ()) if data is not None else {}
        if ASSET_INFO_KEY not in storage:
            raise ValueError(f"{token} is no token of this network")
        return asset_from_info(storage[ASSET_INFO_KEY])


def base_units(amount: Amount) -> int:
    """Whole tokens with up to seven decimals as base units; ``ValueError`` for anything else."""
    if isinstance(amount, float):
        raise TypeError("an amount is a Decimal, an int or a string, never a float")
    try:
        scaled = Decimal(amount) * _BASE_UNITS
    except InvalidOperation:
        raise ValueError(f"{amount!r} is no amount") from None
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"{amount!r} is no amount with at most seven decimals")
    if not 0 <= scaled <= INT64_MAX:
        raise ValueError(f"{amount!r} is out of range")
    return int(scaled)
