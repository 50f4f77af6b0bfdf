"""Allowances: what one address lets another spend for it, until a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.contracts.asset.errors import AssetError, failure
from mpp_asgi.sandbox.wire.keys import TEMPORARY
from mpp_asgi.sandbox.wire.values import (
    Address,
    Val,
    address_val,
    fields,
    i128_val,
    map_val,
    symbol_val,
    u32_val,
    vec_val,
)

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.invocation import Host


def read_allowance(host: Host, owner: Address, spender: Address) -> int:
    return _current(host, owner, spender)[0]


def _current(host: Host, owner: Address, spender: Address) -> tuple[int, int]:
    """The allowance and the last ledger it is good in."""
    value = host.contract_value(_key(owner, spender), TEMPORARY)
    if value is None:
        return 0, 0
    parts = fields(value)
    live_until = parts["live_until_ledger"].value
    return 0 if live_until < host.sequence else parts["amount"].value, live_until


def write_allowance(
    host: Host, owner: Address, spender: Address, amount: int, live_until: int
) -> None:
    if live_until > host.max_live_until:
        raise failure(
            host,
            AssetError.ALLOWANCE,
            "live_until is greater than max",
            [u32_val(live_until), u32_val(host.storage.max_entry_ttl)],
        )
    if amount > 0 and live_until < host.sequence:
        raise failure(
            host,
            AssetError.ALLOWANCE,
            "live_until must be >= ledger sequence",
            [u32_val(live_until), u32_val(host.sequence)],
        )
    key = _key(owner, spender)
    existing = host.contract_value(key, TEMPORARY)
    if existing is None and amount == 0:
        return
    previous = 0 if existing is None else fields(existing)["live_until_ledger"].value
    value = map_val({"amount": i128_val(amount), "live_until_ledger": u32_val(live_until)})
    host.put_contract_value(key, value, TEMPORARY)
    if amount > 0 and previous < live_until:
        live_for = live_until - host.sequence
        host.extend_contract_value(key, live_for, live_for, TEMPORARY)


def spend_allowance(host: Host, owner: Address, spender: Address, amount: int) -> None:
    allowance, live_until = _current(host, owner, spender)
    if allowance < amount:
        raise failure(
            host,
            AssetError.ALLOWANCE,
            "not enough allowance to spend",
            [i128_val(allowance), i128_val(amount)],
        )
    if amount > 0:
        write_allowance(host, owner, spender, allowance - amount, live_until)


def _key(owner: Address, spender: Address) -> Val:
    pair = map_val({"from": address_val(owner), "spender": address_val(spender)})
    return vec_val([symbol_val("Allowance"), pair])
