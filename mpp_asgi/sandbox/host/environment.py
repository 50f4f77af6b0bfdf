"""What surrounds an invocation: the ledger it runs in, and the contracts there are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mpp_asgi.sandbox.host.native import Contract


@dataclass(frozen=True, slots=True)
class Contracts:
    """The native contracts: the Stellar Asset Contract, and others by the hash of their Wasm."""

    asset: Contract
    by_wasm: Mapping[bytes, Contract]
    uploaded: Mapping[bytes, bytes] = field(default_factory=dict)
    """What is on the ledger from its first day on: by hash, the code to show for it."""

    def with_wasm(self, wasm_hash: bytes, contract: Contract, code: bytes = b"") -> Contracts:
        """These and another one, on the ledger from the first day on.

        Anything may stand for any hash: so can a contract that only looks like another.
        """
        return replace(
            self,
            by_wasm={**self.by_wasm, wasm_hash: contract},
            uploaded={**self.uploaded, wasm_hash: code},
        )


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
