"""What surrounds an invocation: the ledger it runs in, and the contracts there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mpp_asgi.sandbox.host.native import Contract


@dataclass(frozen=True, slots=True)
class Contracts:
    """The native contracts: the Stellar Asset Contract, and others by the hash of their Wasm."""

    asset: Contract
    by_wasm: Mapping[bytes, Contract]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What an invocation may know of the ledger it runs in."""

    sequence: int
    close_time: int
    network_id: bytes
    base_reserve: int
    contracts: Contracts
    verify: Callable[[bytes, bytes, bytes], bool]
    """Checks ed25519 signatures: public key, message, signature."""
