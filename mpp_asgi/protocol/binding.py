"""What ties a challenge to its server and to one resource: HMAC ids and resource hashes."""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from mpp_asgi.protocol.encoding import TO_URL, b64url_encode
from mpp_asgi.protocol.errors import ProtocolError
from mpp_asgi.protocol.headers import is_default_credential_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.protocol.challenge import Challenge

MIN_SECRET_BYTES = 32
_BLOCK_BYTES = 64
"""SHA-256's."""


class Secrets:
    """The keys that bind challenge ids: the first signs, all of them verify.

    To rotate, put the new secret first and keep the old one until its challenges have expired.
    """

    __slots__ = ("_keys",)

    _keys: tuple[_Key, ...]

    def __init__(self, signing: str, *previous: str) -> None:
        """Take secrets as text, of which the UTF-8 bytes are the keys.

        Raises:
            ProtocolError: a secret has fewer than 32 bytes. The error does not show it.
        """
        self._keys = tuple(_Key(_key_bytes(secret)) for secret in (signing, *previous))

    def __repr__(self) -> str:
        return f"Secrets(<{len(self._keys)} hidden>)"

    def sign(self, message: bytes) -> str:
        """The id of the challenge whose slots `bound_slots` joined to `message`."""
        return self._keys[0].sign(message).decode("ascii")

    def challenge_id(
        self,
        *,
        realm: str,
        method: str,
        intent: str,
        request: str,
        expires: str | None = None,
        digest: str | None = None,
        opaque: str | None = None,
        header: str | None = None,
    ) -> str:
        """The id of a challenge with these parameters (core draft, "Challenge Binding").

        `request` and `opaque` are the texts on the wire.

        Raises:
            ProtocolError: a parameter holds ``|``, the separator of the slots.
        """
        return self.sign(
            bound_slots(
                realm=realm,
                method=method,
                intent=intent,
                request=request,
                expires=expires,
                digest=digest,
                opaque=opaque,
                header=header,
            )
        )

    def authentic(self, challenge: Challenge) -> bool:
        """Whether one of the secrets made this challenge, in time that does not tell which."""
        try:
            message = _joined(
                challenge.realm,
                challenge.method,
                challenge.intent,
                challenge.request,
                challenge.expires,
                challenge.digest,
                challenge.opaque,
                challenge.header,
            )
            given = challenge.id.encode("utf-8")
        except ValueError:
            return False
        authentic = False
        for key in self._keys:
            authentic |= compare_digest(key.sign(message), given)
        return authentic


class _Key:
    """HMAC-SHA256 (RFC 2104) with everything done that depends on the key alone: a server makes or
    checks one of these for each request, and the library's own spends most of its time on that."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = (sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(
            _BLOCK_BYTES, b"\0"
        )
        self._inner = sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in block))

    def sign(self, message: bytes) -> bytes:
        """The HMAC of a message, base64url without padding."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return b2a_base64(outer.digest(), newline=False).translate(TO_URL, b"=")


def bound_slots(
    *,
    realm: str,
    method: str,
    intent: str,
    request: str,
    expires: str | None = None,
    digest: str | None = None,
    opaque: str | None = None,
    header: str | None = None,
) -> bytes:
    """What the HMAC covers: seven slots joined by ``|``, and an eighth for an unusual header.

    Raises:
        ProtocolError: a slot holds ``|``, so that two different challenges could share one id.
    """
    return _joined(realm, method, intent, request, expires, digest, opaque, header)


def _joined(  # noqa: PLR0917 # names for them all would take as long as the rest
    realm: str,
    method: str,
    intent: str,
    request: str,
    expires: str | None,
    digest: str | None,
    opaque: str | None,
    header: str | None,
) -> bytes:
    named, bars = "", 6
    if header is not None and not is_default_credential_header(header):
        named, bars = f"{header}|", 7
    joined = (
        f"{realm}|{method}|{intent}|{request}|{expires or ''}|{digest or ''}|{named}{opaque or ''}"
    )
    if joined.count("|") != bars:
        raise ProtocolError("A parameter bound by the challenge id holds '|'.", "challenge")
    try:
        return joined.encode("utf-8")
    except UnicodeEncodeError:
        raise ProtocolError(
            "A parameter bound by the challenge id is not valid Unicode.", "challenge"
        ) from None


def resource_binding(
    method: str, path: str, query: bytes, vary: Iterable[tuple[str, str]] = ()
) -> str:
    """A hash of the one resource a challenge is good for, to be carried in its `opaque`.

    `vary` adds named values that select among representations, in the order given.
    Every part is preceded by its length, so no two resources share a text to hash.
    """
    parts = [method.encode("utf-8", "surrogatepass"), path.encode("utf-8", "surrogatepass"), query]
    for name, value in vary:
        parts.append(name.encode("utf-8", "surrogatepass"))
        parts.append(value.encode("utf-8", "surrogatepass"))
    return b64url_encode(
        sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()
    )


def _key_bytes(secret: str) -> bytes:
    try:
        key = secret.encode("utf-8")
    except UnicodeEncodeError:
        raise ProtocolError("A secret is not valid Unicode text.", "secret") from None
    if len(key) < MIN_SECRET_BYTES:
        raise ProtocolError(
            f"A secret has {len(key)} bytes; it needs at least {MIN_SECRET_BYTES}.", "secret"
        )
    return key
