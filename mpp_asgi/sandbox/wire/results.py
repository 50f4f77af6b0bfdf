"""Results of transactions and operations, and their XDR."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from mpp_asgi.sandbox.wire.stream import ZERO, array, i32, i64, u32


class Code(IntEnum):
    """``TransactionResultCode``."""

    FEE_BUMP_INNER_SUCCESS = 1
    SUCCESS = 0
    FAILED = -1
    TOO_EARLY = -2
    TOO_LATE = -3
    MISSING_OPERATION = -4
    BAD_SEQ = -5
    BAD_AUTH = -6
    INSUFFICIENT_BALANCE = -7
    NO_ACCOUNT = -8
    INSUFFICIENT_FEE = -9
    BAD_AUTH_EXTRA = -10
    INTERNAL_ERROR = -11
    NOT_SUPPORTED = -12
    FEE_BUMP_INNER_FAILED = -13
    BAD_SPONSORSHIP = -14
    BAD_MIN_SEQ_AGE_OR_GAP = -15
    MALFORMED = -16
    SOROBAN_INVALID = -17


class OperationCode(IntEnum):
    """``OperationResultCode``."""

    INNER = 0
    BAD_AUTH = -1
    NO_ACCOUNT = -2
    NOT_SUPPORTED = -3
    TOO_MANY_SUBENTRIES = -4
    EXCEEDED_WORK_LIMIT = -5
    TOO_MANY_SPONSORING = -6


@dataclass(frozen=True, slots=True)
class OperationResult:
    """How one operation ended; ``inner`` is the operation's own code when ``code`` is INNER."""

    code: OperationCode
    kind: int = 0
    inner: int = 0
    value: bytes = b""
    """What a successful result carries."""

    @property
    def succeeded(self) -> bool:
        return self.code is OperationCode.INNER and self.inner == 0

    @property
    def xdr(self) -> bytes:
        if self.code is not OperationCode.INNER:
            return i32(self.code)
        return ZERO + u32(self.kind) + i32(self.inner) + self.value


@dataclass(frozen=True, slots=True)
class Result:
    """How a transaction ended. For a fee bump, ``inner`` is the wrapped transaction's result."""

    fee_charged: int
    code: Code
    operations: tuple[OperationResult, ...] = ()
    inner_hash: bytes | None = None
    inner_fee_charged: int = 0
    """For a fee bump: what the inner result says was charged."""
    outer: Code | None = None
    """For a fee bump that fails by itself, before its inner transaction is looked at."""

    @property
    def succeeded(self) -> bool:
        return self.code is Code.SUCCESS and self.outer is None

    def charged(self, fee: int) -> Result:
        return replace(self, fee_charged=fee)

    def ended(self, code: Code, operations: tuple[OperationResult, ...] = ()) -> Result:
        """The same with the (inner) transaction's outcome."""
        return replace(self, code=code, operations=operations)

    def refused(self, code: Code) -> Result:
        """The same, failed as a fee bump."""
        return replace(self, outer=code)

    @property
    def xdr(self) -> bytes:
        """As ``TransactionResult``."""
        if self.outer is not None:
            return i64(self.fee_charged) + i32(self.outer) + ZERO
        if self.inner_hash is None:
            return i64(self.fee_charged) + self._body() + ZERO
        bump = Code.FEE_BUMP_INNER_SUCCESS if self.succeeded else Code.FEE_BUMP_INNER_FAILED
        inner = i64(self.inner_fee_charged) + self._body() + ZERO
        return i64(self.fee_charged) + i32(bump) + self.inner_hash + inner + ZERO

    def _body(self) -> bytes:
        if self.code in {Code.SUCCESS, Code.FAILED}:
            return i32(self.code) + array(operation.xdr for operation in self.operations)
        return i32(self.code)
