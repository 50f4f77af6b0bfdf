"""What a stellar/charge credential shows: its payload, read and in shape."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.protocol import Credential

TRANSACTION: Final = "transaction"
SIGNED_HASH: Final = "signedHash"
HASH: Final = "hash"

_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class ShownPayment:
    """A payment as the payer shows it (draft-stellar-charge, credential schema)."""

    type: str
    value: str
    """The transaction (base64 XDR), or its hash in lower case."""
    signature: bytes | None
    """With ``signedHash``: 64 bytes, not verified yet."""
    source: str | None
    """The credential's ``source``, not read yet."""

    @property
    def fingerprint(self) -> str:
        """Tells one proof from another: SHA-256, hex."""
        text = f"{self.type}\n{self.value}\n{self.source or ''}"
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def in_credential(cls, credential: Credential) -> ShownPayment:
        """Read the payload.

        Raises:
            RefusalError: it has not the shape of a stellar/charge payload.
        """
        return cls.in_payload(credential.payload, credential.source)

    @classmethod
    def in_payload(cls, payload: Mapping[str, Any], source: str | None) -> ShownPayment:
        """Read those fields of a payload that show a transaction.

        Raises:
            RefusalError: they have not the shape.
        """
        kind = payload.get("type")
        if kind == TRANSACTION:
            return cls(kind, _text(payload, "transaction"), None, source)
        if kind == SIGNED_HASH:
            signature = bytes.fromhex(_hex(payload, "sourceSignature", 128))
            return cls(kind, _hex(payload, "hash", 64), signature, source)
        if kind == HASH:
            return cls(kind, _hex(payload, "hash", 64), None, source)
        raise _malformed("type must be 'transaction' or 'signedHash'.")


def _hex(payload: Mapping[str, Any], field: str, digits: int) -> str:
    value = _text(payload, field).lower()
    if len(value) != digits or not _HEX.issuperset(value):
        raise _malformed(f"{field} must be {digits} hex digits.")
    return value


def _text(payload: Mapping[str, Any], field: str) -> str:
    value = payload.get(field)
    if not isinstance(value, str) or not value:
        raise _malformed(f"{field} must be a text.")
    return value


def _malformed(detail: str) -> RefusalError:
    return RefusalError(problems.INVALID_PAYLOAD.because(f"The payload's {detail}"))
