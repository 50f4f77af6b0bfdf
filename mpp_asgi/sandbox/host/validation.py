"""Which values the host takes: XDR can express some that no contract may be given."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.wire.keys import value_order
from mpp_asgi.sandbox.wire.values import AddressKind, Kind, Val, address_val, symbol_val, u32_val

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry, Delegate

_SYMBOL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_LEDGER_ONLY = frozenset({Kind.INSTANCE, Kind.LEDGER_KEY_INSTANCE, Kind.LEDGER_KEY_NONCE})

MAX_DEPTH = 100
"""How deep values may nest inside the host, and calls."""


def check_entry(host: Host, entry: AuthorizationEntry) -> None:
    """Raise :class:`HostError` unless the host can work with the authorization."""
    check_value(host, entry.signature)
    _check_delegates(host, entry.delegates)
    for function in entry.root.functions():
        check_value(host, symbol_val(function.name))
        for value in function.args:
            check_value(host, value)


def _check_delegates(host: Host, delegates: Sequence[Delegate], depth: int = 1) -> None:
    if depth > MAX_DEPTH:
        raise HostError(ErrorType.CONTEXT, ErrorCode.EXCEEDED_LIMIT)
    for first, second in pairwise(delegates):
        order = [value_order(address_val(delegate.address)) for delegate in (first, second)]
        if order[0] == order[1]:
            text = "delegated signers contain duplicate address"
            raise host.error(ErrorType.AUTH, ErrorCode.INVALID_INPUT, text)
        if order[0] > order[1]:
            text = "delegated signer addresses are not in sorted order"
            raise host.error(ErrorType.AUTH, ErrorCode.INVALID_INPUT, text)
    for delegate in delegates:
        check_value(host, address_val(delegate.address))
        check_value(host, delegate.signature)
        _check_delegates(host, delegate.delegates, depth + 1)


def check_value(host: Host, value: Val, depth: int = 1) -> None:
    """Raise :class:`HostError` unless the value can be passed to a contract."""
    if depth > MAX_DEPTH:
        raise HostError(ErrorType.CONTEXT, ErrorCode.EXCEEDED_LIMIT)
    match value.kind:
        case Kind.SYMBOL:
            if not _SYMBOL_CHARACTERS.issuperset(value.value):
                raise HostError(ErrorType.VALUE, ErrorCode.INVALID_INPUT)
        case Kind.VEC:
            _check_vec(host, value, depth)
        case Kind.MAP:
            _check_map(host, value, depth)
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


def _check_vec(host: Host, value: Val, depth: int) -> None:
    if value.value is None:
        raise _missing_body(host, "Vec")
    for item in value.value:
        check_value(host, item, depth + 1)


def _check_map(host: Host, value: Val, depth: int) -> None:
    if value.value is None:
        raise _missing_body(host, "Map")
    previous = None
    for key, item in value.value:
        check_value(host, key, depth + 1)
        check_value(host, item, depth + 1)
        order = value_order(key)
        if previous is not None and previous >= order:
            text = "ScMap was not sorted by key for conversion to host object"
            raise host.error(ErrorType.OBJECT, ErrorCode.INVALID_INPUT, text)
        previous = order


def _missing_body(host: Host, name: str) -> HostError:
    return host.error(ErrorType.VALUE, ErrorCode.INVALID_INPUT, f"ScVal::{name} body missing")
