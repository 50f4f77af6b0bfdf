"""The functions of the channel factory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpp_asgi.sandbox.host.native import Function, Parameter
from mpp_asgi.sandbox.wire.values import (
    VOID,
    Executable,
    Instance,
    address_val,
    bytes_val,
    i128_val,
    symbol_val,
    u32_val,
    vec_val,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.sandbox.host.guest import Guest
    from mpp_asgi.sandbox.wire.values import Address, Val

_ADMIN = vec_val([symbol_val("Admin")])
_WASM_HASH = vec_val([symbol_val("WasmHash")])


def factory_instance(executable: Executable, admin: Address, wasm_hash: bytes) -> Instance:
    """An instance of the factory, as its constructor leaves it."""
    storage = ((_ADMIN, address_val(admin)), (_WASM_HASH, bytes_val(wasm_hash)))
    return Instance(executable, storage)


def _constructor(guest: Guest, admin: Address, wasm_hash: bytes) -> Val:
    guest.put(_ADMIN, address_val(admin))
    guest.put(_WASM_HASH, bytes_val(wasm_hash))
    return VOID


def _admin(guest: Guest) -> Val:
    return _stored(guest, _ADMIN)


def _wasm_hash(guest: Guest) -> Val:
    return _stored(guest, _WASM_HASH)


def _set_wasm(guest: Guest, wasm_hash: bytes) -> Val:
    guest.require_auth(_stored(guest, _ADMIN).value)
    guest.put(_WASM_HASH, bytes_val(wasm_hash))
    return VOID


def _open(  # noqa: PLR0917 - what the contract takes, in its order
    guest: Guest,
    salt: bytes,
    token: Address,
    funder: Address,
    commitment_key: bytes,
    recipient: Address,
    amount: int,
    waiting_period: int,
) -> Val:
    if amount > 0:
        # The funder allows the opening from its root, so that no call below is one on its own.
        guest.require_auth(funder)
    args = [
        address_val(token),
        address_val(funder),
        bytes_val(commitment_key),
        address_val(recipient),
        i128_val(amount),
        u32_val(waiting_period),
    ]
    return address_val(guest.deploy(_stored(guest, _WASM_HASH).value, salt, args))


def _stored(guest: Guest, key: Val) -> Val:
    value = guest.get(key)
    if value is None:
        guest.trap()
    return value


_ADDRESS = Parameter.ADDRESS
_HASH = {"wasm_hash": Parameter.BYTES_32}
_OPENING = {
    "salt": Parameter.BYTES_32,
    "token": _ADDRESS,
    "from": _ADDRESS,
    "commitment_key": Parameter.BYTES_32,
    "to": _ADDRESS,
    "amount": Parameter.I128,
    "refund_waiting_period": Parameter.U32,
}

FUNCTIONS: Final[Mapping[str, Function]] = {
    "__constructor": Function.of({"admin": _ADDRESS, **_HASH}, _constructor),
    "admin": Function.of({}, _admin, _ADDRESS),
    "open": Function.of(_OPENING, _open, _ADDRESS),
    "set_wasm": Function.of(_HASH, _set_wasm),
    "wasm_hash": Function.of({}, _wasm_hash, Parameter.BYTES_32),
}
