"""Assets: XLM and what accounts issue."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from stellar_sdk import StrKey

from mpp_asgi.sandbox.wire.stream import ONE, XdrError, u32
from mpp_asgi.sandbox.wire.values import Address

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.stream import Reader

_FROM_ASSET = ONE
_CONTRACT_ID_PREIMAGE = u32(8)


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset; ``code`` keeps its zero padding, 4 or 12 bytes, and is empty for XLM."""

    code: bytes
    issuer: bytes
    """Public key of the issuer, 32 bytes; empty for XLM."""
    xdr: bytes = field(init=False, compare=False, repr=False)
    name: str = field(init=False, compare=False)
    """``native`` or ``CODE:ISSUER``, as events and the contract's ``name`` have it."""

    def __post_init__(self) -> None:
        if not self.code:
            xdr, name = u32(0), "native"
        else:
            kind = 1 if len(self.code) == 4 else 2
            xdr = u32(kind) + self.code + u32(0) + self.issuer
            name = f"{self.symbol}:{StrKey.encode_ed25519_public_key(self.issuer)}"
        object.__setattr__(self, "xdr", xdr)
        object.__setattr__(self, "name", name)

    @classmethod
    def issued(cls, code: str, issuer: str) -> Asset:
        """The asset ``code`` of the account ``issuer`` (``G…``)."""
        raw = code.encode("ascii")
        padded = raw.ljust(4 if len(raw) <= 4 else 12, b"\0")
        return cls(padded, StrKey.decode_ed25519_public_key(issuer))

    @classmethod
    def read(cls, reader: Reader) -> Asset:
        kind = reader.u32()
        return cls.read_body(reader, kind)

    @classmethod
    def read_body(cls, reader: Reader, kind: int) -> Asset:
        if kind == 0:
            return NATIVE
        if kind not in {1, 2}:
            raise XdrError(f"unknown kind of asset {kind}")
        code = reader.fixed(4 if kind == 1 else 12)
        if reader.u32():
            raise XdrError("unknown kind of key")
        return cls(code, reader.fixed(32))

    @property
    def is_native(self) -> bool:
        return not self.code

    @property
    def symbol(self) -> str:
        return self.code.rstrip(b"\0").decode("latin-1") if self.code else "native"

    @property
    def is_valid(self) -> bool:
        """Whether the code is one the network allows."""
        if self.is_native:
            return True
        trimmed = self.code.rstrip(b"\0")
        if not trimmed or not trimmed.isalnum() or not trimmed.isascii():
            return False
        return len(self.code) == 4 or len(trimmed) > 4

    def is_issuer(self, address: Address) -> bool:
        return not self.is_native and address.key == self.issuer and address.kind == 0

    def contract(self, network_id: bytes) -> Address:
        """The address of the asset's contract on the network."""
        preimage = _CONTRACT_ID_PREIMAGE + network_id + _FROM_ASSET + self.xdr
        return Address.contract(sha256(preimage).digest())


NATIVE = Asset(b"", b"")
