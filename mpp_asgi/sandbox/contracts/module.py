"""What stands on the ledger as the code of a native contract: a Wasm module with nothing to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = b"\0asm\1\0\0\0"
_CUSTOM_SECTION = b"\0"


def module(sections: Mapping[str, bytes]) -> bytes:
    """A module of custom sections, by name."""
    return _HEADER + b"".join(_section(name, content) for name, content in sections.items())


def _section(name: str, content: bytes) -> bytes:
    body = _sized(name.encode("ascii")) + content
    return _CUSTOM_SECTION + _sized(body)


def _sized(content: bytes) -> bytes:
    return _length(len(content)) + content


def _length(number: int) -> bytes:
    """Unsigned LEB128."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
