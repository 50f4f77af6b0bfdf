"""Ledger entries as an invocation sees them, within its footprint.

When recording, whatever is touched is written down and becomes the footprint. When enforcing, only
what the footprint names can be touched, and only what it names as read-write can be changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.state import View, live_until
from mpp_asgi.sandbox.wire.keys import has_ttl, is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mpp_asgi.sandbox.settings import Settings
    from mpp_asgi.sandbox.wire.entries import Entry


@dataclass(frozen=True, slots=True)
class Slot:
    """An entry and the last ledger it lives in (``None``: it never expires)."""

    entry: Entry
    live_until: int | None


class Storage:
    """Entries by key, over a snapshot; ``footprint`` maps keys to whether they may be written."""

    __slots__ = (
        "_loaded",
        "_restorable",
        "_settings",
        "_snapshot",
        "access",
        "recording",
        "restored",
        "sequence",
    )

    def __init__(
        self,
        snapshot: View,
        sequence: int,
        settings: Settings,
        footprint: Mapping[bytes, bool] | None = None,
        restorable: Iterable[bytes] = (),
    ) -> None:
        self._snapshot = snapshot
        self._settings = settings
        self._loaded: dict[bytes, Slot | None] = {}
        self._restorable = frozenset(restorable)
        self.sequence = sequence
        self.recording = footprint is None
        self.access: dict[bytes, bool] = {} if footprint is None else dict(footprint)
        """Every key touched or declared, and whether for writing."""
        self.restored: set[bytes] = set()
        """Archived entries that were brought back."""

    def snapshot(self) -> dict[bytes, Slot | None]:
        return self._loaded.copy()

    def rollback(self, snapshot: dict[bytes, Slot | None]) -> None:
        self._loaded = snapshot

    def get(self, key: bytes) -> Slot | None:
        self._permit(key, write=False)
        return self._load(key)

    def put(self, entry: Entry, until: int | None = None) -> None:
        """Write an entry; ``until`` replaces how long it lives, where it expires at all."""
        key = entry.key
        self._permit(key, write=True)
        current = self._load(key)
        if until is None and current is not None:
            until = current.live_until
        self._loaded[key] = Slot(entry, until)

    def remove(self, key: bytes) -> None:
        self._permit(key, write=True)
        self._loaded[key] = None

    def extend(self, key: bytes, threshold: int, extend_to: int) -> None:
        """Let an entry live ``extend_to`` ledgers from now if fewer than ``threshold`` are left."""
        slot = self.get(key)
        if slot is None or slot.live_until is None:
            raise HostError(ErrorType.STORAGE, ErrorCode.MISSING_VALUE)
        longest = self.max_live_until
        until = self.sequence + extend_to
        if is_temporary(key) and until > longest:
            raise HostError(ErrorType.STORAGE, ErrorCode.INVALID_ACTION)
        until = min(until, longest)
        if slot.live_until - self.sequence <= threshold and until > slot.live_until:
            self._loaded[key] = Slot(slot.entry, until)

    @property
    def max_entry_ttl(self) -> int:
        """The longest an entry can live, in ledgers."""
        return self._settings.max_entry_ttl

    @property
    def max_live_until(self) -> int:
        return self.sequence + self.max_entry_ttl - 1

    def min_live_until(self, *, temporary: bool) -> int:
        """How long a new entry lives at least."""
        settings = self._settings
        ttl = settings.min_temporary_ttl if temporary else settings.min_persistent_ttl
        return self.sequence + ttl - 1

    def load_all(self) -> None:
        """Load everything the footprint names, as is done before a transaction is applied."""
        for key in self.access:
            self._load(key)

    def final(self) -> dict[bytes, Slot | None]:
        """Everything that was loaded, as it stands now."""
        return self._loaded

    def _permit(self, key: bytes, *, write: bool) -> None:
        if self.recording:
            self.access[key] = write or self.access.get(key, False)
            return
        allowed = self.access.get(key)
        if allowed is None or (write and not allowed):
            raise HostError(ErrorType.STORAGE, ErrorCode.EXCEEDED_LIMIT)

    def _load(self, key: bytes) -> Slot | None:
        if key in self._loaded:
            return self._loaded[key]
        slot = self._from_snapshot(key)
        self._loaded[key] = slot
        return slot

    def _from_snapshot(self, key: bytes) -> Slot | None:
        stored = self._snapshot.stored(key)
        if stored is None:
            return None
        entry = stored[0]
        if not has_ttl(key):
            return Slot(entry, None)
        until = live_until(self._snapshot, key)
        if until >= self.sequence:
            return Slot(entry, until)
        if is_temporary(key):
            return None
        # An archived entry. It comes back with the least lifetime: on its own while recording,
        # otherwise only where the transaction asked for it.
        if self.recording:
            self.access[key] = True
        elif key not in self._restorable:
            raise HostError(ErrorType.STORAGE, ErrorCode.INTERNAL_ERROR)
        self.restored.add(key)
        return Slot(entry, self.min_live_until(temporary=False))
