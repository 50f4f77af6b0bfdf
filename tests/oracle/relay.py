"""What ``relay/src/lib.rs`` says in Rust, said in Python; in the sandbox it stands for the Wasm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpp_asgi.sandbox.host.native import Function, Parameter
from mpp_asgi.sandbox.wire.authorization import AuthorizedFunction, Invocation
from mpp_asgi.sandbox.wire.values import (
    VOID,
    Kind,
    address_val,
    bool_val,
    error_val,
    i128_val,
    symbol_val,
    u32_val,
    vec_val,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.sandbox.host.guest import Guest
    from mpp_asgi.sandbox.wire.values import Address, Val

_COUNT = vec_val([symbol_val("Count")])
_CHANGED_MIND = 2
_NOT_BY_ME = 3


def _count(guest: Guest) -> Val:
    return guest.get(_COUNT) or u32_val(0)


def _add_one(guest: Guest) -> None:
    guest.put(_COUNT, u32_val(_count(guest).value + 1))


def _transfer(guest: Guest, token: Address, owner: Address, to: Address, amount: int) -> None:
    _call(guest, token, "transfer", [address_val(owner), address_val(to), i128_val(amount)])


def _call(guest: Guest, contract: Address, name: str, args: list[Val]) -> None:
    if guest.call(contract, name, args).kind is not Kind.VOID:
        guest.trap()


def _payment(owner: Address, token: Address, to: Address, amount: int) -> list[Val]:
    return [address_val(owner), address_val(token), address_val(to), i128_val(amount)]


def _pay_for(guest: Guest, owner: Address, token: Address, to: Address, amount: int) -> Val:
    guest.require_auth(owner)
    _add_one(guest)
    _transfer(guest, token, owner, to, amount)
    guest.emit([symbol_val("paid")], i128_val(amount))
    return VOID


def _pay_twice(guest: Guest, owner: Address, token: Address, to: Address, amount: int) -> Val:
    guest.require_auth(owner)
    _transfer(guest, token, owner, to, amount)
    _transfer(guest, token, owner, to, amount)
    return VOID


def _pass_on(
    guest: Guest, other: Address, owner: Address, token: Address, to: Address, amount: int
) -> Val:
    _call(guest, other, "pay_for", _payment(owner, token, to, amount))
    return VOID


def _pay_out(guest: Guest, token: Address, to: Address, amount: int) -> Val:
    _transfer(guest, token, guest.contract, to, amount)
    return VOID


def _have_it_paid(
    guest: Guest, other: Address, token: Address, to: Address, amount: int, allowed: bool
) -> Val:
    me = guest.contract
    if allowed:
        args = (address_val(me), address_val(to), i128_val(amount))
        guest.allow_own([Invocation.of(AuthorizedFunction.call(token, "transfer", args))])
    _call(guest, other, "pay_for", _payment(me, token, to, amount))
    return VOID


def _fail(guest: Guest, owner: Address, token: Address, to: Address, amount: int) -> Val:
    _pay_for(guest, owner, token, to, amount)
    guest.fail(_CHANGED_MIND)


def _attempt(
    guest: Guest,
    other: Address,
    name: Val,
    owner: Address,
    token: Address,
    to: Address,
    amount: int,
) -> Val:
    if name.kind is not Kind.SYMBOL:
        guest.trap()
    _add_one(guest)
    result = guest.try_call(other, name.value, _payment(owner, token, to, amount))
    well = bool_val(result.kind is not Kind.ERROR)
    guest.emit([symbol_val("tried")], well)
    return well


def _try_then_pay(
    guest: Guest, other: Address, owner: Address, token: Address, to: Address, amount: int
) -> Val:
    args = _payment(owner, token, to, amount)
    guest.try_call(other, "fail", args)
    _call(guest, other, "pay_for", args)
    return VOID


def _call_back(guest: Guest, other: Address) -> Val:
    _call(guest, other, "calls", [address_val(guest.contract)])
    return VOID


def _calls(guest: Guest, other: Address) -> Val:
    if guest.call(other, "count", []).kind is not Kind.U32:
        guest.trap()
    return VOID


def _check_auth(guest: Guest, payload: bytes, signature: int, contexts: Val) -> Val:
    del guest, payload
    if contexts.kind is Kind.VEC and signature == len(contexts.value):
        return VOID
    return error_val(0, _NOT_BY_ME)


_A = Parameter.ADDRESS
_I = Parameter.I128
_PAYMENT = (_A, _A, _A, _I)

FUNCTIONS: Final[Mapping[str, Function]] = {
    "__check_auth": Function((Parameter.BYTES_32, Parameter.U32, Parameter.ANY), _check_auth),
    "attempt": Function((_A, Parameter.ANY, *_PAYMENT), _attempt),
    "call_back": Function((_A,), _call_back),
    "calls": Function((_A,), _calls),
    "count": Function((), _count),
    "fail": Function(_PAYMENT, _fail),
    "have_it_paid": Function((_A, _A, _A, _I, Parameter.BOOL), _have_it_paid),
    "pass_on": Function((_A, *_PAYMENT), _pass_on),
    "pay_for": Function(_PAYMENT, _pay_for),
    "pay_out": Function((_A, _A, _I), _pay_out),
    "pay_twice": Function(_PAYMENT, _pay_twice),
    "try_then_pay": Function((_A, *_PAYMENT), _try_then_pay),
}
