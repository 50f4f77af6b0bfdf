"""What an invocation costs in CPU instructions: an approximation.

The network meters its host instruction by instruction. The sandbox counts the few things that
dominate and weighs them so that the total is near what the network measures for the same call.
"""

from __future__ import annotations

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError

BASE = 60_000
"""Setting up the host and decoding what it is given."""
CALL = 12_000
ENTRY = 9_000
"""Loading, decoding and writing back one ledger entry."""
EVENT = 6_000
SIGNATURE = 420_000
"""Verifying an ed25519 signature."""
AUTHORIZATION = 22_000
"""Matching one authorization and hashing its payload."""


class Budget:
    """Counts instructions up to a limit."""

    __slots__ = ("limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0

    def charge(self, instructions: int) -> None:
        self.spent += instructions
        if self.spent > self.limit:
            raise HostError(ErrorType.BUDGET, ErrorCode.EXCEEDED_LIMIT)
