"""Contracts that stand for a Wasm: they fail as Wasms do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host import budget as cost
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.host.guest import Guest, UnreachableError
from mpp_asgi.sandbox.host.native import convert
from mpp_asgi.sandbox.wire.values import VOID, bytes_val, symbol_val

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.host.native import Contract, Function
    from mpp_asgi.sandbox.wire.values import Val

_MAX_ARGS = 32


def find_wasm(host: Host, wasm_hash: bytes) -> Contract:
    """What runs in place of a Wasm, which must be on the ledger and within the footprint."""
    host.load_code(wasm_hash)
    host.budget.charge(cost.WASM)
    functions = host.environment.contracts.by_wasm.get(wasm_hash)
    if functions is None:
        raise host.error(
            ErrorType.WASM_VM,
            ErrorCode.INVALID_ACTION,
            "the sandbox runs no Wasm and has no native contract of this hash",
            [bytes_val(wasm_hash)],
        )
    return functions


def call_wasm(
    host: Host, contract: Contract, name: str, args: Sequence[Val], *, optional: bool = False
) -> Val:
    """Call a function; one that is ``optional`` may be missing."""
    subject = [symbol_val(name)]
    function = contract.get(name)
    if function is None:
        if optional:
            return VOID
        text = "trying to invoke non-existent contract function"
        raise host.error(ErrorType.WASM_VM, ErrorCode.MISSING_VALUE, text, subject)
    if len(args) > _MAX_ARGS:
        text = "Too many arguments in Wasm invocation"
        raise host.error(ErrorType.WASM_VM, ErrorCode.INVALID_INPUT, text, subject)
    if len(args) != len(function.parameters):
        text = "VM call failed: Func(MismatchingParameterLen)"
        raise host.error(ErrorType.WASM_VM, ErrorCode.UNEXPECTED_SIZE, text, subject)
    try:
        return _run(host, function, args)
    except UnreachableError:
        text = "VM call trapped: UnreachableCodeReached"
        raise host.error(ErrorType.WASM_VM, ErrorCode.INVALID_ACTION, text, subject) from None
    except HostError as problem:
        host.log("VM call trapped with HostError", [*subject, problem.value])
        raise


def _run(host: Host, function: Function, args: Sequence[Val]) -> Val:
    try:
        values = [convert(p, arg) for p, arg in zip(function.parameters, args, strict=True)]
    except HostError:
        # The Wasm itself looks at what it is given, and panics at what it cannot take.
        raise UnreachableError from None
    return function.run(Guest(host), *values)
