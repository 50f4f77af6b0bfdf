"""The ledger's entries, and changes to them in layers.

A layer sees its parent's entries through its own changes. Committing a layer writes its changes
into the parent; dropping it undoes them. What a layer changed can be written down as the
``LedgerEntryChanges`` that transaction meta is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from mpp_asgi.sandbox.wire.entries import Account, Entry, Trustline, Ttl, ledger_entry
from mpp_asgi.sandbox.wire.keys import account_key, has_ttl, trustline_key, ttl_key
from mpp_asgi.sandbox.wire.stream import u32

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mpp_asgi.sandbox.wire.assets import Asset

E = TypeVar("E", bound=Entry)

_CREATED = u32(0)
_UPDATED = u32(1)
_REMOVED = u32(2)
_STATE = u32(3)

Stored = tuple[Entry, int]
"""An entry and the ledger it was last modified in."""


class View(Protocol):
    """Entries that can be read."""

    def stored(self, key: bytes) -> Stored | None: ...


class State:
    """All entries of the ledger, by their key's bytes."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Mapping[bytes, Stored] | None = None) -> None:
        self._entries: dict[bytes, Stored] = dict(entries or {})

    def copy(self) -> dict[bytes, Stored]:
        """All entries, by key."""
        return self._entries.copy()

    def stored(self, key: bytes) -> Stored | None:
        return self._entries.get(key)

    def write(self, key: bytes, stored: Stored | None) -> None:
        if stored is None:
            self._entries.pop(key, None)
        else:
            self._entries[key] = stored

    def __iter__(self) -> Iterator[Entry]:
        return (entry for entry, _ in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


class Layer:
    """Changes made in one ledger on top of a parent."""

    __slots__ = ("_changes", "_parent", "sequence")

    def __init__(self, parent: State | Layer, sequence: int) -> None:
        self._parent = parent
        self.sequence = sequence
        self._changes: dict[bytes, Stored | None] = {}

    def child(self) -> Layer:
        return Layer(self, self.sequence)

    def stored(self, key: bytes) -> Stored | None:
        if key in self._changes:
            return self._changes[key]
        return self._parent.stored(key)

    def write(self, key: bytes, stored: Stored | None) -> None:
        self._changes[key] = stored

    def put(self, entry: Entry) -> None:
        self._changes[entry.key] = (entry, self.sequence)

    def remove(self, key: bytes) -> None:
        self._changes[key] = None

    def written(self) -> Iterator[Entry]:
        """The entries the layer puts."""
        return (stored[0] for stored in self._changes.values() if stored is not None)

    def commit(self) -> None:
        for key, stored in self._changes.items():
            self._parent.write(key, stored)
        self._changes = {}

    def changes(self) -> list[bytes]:
        """The layer's changes as encoded ``LedgerEntryChange`` values, in the order made."""
        encoded: list[bytes] = []
        for key, after in self._changes.items():
            before = self._parent.stored(key)
            if before is not None:
                encoded.append(_STATE + ledger_entry(*before))
            if after is not None:
                kind = _CREATED if before is None else _UPDATED
                encoded.append(kind + ledger_entry(*after))
            elif before is not None:
                encoded.append(_REMOVED + key)
        return encoded


def find(view: View, key: bytes, kind: type[E]) -> E | None:
    """The entry under a key, which is of that kind if it is there."""
    stored = view.stored(key)
    if stored is None:
        return None
    entry = stored[0]
    return entry if isinstance(entry, kind) else None


def find_account(view: View, public_key: bytes) -> Account | None:
    return find(view, account_key(public_key), Account)


def find_trustline(view: View, public_key: bytes, asset: Asset) -> Trustline | None:
    return find(view, trustline_key(public_key, asset), Trustline)


def require_account(view: View, public_key: bytes) -> Account:
    """An account that was found to exist before; ``LookupError`` if it is gone after all."""
    account = find_account(view, public_key)
    if account is None:
        raise LookupError(f"account {public_key.hex()} does not exist")
    return account


def live_until(view: View, key: bytes) -> int:
    """The last ledger in which the entry lives; 0 when there is none, or it never expires."""
    ttl = find(view, ttl_key(key), Ttl) if has_ttl(key) else None
    return 0 if ttl is None else ttl.live_until
