"""Errors of the host (``SCError``)."""

from __future__ import annotations

from enum import IntEnum

from mpp_asgi.sandbox.wire.values import Val, error_val


class ErrorType(IntEnum):
    CONTRACT = 0
    WASM_VM = 1
    CONTEXT = 2
    STORAGE = 3
    OBJECT = 4
    CRYPTO = 5
    EVENTS = 6
    BUDGET = 7
    VALUE = 8
    AUTH = 9


class ErrorCode(IntEnum):
    ARITH_DOMAIN = 0
    INDEX_BOUNDS = 1
    INVALID_INPUT = 2
    MISSING_VALUE = 3
    EXISTING_VALUE = 4
    EXCEEDED_LIMIT = 5
    INVALID_ACTION = 6
    INTERNAL_ERROR = 7
    UNEXPECTED_TYPE = 8
    UNEXPECTED_SIZE = 9


_TYPE_NAMES = {
    ErrorType.CONTRACT: "Contract",
    ErrorType.WASM_VM: "WasmVm",
    ErrorType.CONTEXT: "Context",
    ErrorType.STORAGE: "Storage",
    ErrorType.OBJECT: "Object",
    ErrorType.CRYPTO: "Crypto",
    ErrorType.EVENTS: "Events",
    ErrorType.BUDGET: "Budget",
    ErrorType.VALUE: "Value",
    ErrorType.AUTH: "Auth",
}
_CODE_NAMES = {
    code: "".join(part.capitalize() for part in code.name.split("_")) for code in ErrorCode
}


def describe(error_type: int, code: int) -> str:
    """An error as the network writes it, like ``Error(Contract, #10)``."""
    name = _TYPE_NAMES[ErrorType(error_type)]
    if error_type == ErrorType.CONTRACT:
        return f"Error({name}, #{code})"
    return f"Error({name}, {_CODE_NAMES[ErrorCode(code)]})"


class HostError(Exception):
    """An invocation failed. Rolls back the frame it leaves."""

    def __init__(self, error_type: ErrorType, code: int) -> None:
        super().__init__(describe(error_type, code))
        self.type = error_type
        self.code = code
        self.log = ""
        """The events up to the failure, for people to read."""

    @property
    def value(self) -> Val:
        return error_val(self.type, self.code)

    @property
    def is_recoverable(self) -> bool:
        """Whether a calling contract may catch it. Broken preconditions of the whole transaction,
        such as a key outside the footprint, are not.
        """
        if self.type is ErrorType.CONTRACT:
            return True
        if self.code == ErrorCode.INTERNAL_ERROR:
            return False
        over_limit = self.code == ErrorCode.EXCEEDED_LIMIT
        return not (over_limit and self.type in {ErrorType.STORAGE, ErrorType.BUDGET})
