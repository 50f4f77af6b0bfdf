"""Why a transaction may not be in the ledger."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.results import Code, OperationResult


class Stage(IntEnum):
    """How far a transaction got before it was refused; decides what applying it still does."""

    INVALID = 0
    SEQUENCE_USED = 1
    AUTHORIZED = 2


class RefusedError(Exception):
    """The transaction is not valid: its result code, and what its operations have to say."""

    def __init__(
        self,
        code: Code,
        *,
        stage: Stage = Stage.INVALID,
        operations: tuple[OperationResult, ...] = (),
        fee_needed: int | None = None,
    ) -> None:
        super().__init__(code.name)
        self.code = code
        self.stage = stage
        self.operations = operations
        self.fee_needed = fee_needed
        """The fee that would have been enough, where the network tells."""
