"""A transaction as the ledger handles it: its envelope, with the hashes the network gives it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.stream import u32
from mpp_asgi.sandbox.wire.transactions import Envelope, EnvelopeKind

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.transactions import SorobanData, Transaction

_TRANSACTION = u32(EnvelopeKind.TRANSACTION)
_FEE_BUMP = u32(EnvelopeKind.FEE_BUMP)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """An envelope on one network."""

    envelope: Envelope
    inner_hash: bytes
    """What the transaction's own signatures sign."""
    hash: bytes
    """How clients know it: for a fee bump the hash of the bump."""
    full_hash: bytes
    """Of the envelope with its signatures: how the queue tells envelopes apart."""
    inner_full_hash: bytes

    @classmethod
    def of(cls, envelope: Envelope, network_id: bytes) -> Frame:
        inner = sha256(network_id + _TRANSACTION + envelope.transaction.xdr).digest()
        bump = envelope.fee_bump
        if bump is None:
            full = sha256(envelope.xdr).digest()
            return cls(envelope, inner, inner, full, full)
        outer = sha256(network_id + _FEE_BUMP + bump.xdr).digest()
        full = sha256(envelope.xdr).digest()
        return cls(envelope, inner, outer, full, sha256(envelope.inner_xdr).digest())

    @property
    def transaction(self) -> Transaction:
        return self.envelope.transaction

    @property
    def is_fee_bump(self) -> bool:
        return self.envelope.fee_bump is not None

    @property
    def is_soroban(self) -> bool:
        return self.envelope.transaction.is_soroban

    @property
    def soroban(self) -> SorobanData | None:
        return self.envelope.transaction.soroban

    @property
    def source(self) -> bytes:
        """Public key of the account whose sequence number is used."""
        return self.envelope.transaction.source.key

    @property
    def fee_source(self) -> bytes:
        """Public key of the account that pays."""
        bump = self.envelope.fee_bump
        return self.source if bump is None else bump.source.key

    @property
    def sequence(self) -> int:
        return self.envelope.transaction.sequence

    @property
    def size(self) -> int:
        return len(self.envelope.xdr)

    @property
    def inner_size(self) -> int:
        """The size resource fees are computed from."""
        return len(self.envelope.inner_xdr)

    @property
    def full_fee(self) -> int:
        bump = self.envelope.fee_bump
        return self.envelope.transaction.fee if bump is None else bump.fee

    @property
    def resource_fee(self) -> int:
        """The declared resource fee; 0 for classic transactions."""
        data = self.envelope.transaction.soroban
        return data.resource_fee if data is not None and self.is_soroban else 0

    @property
    def inclusion_fee(self) -> int:
        return self.full_fee - self.resource_fee

    @property
    def inner_inclusion_fee(self) -> int:
        return self.envelope.transaction.fee - self.resource_fee

    @property
    def operation_count(self) -> int:
        """What the inclusion fee is paid for: a fee bump counts as one more."""
        return self.inner_operation_count + self.is_fee_bump

    @property
    def inner_operation_count(self) -> int:
        return len(self.envelope.transaction.operations)

    def fee_at(self, base_fee: int) -> int:
        """What is charged up front at the given fee per operation."""
        return self.resource_fee + min(self.inclusion_fee, base_fee * max(1, self.operation_count))

    def minimum_fee(self, base_fee: int) -> int:
        """What validation reports as the fee."""
        return self.resource_fee + base_fee * max(1, self.operation_count)
