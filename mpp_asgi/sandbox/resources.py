"""What a contract transaction declares, and whether the network takes it.

Whatever is wrong is explained in the diagnostics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.fees import Resources, disk_read_entries, resource_fee
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType
from mpp_asgi.sandbox.refusal import RefusedError
from mpp_asgi.sandbox.wire.keys import PERSISTENT, EntryKind
from mpp_asgi.sandbox.wire.operations import (
    CreateContract,
    ExtendFootprintTtl,
    InvokeHostFunction,
    OperationKind,
    UploadWasm,
)
from mpp_asgi.sandbox.wire.results import Code
from mpp_asgi.sandbox.wire.transactions import Footprint
from mpp_asgi.sandbox.wire.values import AddressKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpp_asgi.sandbox.contract_operations import ContractOperation
    from mpp_asgi.sandbox.diagnostics import Diagnostics
    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.settings import Settings
    from mpp_asgi.sandbox.wire.keys import LedgerKey
    from mpp_asgi.sandbox.wire.operations import HostFunction
    from mpp_asgi.sandbox.wire.transactions import SorobanData

_STORED_KINDS = frozenset(
    {
        EntryKind.ACCOUNT,
        EntryKind.TRUSTLINE,
        EntryKind.CONTRACT_DATA,
        EntryKind.CONTRACT_CODE,
    }
)
_MALFORMED = -1


def check_soroban(frame: Frame, settings: Settings, diagnostics: Diagnostics) -> None:
    """Refuse a contract transaction that could not be in any ledger."""
    data = frame.soroban
    if data is None:
        raise RefusedError(Code.MALFORMED)
    if not _has_plain_source(frame):
        diagnostics.error(
            ErrorType.VALUE,
            ErrorCode.INVALID_INPUT,
            "Soroban transactions are not allowed to use memo or muxed source account",
        )
        raise RefusedError(Code.SOROBAN_INVALID)
    check_resources(frame, settings, diagnostics)
    _check_fee(frame, data, settings, diagnostics)
    keys = [key.xdr for key in (*data.footprint.read_only, *data.footprint.read_write)]
    if len(set(keys)) < len(keys):
        diagnostics.error(
            ErrorType.STORAGE,
            ErrorCode.INVALID_INPUT,
            "Found duplicate key in the Soroban footprint; every key across read-only and "
            "read-write footprints has to be unique.",
        )
        raise RefusedError(Code.SOROBAN_INVALID)


def _has_plain_source(frame: Frame) -> bool:
    """Contract calls carry neither a memo nor a muxed source."""
    transaction = frame.transaction
    operation = transaction.operations[0]
    if operation.kind is not OperationKind.INVOKE_HOST_FUNCTION:
        return True
    sources = (transaction.source, operation.source)
    is_muxed = any(s is not None and s.kind == AddressKind.MUXED for s in sources)
    return not transaction.memo and not is_muxed


def _check_fee(
    frame: Frame, data: SorobanData, settings: Settings, diagnostics: Diagnostics
) -> None:
    full_fee = frame.transaction.fee
    if data.resource_fee > full_fee and not frame.is_fee_bump:
        diagnostics.error(
            ErrorType.VALUE,
            ErrorCode.EXCEEDED_LIMIT,
            "transaction `sorobanData.resourceFee` is higher than the full transaction fee",
            data.resource_fee,
            full_fee,
        )
        raise RefusedError(Code.SOROBAN_INVALID)
    needed = sum(resource_fee(Resources.declared(data, frame.inner_size), settings))
    if data.resource_fee < needed:
        diagnostics.error(
            ErrorType.VALUE,
            ErrorCode.EXCEEDED_LIMIT,
            "transaction `sorobanData.resourceFee` is lower than the actual Soroban resource fee",
            data.resource_fee,
            needed,
        )
        raise RefusedError(Code.SOROBAN_INVALID)


def check_resources(frame: Frame, settings: Settings, diagnostics: Diagnostics) -> None:
    """Refuse resources beyond what the network allows, and footprints it cannot serve."""
    data = frame.soroban
    if data is None:
        raise RefusedError(Code.MALFORMED)
    for error_type, text, value, limit in _limits(data, frame.inner_size, settings):
        if value > limit:
            diagnostics.error(error_type, ErrorCode.EXCEEDED_LIMIT, text, value, limit)
            raise RefusedError(Code.SOROBAN_INVALID)
    for key in (*data.footprint.read_only, *data.footprint.read_write):
        _check_key(key, settings, diagnostics)
    _check_archived(data, diagnostics)


def _limits(
    data: SorobanData, size: int, settings: Settings
) -> Iterator[tuple[ErrorType, str, int, int]]:
    """Each declared amount with its limit."""
    footprint = data.footprint
    yield (
        ErrorType.BUDGET,
        "transaction instructions resources exceed network config limit",
        data.instructions,
        settings.max_instructions,
    )
    yield (
        ErrorType.STORAGE,
        "transaction byte-read resources exceed network config limit",
        data.disk_read_bytes,
        settings.max_disk_read_bytes,
    )
    yield (
        ErrorType.STORAGE,
        "transaction byte-write resources exceed network config limit",
        data.write_bytes,
        settings.max_write_bytes,
    )
    yield (
        ErrorType.STORAGE,
        "the number of entries in transaction footprint exceeds the network config limit",
        len(footprint.read_only) + len(footprint.read_write),
        settings.max_footprint_entries,
    )
    yield (
        ErrorType.STORAGE,
        "transaction entry-disk-read resources exceed network config limit",
        disk_read_entries(data),
        settings.max_disk_read_entries,
    )
    yield (
        ErrorType.STORAGE,
        "transaction entry-write resources exceed network config limit",
        len(footprint.read_write),
        settings.max_write_entries,
    )
    yield (
        ErrorType.BUDGET,
        "total transaction size exceeds network config limit",
        size,
        settings.max_transaction_bytes,
    )


def _check_key(key: LedgerKey, settings: Settings, diagnostics: Diagnostics) -> None:
    if key.kind not in _STORED_KINDS:
        diagnostics.error(
            ErrorType.STORAGE,
            ErrorCode.UNEXPECTED_TYPE,
            "transaction footprint contains unsupported ledger key type",
            key.kind,
        )
        raise RefusedError(Code.SOROBAN_INVALID)
    asset = key.asset
    if asset is not None and (asset.is_native or not asset.is_valid or asset.is_issuer(key.holder)):
        diagnostics.error(
            ErrorType.STORAGE,
            ErrorCode.INVALID_INPUT,
            "transaction footprint contains invalid trustline asset",
        )
        raise RefusedError(Code.SOROBAN_INVALID)
    if len(key.xdr) > settings.max_key_bytes:
        diagnostics.error(
            ErrorType.STORAGE,
            ErrorCode.EXCEEDED_LIMIT,
            "transaction footprint key exceeds network config limit",
            len(key.xdr),
            settings.max_key_bytes,
        )
        raise RefusedError(Code.SOROBAN_INVALID)


def _check_archived(data: SorobanData, diagnostics: Diagnostics) -> None:
    """Indexes into the read-write keys, ascending, each of a persistent entry."""
    read_write = data.footprint.read_write
    last = -1
    for index in data.archived:
        text = ""
        if index <= last:
            text = "archivedSorobanEntries must be sorted in ascending order"
        elif index >= len(read_write):
            text = "archivedSorobanEntries index is out of bounds"
        elif read_write[index].durability != PERSISTENT:
            text = "archivedSorobanEntries index points to a non-persistent entry"
        if text:
            diagnostics.error(ErrorType.STORAGE, ErrorCode.INVALID_INPUT, text, index)
            raise RefusedError(Code.SOROBAN_INVALID)
        last = index


def check_contract_operation(
    body: ContractOperation, frame: Frame, settings: Settings, diagnostics: Diagnostics
) -> int:
    """The operation's own result code: 0 when it is well formed."""
    if isinstance(body, InvokeHostFunction):
        return _check_host_function(body.function, settings, diagnostics)
    footprint = Footprint() if frame.soroban is None else frame.soroban.footprint
    if isinstance(body, ExtendFootprintTtl):
        fits = (
            body.extend_to < settings.max_entry_ttl
            and not footprint.read_write
            and all(key.durability is not None for key in footprint.read_only)
        )
    else:
        fits = not footprint.read_only and all(
            key.durability == PERSISTENT for key in footprint.read_write
        )
    return 0 if fits else _MALFORMED


def _check_host_function(
    function: HostFunction, settings: Settings, diagnostics: Diagnostics
) -> int:
    if isinstance(function, UploadWasm) and len(function.code) > settings.max_wasm_bytes:
        diagnostics.error(
            ErrorType.BUDGET,
            ErrorCode.EXCEEDED_LIMIT,
            "uploaded Wasm size exceeds network config maximum contract size",
            len(function.code),
            settings.max_wasm_bytes,
        )
        return _MALFORMED
    if isinstance(function, CreateContract):
        asset = function.preimage.asset
        if asset is not None and not asset.is_valid:
            text = "invalid asset to create contract from"
            diagnostics.error(ErrorType.VALUE, ErrorCode.INVALID_INPUT, text)
            return _MALFORMED
    return 0
