"""Running a host function over the ledger: what it returns, changes, emits and costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.fees import RentChange, rent_fee
from mpp_asgi.sandbox.state import live_until
from mpp_asgi.sandbox.wire.entries import Ttl, ledger_entry
from mpp_asgi.sandbox.wire.keys import EntryKind, has_ttl, is_temporary, ttl_key
from mpp_asgi.sandbox.wire.stream import u32

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.sandbox.host.storage import Slot, Storage
    from mpp_asgi.sandbox.settings import Settings
    from mpp_asgi.sandbox.state import Layer, View
    from mpp_asgi.sandbox.wire.entries import Entry

_CODE = u32(EntryKind.CONTRACT_CODE)


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one entry of the footprint."""

    key: bytes
    writable: bool
    before: Entry | None
    """As it was alive; ``None`` also when it had expired."""
    after: Entry | None
    old_live_until: int
    new_live_until: int

    @property
    def rent(self) -> RentChange | None:
        """For the rent fee; ``None`` for entries that pay none."""
        if not has_ttl(self.key):
            return None
        old_bytes = 0 if not self.old_live_until else entry_bytes(self.before)
        kept = self.after if self.writable else self.before
        new_bytes = entry_bytes(kept)
        return RentChange(
            not is_temporary(self.key),
            self.key.startswith(_CODE),
            old_bytes,
            new_bytes,
            self.old_live_until,
            self.new_live_until,
        )


def entry_bytes(entry: Entry | None) -> int:
    """The size of the entry as a ``LedgerEntry``."""
    return 0 if entry is None else len(entry.data) + 8


def changes(storage: Storage, view: View) -> list[Change]:
    """What the invocation did to the entries of its footprint."""
    found = []
    for key, slot in storage.final().items():
        stored = view.stored(key)
        until = (live_until(view, key) or 0) if stored is not None else 0
        before = None if stored is None else stored[0]
        if has_ttl(key) and until < storage.sequence:
            before, until = None, 0
        found.append(_change(key, storage.access.get(key, False), before, slot, until))
    return found


def _change(
    key: bytes, writable: bool, before: Entry | None, slot: Slot | None, until: int
) -> Change:
    after = None if slot is None else slot.entry
    new_until = 0 if slot is None else slot.live_until or 0
    return Change(key, writable, before, after, until, max(new_until, until) if slot else 0)


def rent(found: Iterable[Change], settings: Settings, sequence: int) -> int:
    """The rent the changes cost, in stroops."""
    rents = [change.rent for change in found]
    return rent_fee([r for r in rents if r is not None], settings, sequence)


def apply_changes(found: Iterable[Change], layer: Layer) -> None:
    """Write an invocation's changes into the ledger.

    Every entry declared as read-write is written, changed or not, as the network does.
    """
    for change in found:
        if change.writable:
            if change.after is not None:
                layer.put(change.after)
            elif layer.stored(change.key) is not None:
                layer.remove(change.key)
                if has_ttl(change.key):
                    layer.remove(ttl_key(change.key))
        if change.new_live_until > change.old_live_until:
            layer.put(Ttl(change.key, change.new_live_until))


def written_bytes(found: Iterable[Change]) -> int:
    return sum(entry_bytes(c.after) for c in found if c.writable and c.after is not None)


def encoded(entry: Entry | None, modified: int) -> bytes | None:
    return None if entry is None else ledger_entry(entry, modified)
