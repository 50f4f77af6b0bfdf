"""A sandbox's ledger at a moment, to go back to: in memory, or as bytes for a file."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from mpp_asgi.sandbox import archive
from mpp_asgi.sandbox.wire.stream import Reader, XdrError, array, i64, opaque, u32

if TYPE_CHECKING:
    from mpp_asgi.sandbox.host.environment import Contracts
    from mpp_asgi.sandbox.standing import Standing

VERSION: Final = 1
"""Of the format. A sandbox reads its own version only."""
_MAGIC: Final = b"mpp-asgi sandbox state\n\0"
_RANDOMNESS: Final = 625
"""Words in the state of Python's ``Random``; the last one is a place among the others."""


class SnapshotError(ValueError):
    """It is no snapshot, or not one of this network; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a sandbox was made with, and has to be made with again to go on from a snapshot."""

    passphrase: str
    seed: int
    contracts: bytes
    """A hash over the Wasm hashes that the native contracts stand for."""

    @classmethod
    def of(cls, passphrase: str, seed: int, contracts: Contracts) -> Identity:
        return cls(passphrase, seed, sha256(b"".join(sorted(contracts.uploaded))).digest())

    def require_same(self, other: Identity) -> None:
        """Raises :class:`SnapshotError` unless the ``other`` is this."""
        if other.passphrase != self.passphrase:
            raise SnapshotError(
                f"It is of the network {other.passphrase!r}, and this one is {self.passphrase!r}."
            )
        if other.seed != self.seed:
            raise SnapshotError(
                f"It is of a sandbox with seed {other.seed}, and this one has seed {self.seed}."
            )
        if other.contracts != self.contracts:
            raise SnapshotError(
                "It is of a sandbox with other contracts, as another version of mpp-asgi has them."
            )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Entries, headers, transactions and events of a sandbox. What waited for the next ledger, the
    pace of closing and ordered faults are no part of it.
    """

    identity: Identity
    randomness: tuple[int, ...]
    """The state of what nonces are drawn from."""
    standing: Standing

    @property
    def sequence(self) -> int:
        """The latest ledger it knows."""
        return self.standing.header.sequence

    def to_bytes(self) -> bytes:
        identity = self.identity
        body = b"".join(
            (
                opaque(identity.passphrase.encode()),
                i64(identity.seed),
                identity.contracts,
                array(u32(word) for word in self.randomness),
                archive.encode(self.standing),
            )
        )
        return _MAGIC + u32(VERSION) + sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """What :meth:`to_bytes` gave. Raises :class:`SnapshotError`."""
        head = len(_MAGIC)
        if not data.startswith(_MAGIC):
            raise SnapshotError("It is not a state that a sandbox has saved.")
        try:
            version = Reader(data[head : head + 4]).u32()
            if version != VERSION:
                raise SnapshotError(
                    f"It is in version {version} of the format, and this mpp-asgi reads {VERSION}."
                )
            body = data[head + 36 :]
            if sha256(body).digest() != data[head + 4 : head + 36]:
                raise SnapshotError("It is damaged: its checksum does not fit.")
            return cls._read(Reader(body))
        except XdrError as error:
            raise SnapshotError(f"It is damaged: {error}.") from None

    @classmethod
    def _read(cls, reader: Reader) -> Snapshot:
        passphrase = reader.opaque().decode("utf-8", "replace")
        identity = Identity(passphrase, reader.i64(), reader.fixed(32))
        randomness = reader.array(reader.u32)
        if len(randomness) != _RANDOMNESS or randomness[-1] >= _RANDOMNESS:
            raise XdrError("its state of randomness is none")
        snapshot = cls(identity, randomness, archive.read(reader))
        reader.finish()
        return snapshot
