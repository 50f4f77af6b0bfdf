"""Which values the host takes: XDR can express some that no contract may be given."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.wire.keys import value_order
from mpp_asgi.sandbox.wire.values import AddressKind, Kind, Val, address_val, u32_val

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.wire.authorization import AuthorizationEntry, Delegate

_SYMBOL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_LEDGER_ONLY = frozenset({Kind.INSTANCE, Kind.LEDGER_KEY_INSTANCE, Kind.LEDGER_KEY_NONCE})
_SMALL_SYMBOL = 9
"""Symbols up to this long are kept otherwise, and complained of with fewer words."""
_CONTAINERS = frozenset({Kind.VEC, Kind.MAP})

MAX_DEPTH = 100
"""How deep values may nest inside the host, and calls."""


def check_name(host: Host, name: str) -> None:
    """Raise :class:`HostError` unless a function can have the name."""
    for character in name:
        if character not in _SYMBOL_CHARACTERS:
            text = "byte is not allowed in Symbol"
            args = [u32_val(ord(character))]
            raise host.error(ErrorType.VALUE, ErrorCode.INVALID_INPUT, text, args)


def check_entry(host: Host, entry: AuthorizationEntry) -> None:
    """Raise :class:`HostError` unless the host can work with the authorization."""
    check_value(host, entry.signature)
    _check_delegates(host, entry.delegates)
    for function in entry.root.functions():
        if function.contract is None:
            continue  # Creations are only ever compared, as they are written.
        check_name(host, function.name)
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
    try:
        _check(host, value, depth)
    except HostError as problem:
        # Every level of a nested value says so once more.
        text = "failed to convert ScVal to host value"
        raise host.error(problem.type, problem.code, text) from None


def _check(host: Host, value: Val, depth: int) -> None:
    if value.kind in _LEDGER_ONLY or (value.kind in _CONTAINERS and value.value is None):
        raise HostError(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE)
    match value.kind:
        case Kind.SYMBOL:
            _check_symbol(host, value.value)
        case Kind.VEC:
            for item in value.value:
                check_value(host, item, depth + 1)
        case Kind.MAP:
            _check_map(host, value, depth)
        case Kind.ADDRESS:
            if value.value.kind > AddressKind.MUXED:
                text = "encountered unsupported ScAddress type"
                raise host.error(ErrorType.OBJECT, ErrorCode.UNEXPECTED_TYPE, text)
        case _:
            return


def _check_symbol(host: Host, symbol: str) -> None:
    if len(symbol) > _SMALL_SYMBOL:
        check_name(host, symbol)
    elif not _SYMBOL_CHARACTERS.issuperset(symbol):
        raise HostError(ErrorType.VALUE, ErrorCode.INVALID_INPUT)


def _check_map(host: Host, value: Val, depth: int) -> None:
    for key, item in value.value:
        check_value(host, key, depth + 1)
        check_value(host, item, depth + 1)
    keys = [value_order(key) for key, _ in value.value]
    if any(first >= second for first, second in pairwise(keys)):
        text = "ScMap was not sorted by key for conversion to host object"
        raise host.error(ErrorType.OBJECT, ErrorCode.INVALID_INPUT, text)
