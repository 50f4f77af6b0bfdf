"""What stands on the ledger as the code of a native contract: a Wasm module with nothing to run.

It carries the contract's interface, as a real one would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.contracts.interface import environment_meta, interface

if TYPE_CHECKING:
    from enum import IntEnum

    from mpp_asgi.sandbox.host.native import Contract

_PROTOCOL = 25
"""What the contracts' sources are made for."""
_HEADER = b"\0asm\1\0\0\0"
_CUSTOM_SECTION = b"\0"


def module(contract: Contract, errors: type[IntEnum] | None = None) -> bytes:
    """A module with a contract's interface in it."""
    environment = _section("contractenvmetav0", environment_meta(_PROTOCOL))
    return _HEADER + environment + _section("contractspecv0", interface(contract, errors))


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
