"""Where a ledger stands: all that it is at a moment, apart from its clock and what waits in line.

Entries, transactions and headers are immutable, so that a standing is taken in the time that it
takes to copy a few tables of references.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.sandbox.header import Header
    from mpp_asgi.sandbox.history import History
    from mpp_asgi.sandbox.state import Stored


@dataclass(frozen=True, slots=True)
class Standing:
    """Nobody writes into it: whoever goes on from here makes copies."""

    header: Header
    entries: Mapping[bytes, Stored]
    history: History
