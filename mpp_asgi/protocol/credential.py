"""Credentials: what a payer sends in `Authorization` (core draft, section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mpp_asgi.protocol.challenge import REQUIRED, Challenge
from mpp_asgi.protocol.encoding import (
    MAX_OBJECT_BYTES,
    b64url_encode,
    encode_json,
    is_b64url,
    object_in,
)
from mpp_asgi.protocol.errors import ProtocolError
from mpp_asgi.protocol.headers import SCHEME

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARAMETERS = tuple(each.name for each in fields(Challenge))
_KNOWN = frozenset(_PARAMETERS)
_REQUIRED = frozenset(REQUIRED)
_STR = frozenset({str})
_new = object.__new__

MAX_CREDENTIAL_BYTES = MAX_OBJECT_BYTES
"""The largest credential read unless a reader asks for another limit: bytes of its JSON."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Proof of payment for one challenge, which it echoes.

    `payload` is the payment method's proof and `source` the payer, a DID where it is given.
    Its repr shows no payload: credentials are kept out of logs.
    """

    challenge: Challenge
    payload: Mapping[str, Any]
    source: str | None = None

    def __repr__(self) -> str:
        return f"Credential(challenge={self.challenge!r}, payload=<hidden>, source={self.source!r})"

    @classmethod
    def from_header(cls, value: str, *, limit: int = MAX_CREDENTIAL_BYTES) -> Credential:
        """The credential of one `Authorization` field value of scheme Payment.

        Unknown members are ignored; the echoed `request` and `opaque` are checked to be
        base64url and left as they are, for whoever authenticates the challenge.

        Raises:
            ProtocolError: it is no credential, or has more than `limit` bytes.
        """
        credential = cls.of_unproven(value, limit=limit)
        credential.check_encodings()
        return credential

    @classmethod
    def of_unproven(cls, value: str, *, limit: int = MAX_CREDENTIAL_BYTES) -> Credential:
        """As `from_header`, without a look at the texts that are echoed: for those who know what
        they issued when they see it.

        Raises:
            ProtocolError: as `from_header`.
        """
        value = value.strip(" \t")
        if value[:8].lower().rstrip(" ") != "payment":
            raise ProtocolError("The credential does not begin with 'Payment '.", "credential")
        text = value[8:].lstrip(" \t")
        body = object_in(text, limit, "credential", "credential")
        echo, payload, source = body.get("challenge"), body.get("payload"), body.get("source")
        if type(echo) is not dict:
            raise ProtocolError(
                "The credential needs a member 'challenge', the challenge paid, as an object.",
                "credential",
            )
        if type(payload) is not dict:
            raise ProtocolError(
                "The credential needs a member 'payload', the proof of payment, as an object.",
                "credential",
            )
        if source is not None and type(source) is not str:
            raise ProtocolError("The credential's 'source' is not a text.", "credential")
        return cls(_echoed(echo), payload, source)

    def check_encodings(self) -> None:
        """See that what is echoed as base64url is that.

        Raises:
            ProtocolError: it is not.
        """
        for name in ("request", "opaque"):
            text = getattr(self.challenge, name)
            if text is not None and not is_b64url(text):
                raise ProtocolError(
                    f"The {name} echoed is not base64url: echo it as it came.", "credential"
                )

    def to_header(self) -> str:
        """The credential as an `Authorization` field value.

        Raises:
            ProtocolError: `from_header` would refuse it, or JSON cannot carry it.
        """
        echo = {name: value for name in _PARAMETERS if (value := getattr(self.challenge, name))}
        _check_complete(echo)
        self.check_encodings()
        body: dict[str, Any] = {"challenge": echo, "payload": dict(self.payload)}
        if self.source is not None:
            body["source"] = self.source
        text = b64url_encode(encode_json(body, name="credential", part="credential"))
        return f"{SCHEME} {text}"


def _echoed(echo: dict[str, Any]) -> Challenge:
    if not (echo.keys() <= _KNOWN and _STR.issuperset(map(type, echo.values()))):
        echo = _known(echo)
    if not (echo.keys() >= _REQUIRED and all(echo.values())):
        _check_complete(echo)
        # The id cannot tell an empty one from an absent one, so nobody after it should.
        echo = {name: text for name, text in echo.items() if text}
    # As `Challenge(**echo)`, which has a call for each field, being frozen.
    challenge = _new(Challenge)
    challenge.__dict__.update(echo)
    return challenge


def _known(echo: dict[str, Any]) -> dict[str, str]:
    """What there is of a challenge's parameters; ``null`` is none."""
    known = {name: text for name in _PARAMETERS if (text := echo.get(name)) is not None}
    for name, text in known.items():
        if type(text) is not str:
            raise ProtocolError(
                f"The credential's challenge has a '{name}' that is not a text.", "credential"
            )
    return known


def _check_complete(echo: Mapping[str, Any]) -> None:
    for name in REQUIRED:
        if not echo.get(name):
            raise ProtocolError(
                f"The credential's challenge needs '{name}', as in the challenge paid.",
                "credential",
            )
