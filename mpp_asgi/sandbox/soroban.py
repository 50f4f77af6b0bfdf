"""What an invocation did to the entries of its footprint, and what keeping them costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.fees import RentChange, rent_fee
from mpp_asgi.sandbox.state import live_until
from mpp_asgi.sandbox.wire.entries import ContractCode, Ttl
from mpp_asgi.sandbox.wire.keys import has_ttl, is_temporary, ttl_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.sandbox.host.storage import Slot, Storage
    from mpp_asgi.sandbox.settings import Settings
    from mpp_asgi.sandbox.state import Layer, View
    from mpp_asgi.sandbox.wire.entries import Entry


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
        kept = self.after if self.writable else self.before
        return RentChange(
            not is_temporary(self.key),
            isinstance(kept or self.before, ContractCode),
            entry_bytes(self.before) if self.old_live_until else 0,
            entry_bytes(kept),
            self.old_live_until,
            self.new_live_until,
        )


def entry_bytes(entry: Entry | None) -> int:
    """The size of the entry as a ``LedgerEntry``."""
    return 0 if entry is None else len(entry.data) + 8


def changes(storage: Storage, view: View) -> list[Change]:
    """What the invocation did to the entries it touched."""
    return [
        _change(key, slot, view, storage.sequence, writable=storage.access.get(key, False))
        for key, slot in storage.final().items()
    ]


def _change(key: bytes, slot: Slot | None, view: View, sequence: int, *, writable: bool) -> Change:
    stored = view.stored(key)
    before = None if stored is None else stored[0]
    until = live_until(view, key)
    if has_ttl(key) and until < sequence:
        before, until = None, 0
    if slot is None:
        return Change(key, writable, before, None, until, 0)
    return Change(key, writable, before, slot.entry, until, max(slot.live_until or 0, until))


def rent(found: Iterable[Change], settings: Settings, sequence: int) -> int:
    """The rent the changes cost, in stroops."""
    rents = [change.rent for change in found]
    return rent_fee([r for r in rents if r is not None], settings, sequence)


def written_bytes(found: Iterable[Change]) -> int:
    return sum(entry_bytes(change.after) for change in found if change.writable)


def apply_changes(found: Iterable[Change], layer: Layer) -> None:
    """Write an invocation's changes into the ledger.

    Every entry declared as read-write is written, changed or not, as the network does.
    """
    for change in found:
        if change.writable and change.after is not None:
            layer.put(change.after)
        elif change.writable and layer.stored(change.key) is not None:
            layer.remove(change.key)
            if has_ttl(change.key):
                layer.remove(ttl_key(change.key))
        if change.new_live_until > change.old_live_until:
            layer.put(Ttl(change.key, change.new_live_until))
