"""Contracts written in Python: how the host finds and calls their functions.

A native contract is a mapping of function names to :class:`Function`. The host checks the number
and the types of the arguments, then runs the function inside the contract's frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.wire.values import Address, AddressKind, Kind, Val, symbol_val

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mpp_asgi.sandbox.host.invocation import Host

    Contract = Mapping[str, "Function"]


class Parameter(Enum):
    """What a function takes in one place."""

    ANY = auto()
    """Any value, handed over as a :class:`Val`."""
    ADDRESS = auto()
    MUXED_ADDRESS = auto()
    """An address or a muxed account."""
    I128 = auto()
    U32 = auto()
    BOOL = auto()
    BYTES = auto()
    BYTES_32 = auto()
    BYTES_64 = auto()


_KINDS = {
    Parameter.I128: Kind.I128,
    Parameter.U32: Kind.U32,
    Parameter.BOOL: Kind.BOOL,
    Parameter.BYTES: Kind.BYTES,
    Parameter.BYTES_32: Kind.BYTES,
    Parameter.BYTES_64: Kind.BYTES,
}
_SIZES = {Parameter.BYTES_32: 32, Parameter.BYTES_64: 64}


@dataclass(frozen=True, slots=True)
class Function:
    parameters: tuple[Parameter, ...]
    run: Callable[..., Val]
    """Called with the host (what stands for a Wasm: with a guest's view of it) and one Python
    value per parameter.
    """
    names: tuple[str, ...] = ()
    """What the parameters are called, for those who read interfaces."""
    gives: Parameter | None = None
    """What it returns; ``None``: nothing."""
    fails: bool = False
    """Whether it returns errors of the contract's own instead."""

    @classmethod
    def of(
        cls,
        takes: Mapping[str, Parameter],
        run: Callable[..., Val],
        gives: Parameter | None = None,
        *,
        fails: bool = False,
    ) -> Function:
        """A function whose parameters have names."""
        return cls(tuple(takes.values()), run, tuple(takes), gives, fails)

    def call(self, host: Host, name: str, args: Sequence[Val]) -> Val:
        if len(args) != len(self.parameters):
            raise host.error(
                ErrorType.CONTEXT,
                ErrorCode.UNEXPECTED_SIZE,
                "wrong number of args to func",
                [symbol_val(name)],
            )
        values = [convert(p, arg) for p, arg in zip(self.parameters, args, strict=True)]
        return self.run(host, *values)


def call_native(host: Host, contract: Contract, name: str, args: Sequence[Val]) -> Val:
    function = contract.get(name)
    if function is None:
        raise host.error(
            ErrorType.VALUE,
            ErrorCode.INVALID_INPUT,
            "symbol not found in slice of strs",
            [symbol_val(name)],
        )
    return function.call(host, name, args)


def convert(parameter: Parameter, value: Val) -> Any:
    """The Python value of an argument; :class:`HostError` when it is of another type."""
    if parameter is Parameter.ANY:
        return value
    if parameter in {Parameter.ADDRESS, Parameter.MUXED_ADDRESS}:
        return _convert_address(parameter, value)
    size = _SIZES.get(parameter)
    if value.kind is not _KINDS[parameter] or (size is not None and len(value.value) != size):
        raise HostError(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE)
    return value.value


def _convert_address(parameter: Parameter, value: Val) -> Address:
    if value.kind is Kind.ADDRESS:
        address: Address = value.value
        if address.kind != AddressKind.MUXED or parameter is Parameter.MUXED_ADDRESS:
            return address
    raise HostError(ErrorType.VALUE, ErrorCode.UNEXPECTED_TYPE)
