"""Which values the host takes: XDR can express some that no contract may be given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.wire.keys import value_order
from mpp_asgi.sandbox.wire.values import AddressKind, Kind, Val, u32_val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.invocation import Host

_SYMBOL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_LEDGER_ONLY = frozenset({Kind.INSTANCE, Kind.LEDGER_KEY_INSTANCE, Kind.LEDGER_KEY_NONCE})


def check_value(host: Host, value: Val) -> None:
    """Raise :class:`HostError` unless the value can be passed to a contract."""
    match value.kind:
        case Kind.SYMBOL:
            if not _SYMBOL_CHARACTERS.issuperset(value.value):
                raise HostError(ErrorType.VALUE, ErrorCode.INVALID_INPUT)
        case Kind.VEC:
            if value.value is None:
                raise _missing_body(host, "Vec")
            for item in value.value:
                check_value(host, item)
        case Kind.MAP:
            _check_map(host, value)
        case Kind.ADDRESS:
            if value.value.kind > AddressKind.MUXED:
                text = "encountered unsupported ScAddress type"
                raise host.error(ErrorType.OBJECT, ErrorCode.UNEXPECTED_TYPE, text)
        case kind if kind in _LEDGER_ONLY:
            text = "unexpected non-Val-representable ScVal type"
            args = [u32_val(kind)]
            raise host.error(ErrorType.VALUE, ErrorCode.INTERNAL_ERROR, text, args)
        case _:
            return


def _check_map(host: Host, value: Val) -> None:
    if value.value is None:
        raise _missing_body(host, "Map")
    previous = None
    for key, item in value.value:
        check_value(host, key)
        check_value(host, item)
        order = value_order(key)
        if previous is not None and previous >= order:
            text = "ScMap was not sorted by key for conversion to host object"
            raise host.error(ErrorType.OBJECT, ErrorCode.INVALID_INPUT, text)
        previous = order


def _missing_body(host: Host, name: str) -> HostError:
    return host.error(ErrorType.VALUE, ErrorCode.INVALID_INPUT, f"ScVal::{name} body missing")
