"""What the network charges and allows: the settings testnet voted in 2026."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROTOCOL_VERSION: Final = 28
BASE_FEE: Final = 100
"""Least inclusion fee per operation, stroops."""
BASE_RESERVE: Final = 5_000_000
"""Stroops that every account and every subentry of it must keep back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Soroban network settings. Fees in stroops, sizes in bytes, lifetimes in ledgers."""

    max_instructions: int = 400_000_000
    fee_per_10k_instructions: int = 7

    max_disk_read_entries: int = 200
    max_disk_read_bytes: int = 200_000
    max_write_entries: int = 200
    max_write_bytes: int = 132_096
    max_footprint_entries: int = 400
    fee_per_disk_read_entry: int = 1_563
    fee_per_write_entry: int = 2_500
    fee_per_disk_read_1kb: int = 447
    fee_per_write_1kb: int = 875

    fee_per_history_1kb: int = 4_059
    max_events_bytes: int = 16_384
    fee_per_events_1kb: int = 5_000
    max_transaction_bytes: int = 132_096
    fee_per_transaction_1kb: int = 406

    max_key_bytes: int = 250
    max_data_entry_bytes: int = 65_536
    max_wasm_bytes: int = 131_072

    max_entry_ttl: int = 3_110_400
    min_temporary_ttl: int = 720
    min_persistent_ttl: int = 120_960
    persistent_rent_denominator: int = 1_215
    temporary_rent_denominator: int = 2_430
    rent_fee_per_1kb: int = 1_000
    """The network's minimum, which holds as long as the ledger's state is small."""

    ledger_max_transactions: int = 2_000
    ledger_max_transaction_bytes: int = 266_240
    ledger_max_classic_operations: int = 1_000
