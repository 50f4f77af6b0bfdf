"""Reading and writing the primitives of XDR (RFC 4506)."""

from __future__ import annotations

from struct import Struct, error
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

_U32 = Struct(">I")
_I32 = Struct(">i")
_U64 = Struct(">Q")
_I64 = Struct(">q")

u32 = _U32.pack
i32 = _I32.pack
u64 = _U64.pack
i64 = _I64.pack

ZERO = b"\0\0\0\0"
ONE = b"\0\0\0\1"
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

MAX_DEPTH = 200
"""How deep values may nest, as for the SDK's decoder."""


class XdrError(ValueError):
    """The bytes are not the XDR they should be."""


def boolean(value: bool) -> bytes:
    return ONE if value else ZERO


def opaque(value: bytes) -> bytes:
    """Variable-length opaque or string: length, bytes, zero padding."""
    return u32(len(value)) + value + _PADDING[len(value) % 4]


def array(items: Iterable[bytes]) -> bytes:
    """Variable-length array of already encoded items."""
    encoded = list(items)
    return u32(len(encoded)) + b"".join(encoded)


def optional(value: bytes | None) -> bytes:
    return ZERO if value is None else ONE + value


class Reader:
    """Reads XDR from bytes, front to back; every method raises :class:`XdrError` on bad input."""

    __slots__ = ("at", "data", "depth")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.depth = 0

    def u32(self) -> int:
        try:
            (value,) = _U32.unpack_from(self.data, self.at)
        except error:
            raise XdrError("unexpected end of data") from None
        self.at += 4
        return int(value)

    def u64(self) -> int:
        try:
            (value,) = _U64.unpack_from(self.data, self.at)
        except error:
            raise XdrError("unexpected end of data") from None
        self.at += 8
        return int(value)

    def i64(self) -> int:
        try:
            (value,) = _I64.unpack_from(self.data, self.at)
        except error:
            raise XdrError("unexpected end of data") from None
        self.at += 8
        return int(value)

    def boolean(self) -> bool:
        value = self.u32()
        if value > 1:
            raise XdrError(f"{value} is not a boolean")
        return value == 1

    def fixed(self, size: int) -> bytes:
        """Fixed-length opaque; ``size`` is a multiple of four."""
        end = self.at + size
        if end > len(self.data):
            raise XdrError("unexpected end of data")
        value = self.data[self.at : end]
        self.at = end
        return value

    def opaque(self, limit: int = 0xFFFFFFFF) -> bytes:
        """Variable-length opaque or string of at most ``limit`` bytes."""
        size = self.u32()
        if size > limit:
            raise XdrError(f"{size} bytes where at most {limit} are allowed")
        value = self.fixed(size)
        padding = -size % 4
        if padding and self.fixed(padding) != b"\0\0\0"[:padding]:
            raise XdrError("padding is not zero")
        return value

    def array(self, item: Callable[[], T], limit: int = 0xFFFFFFFF) -> tuple[T, ...]:
        """Variable-length array of at most ``limit`` items."""
        return tuple([item() for _ in range(self.count(limit))])

    def count(self, limit: int = 0xFFFFFFFF) -> int:
        """The length of an array of at most ``limit`` items, which follow."""
        count = self.u32()
        if count > limit:
            raise XdrError(f"{count} items where at most {limit} are allowed")
        if count * 4 > len(self.data) - self.at:
            raise XdrError("unexpected end of data")
        return count

    def optional(self, item: Callable[[], T]) -> T | None:
        return item() if self.boolean() else None

    def extension(self) -> None:
        """An extension point nobody has extended yet."""
        if self.u32():
            raise XdrError("unknown extension")

    def since(self, start: int) -> bytes:
        """The bytes read since the position ``start``."""
        return self.data[start : self.at]

    def enter(self) -> None:
        """Go one level deeper into nested values."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise XdrError("nested too deeply")

    def leave(self) -> None:
        self.depth -= 1

    def finish(self) -> None:
        """Nothing may follow."""
        if self.at != len(self.data):
            raise XdrError(f"{len(self.data) - self.at} bytes too many")
