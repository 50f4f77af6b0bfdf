"""What holds for a whole ledger: its network, its settings, and the moment it closes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.settings import BASE_FEE, BASE_RESERVE, Settings

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.environment import Contracts
    from mpp_asgi.sandbox.signatures import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network: what its ledgers have in common."""

    network_id: bytes
    settings: Settings
    contracts: Contracts
    verifier: Verifier
    base_fee: int = BASE_FEE
    base_reserve: int = BASE_RESERVE


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is judged: the ledger sequence and a close time in Unix seconds."""

    sequence: int
    close_time: int
    latest: int = 0
    """How much later than ``close_time`` it may take effect; transactions that would be too late
    by then are refused already.
    """
