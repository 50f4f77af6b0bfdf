"""Credentials: what a payer sends in `Authorization` (core draft, section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpp_asgi.protocol.challenge import OPTIONAL, REQUIRED, Challenge
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

_PARAMETERS = (*REQUIRED, *OPTIONAL)
_TEXTS = frozenset({str, type(None)})

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
        scheme, _, text = value.strip(" \t").partition(" ")
        if scheme.lower() != "payment":
            raise ProtocolError("The credential does not begin with 'Payment '.", "credential")
        body = decode_object(text.strip(" \t"), limit=limit, name="credential", part="credential")
        echo = body.get("challenge")
        if not isinstance(echo, dict):
            raise ProtocolError(
                "The credential needs a member 'challenge', the challenge paid, as an object.",
                "credential",
            )
        payload = body.get("payload")
        if not isinstance(payload, dict):
            raise ProtocolError(
                "The credential needs a member 'payload', the proof of payment, as an object.",
                "credential",
            )
        source = body.get("source")
        if source is not None and not isinstance(source, str):
            raise ProtocolError("The credential's 'source' is not a text.", "credential")
        return cls(_echoed(echo), payload, source)

    def to_header(self) -> str:
        """The credential as an `Authorization` field value.

        Raises:
            ProtocolError: `from_header` would refuse it, or JSON cannot carry it.
        """
        _check_echo(self.challenge)
        echo = {name: value for name in _PARAMETERS if (value := getattr(self.challenge, name))}
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
    if not all(given[: len(REQUIRED)]):
        raise _missing(next(name for name in REQUIRED if not echo.get(name)))
    id_, realm, method, intent, request, description, digest, expires, header, opaque = given
    # The id cannot tell an empty parameter from an absent one, so nobody after it should.
    challenge = Challenge(
        id_,
        realm,
        method,
        intent,
        request,
        expires or None,
        digest or None,
        description or None,
        opaque or None,
        header or None,
    )
    _check_encodings(challenge)
    return challenge


def _check_echo(challenge: Challenge) -> None:
    for name in REQUIRED:
        if not getattr(challenge, name):
            raise _missing(name)
    _check_encodings(challenge)


def _missing(name: str) -> ProtocolError:
    return ProtocolError(
        f"The credential's challenge needs '{name}', as in the challenge paid.", "credential"
    )


def _check_encodings(challenge: Challenge) -> None:
    if not is_b64url(challenge.request):
        raise _unreadable("request")
    if challenge.opaque is not None and not is_b64url(challenge.opaque):
        raise _unreadable("opaque")


def _unreadable(name: str) -> ProtocolError:
    return ProtocolError(f"The {name} echoed is not base64url: echo it as it came.", "credential")
