"""Whether declared resources stay within what the network allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.fees import disk_read_entries
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType
from mpp_asgi.sandbox.wire.keys import PERSISTENT, EntryKind

if TYPE_CHECKING:
    from mpp_asgi.sandbox.diagnostics import Diagnostics
    from mpp_asgi.sandbox.settings import Settings
    from mpp_asgi.sandbox.wire.keys import LedgerKey
    from mpp_asgi.sandbox.wire.transactions import SorobanData

_ALLOWED = frozenset(
    {
        EntryKind.ACCOUNT,
        EntryKind.TRUSTLINE,
        EntryKind.CONTRACT_DATA,
        EntryKind.CONTRACT_CODE,
    }
)


def check_resources(
    data: SorobanData, transaction_bytes: int, settings: Settings, diagnostics: Diagnostics
) -> bool:
    """Whether the network would take these resources; says in ``diagnostics`` why not."""
    footprint = data.footprint
    entries = len(footprint.read_only) + len(footprint.read_write)
    limits = (
        (
            ErrorType.BUDGET,
            "transaction instructions resources exceed network config limit",
            data.instructions,
            settings.max_instructions,
        ),
        (
            ErrorType.STORAGE,
            "transaction byte-read resources exceed network config limit",
            data.disk_read_bytes,
            settings.max_disk_read_bytes,
        ),
        (
            ErrorType.STORAGE,
            "transaction byte-write resources exceed network config limit",
            data.write_bytes,
            settings.max_write_bytes,
        ),
        (
            ErrorType.STORAGE,
            "the number of entries in transaction footprint exceeds the network config limit",
            entries,
            settings.max_footprint_entries,
        ),
        (
            ErrorType.STORAGE,
            "transaction entry-disk-read resources exceed network config limit",
            disk_read_entries(data),
            settings.max_disk_read_entries,
        ),
        (
            ErrorType.STORAGE,
            "transaction entry-write resources exceed network config limit",
            len(footprint.read_write),
            settings.max_write_entries,
        ),
        (
            ErrorType.BUDGET,
            "total transaction size exceeds network config limit",
            transaction_bytes,
            settings.max_transaction_bytes,
        ),
    )
    for error_type, text, value, limit in limits:
        if value > limit:
            diagnostics.error(error_type, ErrorCode.EXCEEDED_LIMIT, text, value, limit)
            return False
    keys = (*footprint.read_only, *footprint.read_write)
    return all(_check_key(key, settings, diagnostics) for key in keys) and _check_archived(
        data, diagnostics
    )


def _check_key(key: LedgerKey, settings: Settings, diagnostics: Diagnostics) -> bool:
    if key.kind not in _ALLOWED:
        diagnostics.error(
            ErrorType.STORAGE,
            ErrorCode.UNEXPECTED_TYPE,
            "transaction footprint contains unsupported ledger key type",
            key.kind,
        )
        return False
    if key.kind == EntryKind.TRUSTLINE:
        asset = key.asset
        if asset is not None and (
            asset.is_native or not asset.is_valid or asset.is_issuer(key.account)
        ):
            diagnostics.error(
                ErrorType.STORAGE,
                ErrorCode.INVALID_INPUT,
                "transaction footprint contains invalid trustline asset",
            )
            return False
    if len(key.xdr) > settings.max_key_bytes:
        diagnostics.error(
            ErrorType.STORAGE,
            ErrorCode.EXCEEDED_LIMIT,
            "transaction footprint key exceeds network config limit",
            len(key.xdr),
            settings.max_key_bytes,
        )
        return False
    return True


def _check_archived(data: SorobanData, diagnostics: Diagnostics) -> bool:
    """Indexes into the read-write keys, ascending, each of a persistent entry."""
    last = -1
    read_write = data.footprint.read_write
    for index in data.archived:
        if index <= last:
            diagnostics.error(
                ErrorType.STORAGE,
                ErrorCode.INVALID_INPUT,
                "archivedSorobanEntries must be sorted in ascending order",
            )
            return False
        last = index
        if index >= len(read_write):
            diagnostics.error(
                ErrorType.STORAGE,
                ErrorCode.INVALID_INPUT,
                "archivedSorobanEntries index is out of bounds",
                index,
                len(read_write),
            )
            return False
        if read_write[index].durability != PERSISTENT:
            diagnostics.error(
                ErrorType.STORAGE,
                ErrorCode.INVALID_INPUT,
                "archivedSorobanEntries index points to a non-persistent entry",
                index,
                read_write[index].kind,
            )
            return False
    return True
