"""Issuing challenges by the thousand: everything one offer's challenges share, computed once."""

from __future__ import annotations

import re
from typing import NamedTuple

from mpp_asgi.protocol.auth_syntax import quoted
from mpp_asgi.protocol.binding import Secrets, bound_slots
from mpp_asgi.protocol.challenge import Challenge, check_offer
from mpp_asgi.protocol.headers import SCHEME, is_default_credential_header

# Needs no quoting, and cannot shift the slots the id is made of.
_PLAIN = re.compile(r"[ !#-\[\]-{}~]*")


class IssuedChallenge(NamedTuple):
    """A challenge ready to send: its id, and the `WWW-Authenticate` field value."""

    id: str
    header_value: str


class ChallengeTemplate:
    """One offer, of which each challenge differs only in expiry, body digest and binding.

    What it issues is, byte for byte, what `Challenge.to_header` writes with the id that
    `Secrets.challenge_id` makes.
    """

    __slots__ = ("_bound_header", "_bound_offer", "_offer", "_shown_header", "_shown_offer")

    def __init__(
        self,
        realm: str,
        method: str,
        intent: str,
        request: str,
        *,
        description: str | None = None,
        header: str | None = None,
    ) -> None:
        """Take the parameters of `Challenge` that do not change.

        Raises:
            ProtocolError: `Challenge.to_header` or `Secrets.challenge_id` would refuse them.
        """
        check_offer(realm, method, intent, request, header)
        bound_slots(realm=realm, method=method, intent=intent, request=request, header=header)
        self._offer = (realm, method, intent, request, description, header)
        self._bound_offer = f"{realm}|{method}|{intent}|{request}|"
        self._bound_header = (
            "|" if header is None or is_default_credential_header(header) else f"|{header}|"
        )
        self._shown_offer = "".join(
            f", {name}={quoted(value, name=name, part='challenge')}"
            for name, value in (
                ("realm", realm),
                ("method", method),
                ("intent", intent),
                ("request", request),
                ("description", description),
            )
            if value is not None
        )
        self._shown_header = "" if header is None else f', header="{header}"'

    @property
    def request(self) -> str:
        """The request object, encoded."""
        return self._offer[3]

    def with_request(self, request: str) -> ChallengeTemplate:
        """The same offer with another request object.

        Raises:
            ProtocolError: as the constructor.
        """
        realm, method, intent, _, description, header = self._offer
        return ChallengeTemplate(
            realm, method, intent, request, description=description, header=header
        )

    def issue(
        self, secrets: Secrets, *, expires: str, digest: str | None, opaque: str | None
    ) -> IssuedChallenge:
        """A fresh challenge, signed with the first of `secrets`.

        `expires` is an RFC 3339 date-time, `digest` an RFC 9530 digest, and `opaque` what
        `encode_object` made of a flat object of strings; its content is not looked at again.

        Raises:
            ProtocolError: a text cannot be bound, or cannot stand in a header.
        """
        if not _PLAIN.fullmatch(f"{expires}{digest}{opaque}"):
            return self._issue_quoted(secrets, expires, digest, opaque)
        bound = f"{self._bound_offer}{expires}|{digest or ''}{self._bound_header}{opaque or ''}"
        challenge_id = secrets.sign(bound.encode())
        shown_digest = "" if digest is None else f', digest="{digest}"'
        shown_opaque = "" if opaque is None else f', opaque="{opaque}"'
        return IssuedChallenge(
            challenge_id,
            f'{SCHEME} id="{challenge_id}"{self._shown_offer}{shown_digest}'
            f', expires="{expires}"{self._shown_header}{shown_opaque}',
        )

    def _issue_quoted(
        self, secrets: Secrets, expires: str, digest: str | None, opaque: str | None
    ) -> IssuedChallenge:
        """The same for texts that need quoting, or refusing."""
        realm, method, intent, request, description, header = self._offer
        challenge_id = secrets.challenge_id(
            realm=realm,
            method=method,
            intent=intent,
            request=request,
            expires=expires,
            digest=digest,
            opaque=opaque,
            header=header,
        )
        challenge = Challenge(
            challenge_id,
            realm,
            method,
            intent,
            request,
            expires,
            digest,
            description,
            opaque,
            header,
        )
        return IssuedChallenge(challenge_id, challenge.to_header())
