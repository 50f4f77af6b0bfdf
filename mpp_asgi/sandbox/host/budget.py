"""What an invocation costs in CPU instructions: an approximation.

The network meters its host instruction by instruction. The sandbox counts the few things that
dominate and weighs them so that the total is near what the network measures for the same call:
within a fifth for nine calls of ten, mostly within a tenth. ``make oracle`` compares the two.
"""

from __future__ import annotations

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError

BASE = 25_000
"""Setting the host up, decoding what it is given, encoding what it gives back."""
CALL = 46_000
WASM = 395_000
"""Making a Wasm ready to be called, and what a small one does itself."""
ENTRY = 21_000
"""Looking at one ledger entry, or writing one."""
EVENT = 6_000
AUTHORIZATION = 6_000
"""Matching one authorization."""
SIGNATURE = 460_000
"""Hashing a payload and verifying an ed25519 signature of it."""


class Budget:
    """Counts instructions up to a limit."""

    __slots__ = ("limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = BASE

    def charge(self, instructions: int) -> None:
        self.spent += instructions
        if self.spent > self.limit:
            raise HostError(ErrorType.BUDGET, ErrorCode.EXCEEDED_LIMIT)
