"""Challenges: what a 402 offers in `WWW-Authenticate` (core draft, section 5.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpp_asgi.protocol.auth_syntax import AuthElement, elements, quoted
from mpp_asgi.protocol.encoding import decode_object
from mpp_asgi.protocol.errors import ProtocolError
from mpp_asgi.protocol.headers import SCHEME
from mpp_asgi.protocol.timestamps import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

REQUIRED = ("id", "realm", "method", "intent", "request")
OPTIONAL = ("description", "digest", "expires", "header", "opaque")

_METHOD = re.compile(r"[a-z]+")
_INTENT = re.compile(r"[A-Za-z0-9-]+")
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True)
class Challenge:
    """One way to pay, bound by its `id`.

    `request` and `opaque` are the base64url texts exactly as on the wire: they are what the id
    covers, and they are never encoded again. `expires` is an RFC 3339 date-time, `digest` the
    RFC 9530 digest of the request body the challenge is for, and `header` the field the
    credential is to travel in when that is not `Authorization`.
    """

    id: str
    realm: str
    method: str
    intent: str
    request: str
    expires: str | None = None
    digest: str | None = None
    description: str | None = None
    opaque: str | None = None
    header: str | None = None

    @classmethod
    def from_header(cls, value: str) -> Challenge:
        """The one Payment challenge of a `WWW-Authenticate` field value.

        Raises:
            ProtocolError: there is none, or there are several (use `all_from_headers`), or it is
                malformed: a required parameter is missing or empty, a parameter is given twice, or
                `request` or `opaque` does not hold a JSON object.
        """
        found = _payment_elements([value])
        if len(found) != 1:
            raise ProtocolError(
                f"The field holds {len(found) or 'no'} Payment challenges; "
                "one was expected, beginning with 'Payment '.",
                "challenge",
            )
        return _from_element(found[0])

    @classmethod
    def all_from_headers(cls, values: Iterable[str]) -> list[Challenge]:
        """The Payment challenges of all `WWW-Authenticate` field values of a response, in order.

        Each value may be several challenges merged with commas. Other schemes are passed over,
        and so are malformed challenges: a payer that understands one of them can pay.

        Raises:
            ProtocolError: there are Payment challenges and all of them are malformed.
        """
        challenges = []
        first_error: ProtocolError | None = None
        for element in _payment_elements(values):
            try:
                challenges.append(_from_element(element))
            except ProtocolError as error:
                first_error = first_error or error
        if first_error is not None and not challenges:
            raise first_error
        return challenges

    def to_header(self) -> str:
        """The challenge as a `WWW-Authenticate` field value.

        Raises:
            ProtocolError: no reader would take it: a required parameter is empty, the method is
                not lower-case letters, a text holds control characters, or `request` or `opaque`
                does not hold a JSON object.
        """
        check_offer(self.realm, self.method, self.intent, self.request, self.header)
        if not self.id:
            raise ProtocolError("The id is empty.", "challenge")
        if self.opaque is not None:
            self.opaque_object()
        params = ", ".join(
            f"{name}={quoted(value, name=name, part='challenge')}"
            for name in (*REQUIRED, *OPTIONAL)
            if (value := getattr(self, name)) is not None
        )
        return f"{SCHEME} {params}"

    def request_object(self) -> dict[str, Any]:
        """What `request` holds.

        Raises:
            ProtocolError: it does not hold a JSON object.
        """
        return decode_object(self.request, name="request", part="challenge")

    def opaque_object(self) -> dict[str, str]:
        """What `opaque` holds, empty when there is none.

        Raises:
            ProtocolError: it does not hold a JSON object whose values are strings.
        """
        if self.opaque is None:
            return {}
        value = decode_object(self.opaque, name="opaque", part="challenge")
        if not all(isinstance(text, str) for text in value.values()):
            raise ProtocolError("The opaque is not a flat object of strings.", "challenge")
        return value

    def expires_at(self) -> datetime | None:
        """When the challenge ends, in UTC, or None when it does not say.

        Raises:
            ProtocolError: `expires` is not an RFC 3339 date-time.
        """
        return None if self.expires is None else parse_timestamp(self.expires)


def check_offer(realm: str, method: str, intent: str, request: str, header: str | None) -> None:
    """Check what every challenge of an offer shares.

    Raises:
        ProtocolError: it may not be issued, whatever the id.
    """
    if not realm:
        raise ProtocolError("The realm is empty.", "challenge")
    if not _METHOD.fullmatch(method):
        raise ProtocolError("The method is not a name of lower-case letters.", "challenge")
    if not _INTENT.fullmatch(intent):
        raise ProtocolError("The intent is not a name of letters, digits and '-'.", "challenge")
    decode_object(request, name="request", part="challenge")
    _check_field_name(header)


def _payment_elements(values: Iterable[str]) -> list[AuthElement]:
    return [
        element
        for value in values
        for element in elements(value)
        if element.scheme.lower() == "payment"
    ]


def _from_element(element: AuthElement) -> Challenge:
    params: dict[str, str | None] = {}
    for name, value in element.params:
        if name in params:
            raise ProtocolError(f"The parameter {name[:32]!r} is given twice.", "challenge")
        params[name] = value
    known: dict[str, str] = {}
    for name in (*REQUIRED, *OPTIONAL):
        if name not in params:
            continue
        value = params[name]
        if value is None:
            raise ProtocolError(f"The quoted string of {name!r} never ends.", "challenge")
        known[name] = value
    for name in REQUIRED:
        if not known.get(name):
            raise ProtocolError(f"The parameter {name!r} is missing or empty.", "challenge")
    challenge = Challenge(**known)
    challenge.request_object()
    challenge.opaque_object()
    _check_field_name(challenge.header)
    return challenge


def _check_field_name(header: str | None) -> None:
    if header is not None and not _FIELD_NAME.fullmatch(header):
        raise ProtocolError("The header is not the name of a header field.", "challenge")
