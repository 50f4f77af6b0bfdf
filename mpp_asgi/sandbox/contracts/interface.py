"""A contract's interface as Wasm modules carry it, for clients that read it off the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.native import Parameter
from mpp_asgi.sandbox.wire.stream import ZERO, array, opaque, u32

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import IntEnum

    from mpp_asgi.sandbox.host.native import Contract, Function

_FUNCTION = u32(0)
_ERROR_ENUM = u32(4)
_NO_DOC = ZERO
_VOID = u32(2)
_ERROR = u32(3)
_RESULT = u32(1001)
_BYTES_N = u32(1006)
_TYPES = {
    Parameter.ANY: u32(0),
    Parameter.BOOL: u32(1),
    Parameter.U32: u32(4),
    Parameter.I128: u32(11),
    Parameter.BYTES: u32(14),
    Parameter.ADDRESS: u32(19),
    Parameter.MUXED_ADDRESS: u32(20),
    Parameter.BYTES_32: _BYTES_N + u32(32),
    Parameter.BYTES_64: _BYTES_N + u32(64),
}


def environment_meta(protocol: int) -> bytes:
    """Which protocol a module was made for (``SCEnvMetaEntry``)."""
    return ZERO + u32(protocol) + ZERO


def interface(contract: Contract, errors: type[IntEnum] | None = None) -> bytes:
    """A contract's functions and errors, a sequence of ``SCSpecEntry`` values."""
    entries = [_function(name, function) for name, function in contract.items()]
    if errors is not None:
        entries.append(_error_enum({error.name: error.value for error in errors}))
    return b"".join(entries)


def _function(name: str, function: Function) -> bytes:
    named = zip(function.names, function.parameters, strict=True)
    takes = array(_NO_DOC + opaque(n.encode("ascii")) + _TYPES[p] for n, p in named)
    return _FUNCTION + _NO_DOC + opaque(name.encode("ascii")) + takes + array(_result(function))


def _result(function: Function) -> list[bytes]:
    if function.fails:
        return [_RESULT + _VOID + _ERROR]
    return [] if function.gives is None else [_TYPES[function.gives]]


def _error_enum(codes: Mapping[str, int]) -> bytes:
    cases = array(
        _NO_DOC + opaque(_camel_case(name).encode("ascii")) + u32(code)
        for name, code in codes.items()
    )
    library = ZERO
    return _ERROR_ENUM + _NO_DOC + library + opaque(b"Error") + cases


def _camel_case(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
