"""Ledger headers, transaction sets and the meta of a closed ledger."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.settings import BASE_FEE, BASE_RESERVE, PROTOCOL_VERSION
from mpp_asgi.sandbox.wire.stream import ONE, ZERO, array, i64, u32, u64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.sandbox.history import AppliedTransaction, ClosedLedger

TOTAL_COINS = 100_000_000_000 * 10**7
"""Stroops there are; no transaction makes or destroys any."""
_MAX_TX_SET_SIZE = 1_000
_NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One ledger's header."""

    sequence: int
    close_time: int
    previous_hash: bytes
    transaction_set_hash: bytes
    result_hash: bytes
    state_hash: bytes
    """In the place of the bucket list's hash: it changes when the ledger's entries do, but cannot
    be recomputed from them.
    """
    fee_pool: int

    @property
    def xdr(self) -> bytes:
        value = self.transaction_set_hash + u64(self.close_time) + ZERO + ZERO
        return b"".join(
            (
                u32(PROTOCOL_VERSION),
                self.previous_hash,
                value,
                self.result_hash,
                self.state_hash,
                u32(self.sequence),
                i64(TOTAL_COINS),
                i64(self.fee_pool),
                ZERO,
                u64(0),
                u32(BASE_FEE),
                u32(BASE_RESERVE),
                u32(_MAX_TX_SET_SIZE),
                _NO_HASH * 4,
                ZERO,
            )
        )


@dataclass(frozen=True, slots=True)
class Phase:
    """Half a transaction set: envelopes, and what each operation in them pays."""

    envelopes: Sequence[bytes] = ()
    base_fee: int = BASE_FEE

    @classmethod
    def kept(cls, ledger: ClosedLedger, *, soroban: bool) -> Phase:
        """That of a ledger in history."""
        found = [each for each in ledger.transactions if each.is_soroban is soroban]
        if not found:
            return cls()
        return cls([each.envelope for each in found], found[0].inclusion_fee)


def transaction_set(
    previous_hash: bytes,
    classic: Phase = Phase(),
    soroban: Phase = Phase(),
) -> bytes:
    """A ``GeneralizedTransactionSet``: the classic phase and the Soroban phase."""
    first, second = (sorted(each.envelopes, key=_full_hash) for each in (classic, soroban))
    components = [ZERO + ONE + i64(classic.base_fee) + array(first)] if first else []
    # One stage of one cluster: the sandbox applies one transaction after the other.
    stages = [array([array(second)])] if second else []
    parallel = (ONE + i64(soroban.base_fee) if second else ZERO) + array(stages)
    return ONE + previous_hash + array([ZERO + array(components), ONE + parallel])


def _full_hash(envelope: bytes) -> bytes:
    return sha256(envelope).digest()


def result_set_hash(pairs: Sequence[bytes]) -> bytes:
    """The hash of the ledger's ``TransactionResultSet``; each pair is hash and result."""
    return sha256(array(pairs)).digest()


def close_meta(ledger: ClosedLedger) -> bytes:
    """The ``LedgerCloseMeta`` (v2) of a closed ledger."""
    header = ledger.hash + ledger.header + ZERO
    classic, soroban = (Phase.kept(ledger, soroban=each) for each in (False, True))
    encoded_set = transaction_set(ledger.previous_hash, classic, soroban)
    processing = array(_processing(transaction) for transaction in ledger.transactions)
    tail = array(()) + array(()) + u64(0) + array(ledger.evicted)
    return u32(2) + ZERO + header + encoded_set + processing + tail


def _processing(transaction: AppliedTransaction) -> bytes:
    """As ``TransactionResultMetaV1``."""
    return b"".join(
        (
            ZERO,
            transaction.hash,
            transaction.result,
            array(transaction.fee_changes),
            transaction.meta,
            array(transaction.refund_changes),
        )
    )
