"""Body digests: which body a challenge is good for (RFC 9530, sha-256)."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from hashlib import sha256

from mpp_asgi.protocol.errors import ProtocolError


def content_digest(body: bytes) -> str:
    """The digest of a body as it stands in a challenge: ``sha-256=:<base64>:``."""
    return f"sha-256=:{b2a_base64(sha256(body).digest(), newline=False).decode('ascii')}:"


def digest_bytes(text: str) -> bytes:
    """The 32 bytes of a sha-256 digest.

    Takes RFC 9530's ``sha-256=:<base64>:``, among digests by other algorithms too, and the
    ``sha-256=<base64>`` of deployed code, with or without padding.

    Raises:
        ProtocolError: there is none, or it is malformed.
    """
    for member in text.split(","):
        algorithm, _, value = member.strip(" \t").partition("=")
        if algorithm.lower() != "sha-256":
            continue
        if len(value) > 2 and value[0] == value[-1] == ":":
            value = value[1:-1]
        else:
            value += "=" * (-len(value) % 4)
        try:
            digest = a2b_base64(value.encode("ascii"), strict_mode=True)
        except ValueError:
            break
        if len(digest) == sha256().digest_size:
            return digest
        break
    raise ProtocolError("The digest is not of the form sha-256=:<base64>:.", "digest")


def digest_matches(text: str, body: bytes) -> bool:
    """Whether `text` is a digest of `body`; a digest nobody can read matches nothing."""
    try:
        return digest_bytes(text) == sha256(body).digest()
    except ProtocolError:
        return False
