"""Credentials: what a payer sends in `Authorization` (core draft, section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mpp_asgi.protocol.challenge import REQUIRED, Challenge
from mpp_asgi.protocol.encoding import (
    MAX_OBJECT_BYTES,
    b64url_encode,
    decode_object,
    encode_json,
    is_b64url,
)
from mpp_asgi.protocol.errors import ProtocolError
from mpp_asgi.protocol.headers import SCHEME

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARAMETERS = tuple(each.name for each in fields(Challenge))
_REQUIRED = len(REQUIRED)
_TEXTS = frozenset({str, type(None)})
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
        scheme, _, text = value.strip(" \t").partition(" ")
        if scheme.lower() != "payment":
            raise ProtocolError("The credential does not begin with 'Payment '.", "credential")
        body = decode_object(text.strip(" \t"), limit=limit, name="credential", part="credential")
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
        if type(source) not in _TEXTS:
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
    given: tuple[Any, ...] = tuple(map(echo.get, _PARAMETERS))
    if not _TEXTS.issuperset(map(type, given)):
        name = next(n for n in _PARAMETERS if type(echo.get(n)) not in _TEXTS)
        raise ProtocolError(
            f"The credential's challenge has a '{name}' that is not a text.", "credential"
        )
    if not all(given[:_REQUIRED]):
        _check_complete(echo)
    if "" in given:  # the id cannot tell it from an absent parameter, so nobody after it should
        given = tuple(text or None for text in given)
    # As `Challenge(*given)`, which has a call for each field, being frozen.
    challenge = _new(Challenge)
    challenge.__dict__.update(zip(_PARAMETERS, given))  # noqa: B905 # no time to count what is ours
    return challenge


def _check_complete(echo: Mapping[str, Any]) -> None:
    for name in REQUIRED:
        if not echo.get(name):
            raise ProtocolError(
                f"The credential's challenge needs '{name}', as in the challenge paid.",
                "credential",
            )
