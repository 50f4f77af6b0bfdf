"""Diagnostics of the ledger itself, outside of any contract: why a transaction was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.events import Event, EventKind, joined, message
from mpp_asgi.sandbox.wire.values import error_val, symbol_val, u64_val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType
    from mpp_asgi.sandbox.wire.values import Val


class Diagnostics:
    """Collects ``DiagnosticEvent`` values, encoded."""

    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    def error(self, error_type: ErrorType, code: ErrorCode, text: str, *args: int | Val) -> None:
        values = [u64_val(arg) if isinstance(arg, int) else arg for arg in args]
        topics = (symbol_val("error"), error_val(error_type, code))
        event = Event(EventKind.DIAGNOSTIC, None, topics, joined(message(text, values)))
        self.encoded.append(event.diagnostic_xdr(succeeded=False))
