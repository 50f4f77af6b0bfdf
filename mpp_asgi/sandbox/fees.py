"""What a Soroban transaction costs: the network's fee formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.keys import has_ttl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.sandbox.settings import Settings
    from mpp_asgi.sandbox.wire.transactions import SorobanData

_RESULT_BYTES = 300
"""What a transaction's result adds to history, as the network estimates it."""
_TTL_ENTRY_BYTES = 48
_KB = 1024
_CODE_DISCOUNT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a transaction uses, or declares to use."""

    instructions: int
    disk_read_entries: int
    disk_read_bytes: int
    write_entries: int
    write_bytes: int
    transaction_bytes: int
    events_bytes: int = 0

    @classmethod
    def declared(cls, data: SorobanData, transaction_bytes: int) -> Resources:
        return cls(
            instructions=data.instructions,
            disk_read_entries=disk_read_entries(data),
            disk_read_bytes=data.disk_read_bytes,
            write_entries=len(data.footprint.read_write),
            write_bytes=data.write_bytes,
            transaction_bytes=transaction_bytes,
        )


@dataclass(frozen=True, slots=True)
class RentChange:
    """How one entry's size and lifetime change. 0 before: it is new."""

    persistent: bool
    is_code: bool
    old_bytes: int
    new_bytes: int
    old_live_until: int
    new_live_until: int


def disk_read_entries(data: SorobanData) -> int:
    """Classic entries are read from disk; contract entries only when they come back from the
    archive.
    """
    keys = (*data.footprint.read_only, *data.footprint.read_write)
    return sum(not has_ttl(key.xdr) for key in keys) + len(data.archived)


def resource_fee(resources: Resources, settings: Settings) -> tuple[int, int]:
    """Non-refundable and refundable fee (without rent), in stroops."""
    size = resources.transaction_bytes
    non_refundable = (
        _ceil(resources.instructions * settings.fee_per_10k_instructions, 10_000)
        + resources.disk_read_entries * settings.fee_per_disk_read_entry
        + resources.write_entries * settings.fee_per_write_entry
        + _ceil(resources.disk_read_bytes * settings.fee_per_disk_read_1kb, _KB)
        + _ceil(resources.write_bytes * settings.fee_per_write_1kb, _KB)
        + _ceil((size + _RESULT_BYTES) * settings.fee_per_history_1kb, _KB)
        + _ceil(size * settings.fee_per_transaction_1kb, _KB)
    )
    return non_refundable, _ceil(resources.events_bytes * settings.fee_per_events_1kb, _KB)


def rent_fee(changes: Iterable[RentChange], settings: Settings, sequence: int) -> int:
    """The fee for keeping entries alive and for letting them grow, in stroops."""
    fee = 0
    extended = 0
    for change in changes:
        fee += _rent(change, settings, sequence)
        extended += change.old_live_until < change.new_live_until
    fee += extended * settings.fee_per_write_entry
    return fee + _ceil(extended * _TTL_ENTRY_BYTES * settings.fee_per_write_1kb, _KB)


def _rent(change: RentChange, settings: Settings, sequence: int) -> int:
    is_new = change.old_bytes == 0 and change.old_live_until == 0
    paid_until = sequence - 1 if is_new else change.old_live_until
    fee = 0
    if change.new_live_until > paid_until:
        ledgers = change.new_live_until - paid_until
        fee += _rent_for(change.persistent, change.new_bytes, ledgers, settings)
    if not is_new and change.new_bytes >= change.old_bytes and change.old_live_until >= sequence:
        growth = change.new_bytes - change.old_bytes
        ledgers = change.old_live_until - sequence + 1
        fee += _rent_for(change.persistent, growth, ledgers, settings)
    return _ceil(fee, _CODE_DISCOUNT) if change.is_code else fee


def _rent_for(persistent: bool, size: int, ledgers: int, settings: Settings) -> int:
    rate = (
        settings.persistent_rent_denominator if persistent else settings.temporary_rent_denominator
    )
    return _ceil(size * settings.rent_fee_per_1kb * ledgers, _KB * rate)


def _ceil(amount: int, divisor: int) -> int:
    return -(-amount // divisor)
