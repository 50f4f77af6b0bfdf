"""Which values the host takes: XDR can express some that no contract may be given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.wire.keys import value_order
from mpp_asgi.sandbox.wire.values import AddressKind, Kind, Val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.invocation import Host

_SYMBOL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def check_value(host: Host, value: Val) -> None:
    """Raise :class:`HostError` unless the value can be passed to a contract."""
    match value.kind:
        case Kind.SYMBOL:
            if not _SYMBOL_CHARACTERS.issuperset(value.value):
                raise HostError(ErrorType.VALUE, ErrorCode.INVALID_INPUT)
        case Kind.VEC:
            if value.value is None:
                raise _not_representable(host)
            for item in value.value:
                check_value(host, item)
        case Kind.MAP:
            _check_map(host, value)
        case Kind.ADDRESS:
            if value.value.kind > AddressKind.MUXED:
                raise _not_representable(host)
        case Kind.INSTANCE | Kind.LEDGER_KEY_INSTANCE | Kind.LEDGER_KEY_NONCE | Kind.EXECUTABLE_TAG:
            raise _not_representable(host)
        case _:
            return


def _check_map(host: Host, value: Val) -> None:
    if value.value is None:
        raise _not_representable(host)
    previous = None
    for key, item in value.value:
        check_value(host, key)
        check_value(host, item)
        order = value_order(key)
        if previous is not None and previous >= order:
            raise HostError(ErrorType.OBJECT, ErrorCode.INVALID_INPUT)
        previous = order


def _not_representable(host: Host) -> HostError:
    return host.error(
        ErrorType.VALUE,
        ErrorCode.UNEXPECTED_TYPE,
        "unexpected non-Val-representable ScVal type",
    )
