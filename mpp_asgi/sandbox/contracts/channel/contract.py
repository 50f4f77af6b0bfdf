"""The functions of the channel contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpp_asgi.sandbox.contracts.channel import terms
from mpp_asgi.sandbox.contracts.channel.commitment import commitment
from mpp_asgi.sandbox.contracts.channel.errors import ChannelError
from mpp_asgi.sandbox.host.errors import ErrorType
from mpp_asgi.sandbox.host.native import Function, Parameter
from mpp_asgi.sandbox.wire.values import (
    VOID,
    Kind,
    address_val,
    bytes_val,
    error_val,
    i128_val,
    map_val,
    symbol_val,
    u32_val,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.sandbox.host.guest import Guest
    from mpp_asgi.sandbox.wire.values import Address, Val

_I128_MAX = 2**127 - 1
_U32_MAX = 2**32 - 1


# Money coming in


def _constructor(  # noqa: PLR0917 - what the contract takes, in its order
    guest: Guest,
    token: Address,
    funder: Address,
    commitment_key: bytes,
    recipient: Address,
    amount: int,
    waiting_period: int,
) -> Val:
    _check_amount(guest, amount)
    guest.put(terms.TOKEN, address_val(token))
    guest.put(terms.FUNDER, address_val(funder))
    guest.put(terms.COMMITMENT_KEY, bytes_val(commitment_key))
    guest.put(terms.RECIPIENT, address_val(recipient))
    guest.put(terms.WAITING_PERIOD, u32_val(waiting_period))
    _top_up(guest, amount)
    _announce(
        guest,
        "open",
        {
            "amount": i128_val(amount),
            "commitment_key": bytes_val(commitment_key),
            "from": address_val(funder),
            "refund_waiting_period": u32_val(waiting_period),
            "to": address_val(recipient),
            "token": address_val(token),
        },
    )
    return VOID


def _top_up(guest: Guest, amount: int) -> Val:
    _check_amount(guest, amount)
    if amount > 0:
        funder = terms.funder(guest)
        guest.require_auth(funder)
        _transfer(guest, funder, guest.contract, amount)
    return VOID


# Money going out


def _settle(guest: Guest, amount: int, signature: bytes) -> Val:
    _check_amount(guest, amount)
    _pay_recipient(guest, amount, signature)
    return VOID


def _close(guest: Guest, amount: int, signature: bytes) -> Val:
    _check_amount(guest, amount)
    _pay_recipient(guest, amount, signature)
    if not _is_closed(guest):
        _close_at(guest, guest.sequence)
    _try_refund(guest)
    return VOID


def _close_once(guest: Guest, amount: int, signature: bytes) -> Val:
    """As the published build has it: not once the channel is closed."""
    _check_amount(guest, amount)
    if _is_closed(guest):
        return _failed(ChannelError.ALREADY_CLOSED)
    _pay_recipient(guest, amount, signature)
    _close_at(guest, guest.sequence)
    _try_refund(guest)
    return VOID


def _close_start(guest: Guest) -> Val:
    if _is_closed(guest):
        return _failed(ChannelError.ALREADY_CLOSED)
    guest.require_auth(terms.funder(guest))
    period = terms.stored(guest, terms.WAITING_PERIOD).value
    _close_at(guest, min(guest.sequence + period, _U32_MAX))
    return VOID


def _refund(guest: Guest) -> Val:
    closes_at = terms.closes_at(guest)
    if closes_at is None:
        return _failed(ChannelError.NOT_CLOSED)
    if guest.sequence < closes_at:
        return _failed(ChannelError.REFUND_WAITING_PERIOD_NOT_ELAPSED)
    funder = terms.funder(guest)
    guest.require_auth(funder)
    left = _token_balance(guest)
    if left > 0:
        _transfer(guest, guest.contract, funder, left)
        _announce_payment(guest, "refund", "from", funder, left)
    return VOID


def _pay_recipient(guest: Guest, amount: int, signature: bytes) -> None:
    """Pay what the commitment exceeds the withdrawn amount by, if anything."""
    recipient = terms.recipient(guest)
    guest.require_auth(recipient)
    key = terms.stored(guest, terms.COMMITMENT_KEY).value
    guest.verify(key, commitment(guest.network_id, guest.contract, amount), signature)
    payout = amount - terms.withdrawn(guest)
    if payout > 0:
        terms.set_withdrawn(guest, amount)
        _transfer(guest, guest.contract, recipient, payout)
        _announce_payment(guest, "withdraw", "to", recipient, payout)


def _try_refund(guest: Guest) -> None:
    """Give the funder what is left; where that is not possible, it stays for ``refund``."""
    funder = terms.funder(guest)
    left = _token_balance(guest)
    if left > 0:
        args = [address_val(guest.contract), address_val(funder), i128_val(left)]
        result = guest.try_call(terms.token(guest), "transfer", args)
        if result.kind is not Kind.ERROR:
            _announce_payment(guest, "refund", "from", funder, left)


def _is_closed(guest: Guest) -> bool:
    closes_at = terms.closes_at(guest)
    return closes_at is not None and guest.sequence >= closes_at


def _close_at(guest: Guest, ledger: int) -> None:
    terms.set_closes_at(guest, ledger)
    _announce(guest, "close", {"effective_at_ledger": u32_val(ledger)})


# Looking


def _token(guest: Guest) -> Val:
    return address_val(terms.token(guest))


def _from(guest: Guest) -> Val:
    return address_val(terms.funder(guest))


def _to(guest: Guest) -> Val:
    return address_val(terms.recipient(guest))


def _refund_waiting_period(guest: Guest) -> Val:
    return terms.stored(guest, terms.WAITING_PERIOD)


def _balance(guest: Guest) -> Val:
    return i128_val(_token_balance(guest))


def _deposited(guest: Guest) -> Val:
    total = _token_balance(guest) + terms.withdrawn(guest)
    if total > _I128_MAX:
        guest.trap()
    return i128_val(total)


def _withdrawn(guest: Guest) -> Val:
    return i128_val(terms.withdrawn(guest))


def _prepare_commitment(guest: Guest, amount: int) -> Val:
    _check_amount(guest, amount)
    return bytes_val(commitment(guest.network_id, guest.contract, amount))


# What all have in common


def _check_amount(guest: Guest, amount: int) -> None:
    if amount < 0:
        guest.fail(ChannelError.NEGATIVE_AMOUNT)


def _failed(error: ChannelError) -> Val:
    return error_val(ErrorType.CONTRACT, error)


def _transfer(guest: Guest, owner: Address, to: Address, amount: int) -> None:
    args = [address_val(owner), address_val(to), i128_val(amount)]
    if guest.call(terms.token(guest), "transfer", args).kind is not Kind.VOID:
        guest.trap()


def _token_balance(guest: Guest) -> int:
    value = guest.call(terms.token(guest), "balance", [address_val(guest.contract)])
    if value.kind is not Kind.I128:
        guest.trap()
    return int(value.value)


def _announce_payment(guest: Guest, name: str, role: str, who: Address, amount: int) -> None:
    _announce(guest, name, {"amount": i128_val(amount), role: address_val(who)})


def _announce(guest: Guest, name: str, data: Mapping[str, Val]) -> None:
    guest.emit([symbol_val(name)], map_val(data))


_ADDRESS = Parameter.ADDRESS
_AMOUNT = Parameter.I128
_TERMS = {
    "token": _ADDRESS,
    "from": _ADDRESS,
    "commitment_key": Parameter.BYTES_32,
    "to": _ADDRESS,
    "amount": _AMOUNT,
    "refund_waiting_period": Parameter.U32,
}
_COMMITMENT = {"amount": _AMOUNT, "sig": Parameter.BYTES_64}

FUNCTIONS: Final[Mapping[str, Function]] = {
    "__constructor": Function.of(_TERMS, _constructor),
    "balance": Function.of({}, _balance, _AMOUNT),
    "close": Function.of(_COMMITMENT, _close),
    "close_start": Function.of({}, _close_start, fails=True),
    "deposited": Function.of({}, _deposited, _AMOUNT),
    "from": Function.of({}, _from, _ADDRESS),
    "prepare_commitment": Function.of({"amount": _AMOUNT}, _prepare_commitment, Parameter.BYTES),
    "refund": Function.of({}, _refund, fails=True),
    "refund_waiting_period": Function.of({}, _refund_waiting_period, Parameter.U32),
    "settle": Function.of(_COMMITMENT, _settle),
    "to": Function.of({}, _to, _ADDRESS),
    "token": Function.of({}, _token, _ADDRESS),
    "top_up": Function.of({"amount": _AMOUNT}, _top_up),
    "withdrawn": Function.of({}, _withdrawn, _AMOUNT),
}
PUBLISHED_FUNCTIONS: Final[Mapping[str, Function]] = {
    **FUNCTIONS,
    "close": Function.of(_COMMITMENT, _close_once, fails=True),
}
