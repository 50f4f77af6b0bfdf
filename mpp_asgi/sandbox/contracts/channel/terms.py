"""What a channel keeps in its instance: its terms, what was withdrawn, and when it closes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.values import i128_val, symbol_val, u32_val, vec_val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.guest import Guest
    from mpp_asgi.sandbox.wire.values import Address, Val

TOKEN = vec_val([symbol_val("Token")])
FUNDER = vec_val([symbol_val("From")])
RECIPIENT = vec_val([symbol_val("To")])
COMMITMENT_KEY = vec_val([symbol_val("CommitmentKey")])
WAITING_PERIOD = vec_val([symbol_val("RefundWaitingPeriod")])
WITHDRAWN = vec_val([symbol_val("WithdrawnAmount")])
CLOSES_AT = vec_val([symbol_val("CloseEffectiveAtLedger")])


def token(guest: Guest) -> Address:
    address: Address = stored(guest, TOKEN).value
    return address


def funder(guest: Guest) -> Address:
    address: Address = stored(guest, FUNDER).value
    return address


def recipient(guest: Guest) -> Address:
    address: Address = stored(guest, RECIPIENT).value
    return address


def withdrawn(guest: Guest) -> int:
    """What the recipient has had so far, base units."""
    value = guest.get(WITHDRAWN)
    return 0 if value is None else int(value.value)


def set_withdrawn(guest: Guest, amount: int) -> None:
    guest.put(WITHDRAWN, i128_val(amount))


def closes_at(guest: Guest) -> int | None:
    """The ledger from which on the channel is closed; ``None``: nobody has closed it."""
    value = guest.get(CLOSES_AT)
    return None if value is None else int(value.value)


def set_closes_at(guest: Guest, ledger: int) -> None:
    guest.put(CLOSES_AT, u32_val(ledger))


def stored(guest: Guest, key: Val) -> Val:
    """A value that a channel always has."""
    value = guest.get(key)
    if value is None:
        guest.trap()
    return value
