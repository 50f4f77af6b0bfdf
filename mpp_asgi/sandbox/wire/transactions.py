"""Transaction envelopes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.entries import SignerKey
from mpp_asgi.sandbox.wire.keys import LedgerKey
from mpp_asgi.sandbox.wire.operations import read_muxed_account, read_operation
from mpp_asgi.sandbox.wire.stream import ONE, ZERO, Reader, XdrError, array, i64, u32
from mpp_asgi.sandbox.wire.values import Address

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.operations import Operation

MAX_OPERATIONS = 100
MAX_SIGNATURES = 20


class EnvelopeKind(IntEnum):
    V0 = 0
    TRANSACTION = 2
    FEE_BUMP = 5


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature with the last four bytes of the key it claims to be made with."""

    hint: bytes
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Preconditions. Times in Unix seconds; 0 as upper bound means none."""

    min_time: int = 0
    max_time: int = 0
    min_ledger: int = 0
    max_ledger: int = 0
    min_sequence: int | None = None
    min_sequence_age: int = 0
    min_sequence_gap: int = 0
    extra_signers: tuple[SignerKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Footprint:
    """Which entries a Soroban transaction may read, and which it may also write."""

    read_only: tuple[LedgerKey, ...] = ()
    read_write: tuple[LedgerKey, ...] = ()

    @property
    def xdr(self) -> bytes:
        return array(key.xdr for key in self.read_only) + array(key.xdr for key in self.read_write)


@dataclass(frozen=True, slots=True, kw_only=True)
class SorobanData:
    """The resources a Soroban transaction declares, and what it pays for them at most."""

    footprint: Footprint
    instructions: int
    disk_read_bytes: int
    write_bytes: int
    resource_fee: int
    archived: tuple[int, ...] = ()
    """Which read-write entries are archived and to be restored."""

    @property
    def xdr(self) -> bytes:
        extension = ONE + array(u32(index) for index in self.archived) if self.archived else ZERO
        amounts = u32(self.instructions) + u32(self.disk_read_bytes) + u32(self.write_bytes)
        return extension + self.footprint.xdr + amounts + i64(self.resource_fee)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    source: Address
    fee: int
    sequence: int
    conditions: Conditions
    memo: int
    """The kind of memo, 0 for none."""
    memo_value: bytes
    operations: tuple[Operation, ...]
    soroban: SorobanData | None
    xdr: bytes

    @property
    def is_soroban(self) -> bool:
        return bool(self.operations) and self.operations[0].is_soroban


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeBump:
    source: Address
    fee: int
    xdr: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A transaction with its signatures, or a fee bump around one."""

    kind: EnvelopeKind
    transaction: Transaction
    """For a fee bump, the inner transaction."""
    signatures: tuple[Signature, ...]
    """For a fee bump, the inner transaction's signatures."""
    fee_bump: FeeBump | None = None
    outer_signatures: tuple[Signature, ...] = ()
    xdr: bytes
    inner_xdr: bytes
    """For a fee bump, the inner envelope; otherwise the same as ``xdr``."""

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Read an envelope; raises :class:`XdrError` when the bytes are not one."""
        reader = Reader(data)
        number = reader.u32()
        match number:
            case EnvelopeKind.TRANSACTION | EnvelopeKind.V0:
                kind = EnvelopeKind(number)
                transaction, signatures = _read_signed(reader, kind)
                reader.finish()
                return cls(
                    kind=kind,
                    transaction=transaction,
                    signatures=signatures,
                    xdr=data,
                    inner_xdr=data,
                )
            case EnvelopeKind.FEE_BUMP:
                envelope = _read_fee_bump(reader)
                reader.finish()
                return envelope
            case _:
                raise XdrError(f"unknown kind of envelope {number}")


def _read_fee_bump(reader: Reader) -> Envelope:
    start = reader.at
    source = read_muxed_account(reader)
    fee = reader.i64()
    inner_start = reader.at
    if reader.u32() != EnvelopeKind.TRANSACTION:
        raise XdrError("a fee bump wraps a transaction")
    transaction, signatures = _read_signed(reader, EnvelopeKind.TRANSACTION)
    inner_xdr = reader.since(inner_start)
    reader.extension()
    bump = FeeBump(source=source, fee=fee, xdr=reader.since(start))
    return Envelope(
        kind=EnvelopeKind.FEE_BUMP,
        transaction=transaction,
        signatures=signatures,
        fee_bump=bump,
        outer_signatures=_read_signatures(reader),
        xdr=reader.data,
        inner_xdr=inner_xdr,
    )


def _read_signed(reader: Reader, kind: EnvelopeKind) -> tuple[Transaction, tuple[Signature, ...]]:
    start = reader.at
    if kind is EnvelopeKind.V0:
        source, prefix = Address.account(reader.fixed(32)), ZERO
    else:
        source, prefix = read_muxed_account(reader), b""
    fee = reader.u32()
    sequence = reader.i64()
    conditions = _read_conditions(reader, kind)
    memo, memo_value = _read_memo(reader)
    operations = reader.array(lambda: read_operation(reader), MAX_OPERATIONS)
    soroban = _read_extension(reader, kind)
    transaction = Transaction(
        source=source,
        fee=fee,
        sequence=sequence,
        conditions=conditions,
        memo=memo,
        memo_value=memo_value,
        operations=operations,
        soroban=soroban,
        xdr=prefix + reader.since(start),
    )
    return transaction, _read_signatures(reader)


def _read_signatures(reader: Reader) -> tuple[Signature, ...]:
    return reader.array(lambda: Signature(reader.fixed(4), reader.opaque(64)), MAX_SIGNATURES)


def _read_conditions(reader: Reader, envelope: EnvelopeKind) -> Conditions:
    kind = reader.u32()
    if kind == 0:
        return Conditions()
    if kind == 1:
        return Conditions(min_time=reader.u64(), max_time=reader.u64())
    if kind != 2 or envelope is EnvelopeKind.V0:
        raise XdrError(f"unknown kind of precondition {kind}")
    times = reader.optional(lambda: (reader.u64(), reader.u64()))
    ledgers = reader.optional(lambda: (reader.u32(), reader.u32())) or (0, 0)
    min_sequence = reader.optional(reader.i64)
    age = reader.u64()
    gap = reader.u32()
    return Conditions(
        min_time=times[0] if times else 0,
        max_time=times[1] if times else 0,
        min_ledger=ledgers[0],
        max_ledger=ledgers[1],
        min_sequence=min_sequence,
        min_sequence_age=age,
        min_sequence_gap=gap,
        extra_signers=reader.array(lambda: SignerKey.read(reader), 2),
    )


def _read_memo(reader: Reader) -> tuple[int, bytes]:
    kind = reader.u32()
    match kind:
        case 0:
            return kind, b""
        case 1:
            return kind, reader.opaque(28)
        case 2:
            return kind, reader.fixed(8)
        case 3 | 4:
            return kind, reader.fixed(32)
        case _:
            raise XdrError(f"unknown kind of memo {kind}")


def _read_extension(reader: Reader, envelope: EnvelopeKind) -> SorobanData | None:
    kind = reader.u32()
    if kind == 0:
        return None
    if kind != 1 or envelope is EnvelopeKind.V0:
        raise XdrError("unknown extension")
    return read_soroban_data(reader)


def read_soroban_data(reader: Reader) -> SorobanData:
    extension = reader.u32()
    if extension > 1:
        raise XdrError("unknown extension")
    archived = reader.array(reader.u32) if extension else ()
    read_only = reader.array(lambda: LedgerKey.read(reader))
    read_write = reader.array(lambda: LedgerKey.read(reader))
    return SorobanData(
        footprint=Footprint(read_only, read_write),
        instructions=reader.u32(),
        disk_read_bytes=reader.u32(),
        write_bytes=reader.u32(),
        resource_fee=reader.i64(),
        archived=archived,
    )
