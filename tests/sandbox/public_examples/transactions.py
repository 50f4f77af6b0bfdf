"""The published transactions, one by one."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from functools import cache
from typing import Any

from stellar_sdk import xdr

from mpp_asgi.sandbox.frame import Frame
from mpp_asgi.sandbox.wire.transactions import Envelope
from tests.sandbox.public_examples.gathered import network_id, records


@dataclass(frozen=True)
class Published:
    """One published transaction."""

    record: dict[str, Any]

    @property
    def frame(self) -> Frame:
        envelope = Envelope.parse(b64decode(self.record["envelope"]))
        return Frame.of(envelope, network_id(self.record["network"]))

    @property
    def result(self) -> xdr.TransactionResult:
        return xdr.TransactionResult.from_xdr(self.record["result"])

    @property
    def meta(self) -> xdr.TransactionMetaV4 | None:
        if "meta" not in self.record:
            return None
        return xdr.TransactionMeta.from_xdr(self.record["meta"]).v4

    @property
    def changes(self) -> list[xdr.LedgerEntryChange]:
        """All changes to entries that are published, in their order."""
        meta = self.meta
        if meta is None:
            return xdr.LedgerEntryChanges.from_xdr(self.record["fee_changes"]).ledger_entry_changes
        operations = (each.changes.ledger_entry_changes for each in meta.operations)
        before = meta.tx_changes_before.ledger_entry_changes
        after = meta.tx_changes_after.ledger_entry_changes
        return [*before, *(change for changes in operations for change in changes), *after]

    @property
    def entries(self) -> list[xdr.LedgerEntry]:
        found = (each.created or each.updated or each.state for each in self.changes)
        return [entry for entry in found if entry is not None]

    @property
    def ledger(self) -> int:
        """The ledger it is in."""
        changed = (each.created or each.updated for each in self.changes)
        return max(e.last_modified_ledger_seq.uint32 for e in changed if e is not None)


@cache
def published() -> tuple[Published, ...]:
    return tuple(Published(record) for record in records("transactions"))
