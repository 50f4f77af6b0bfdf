"""Problem documents (RFC 9457): why a request was not served, precisely enough for an agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpp_asgi.protocol.encoding import MAX_OBJECT_BYTES, encode_json, parse_object
from mpp_asgi.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE_URI = "https://paymentauth.org/problems/"
CONTENT_TYPE = "application/problem+json"

_OWN_MEMBERS = frozenset({"type", "title", "status", "detail", "challengeId"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document.

    `slug` is the type below `BASE_URI`, or a whole URI for a type from elsewhere. `detail` says
    what to change and carries no internals. `extra` holds further members.
    """

    slug: str
    title: str
    status: int
    detail: str
    challenge_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The type as a URI."""
        return self.slug if ":" in self.slug else BASE_URI + self.slug

    def to_json(self) -> bytes:
        """The body to send as `CONTENT_TYPE`.

        Raises:
            ProtocolError: JSON cannot carry `extra`, or it would replace a member of the document.
        """
        clash = _OWN_MEMBERS.intersection(self.extra)
        if clash:
            raise ProtocolError(
                f"The problem's extra members would replace {min(clash)!r}.", "problem"
            )
        body: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.challenge_id is not None:
            body["challengeId"] = self.challenge_id
        body.update(self.extra)
        return encode_json(body, name="problem", part="problem")

    @classmethod
    def from_json(cls, data: bytes, *, status: int = 402) -> Problem:
        """The problem document in a response body.

        `status` is the response's, for documents that leave it out. Members of the wrong type
        count as absent, as RFC 9457 asks; an absent type is ``about:blank``.

        Raises:
            ProtocolError: the body is not a JSON object of at most 64 KiB.
        """
        if len(data) > MAX_OBJECT_BYTES:
            raise ProtocolError(f"The problem is longer than {MAX_OBJECT_BYTES} bytes.", "problem")
        body = parse_object(data, name="problem", part="problem")
        uri = _text(body, "type") or "about:blank"
        stated = body.get("status")
        return cls(
            slug=uri.removeprefix(BASE_URI),
            title=_text(body, "title") or "",
            status=stated if type(stated) is int else status,
            detail=_text(body, "detail") or "",
            challenge_id=_text(body, "challengeId"),
            extra={name: value for name, value in body.items() if name not in _OWN_MEMBERS},
        )


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One entry of the catalogue, from which problems are made by `because`."""

    slug: str
    status: int

    @property
    def title(self) -> str:
        """The slug's last part in title case."""
        return self.slug.rpartition("/")[2].replace("-", " ").title()

    @property
    def uri(self) -> str:
        """The type as a URI."""
        return BASE_URI + self.slug

    def because(
        self,
        detail: str,
        *,
        challenge_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Problem:
        """A problem of this type; `detail` is a sentence that tells the payer what to change."""
        return Problem(self.slug, self.title, self.status, detail, challenge_id, extra or {})


PAYMENT_REQUIRED = ProblemType("payment-required", 402)
PAYMENT_INSUFFICIENT = ProblemType("payment-insufficient", 402)
PAYMENT_EXPIRED = ProblemType("payment-expired", 402)
VERIFICATION_FAILED = ProblemType("verification-failed", 402)
MALFORMED_CREDENTIAL = ProblemType("malformed-credential", 402)
INVALID_CHALLENGE = ProblemType("invalid-challenge", 402)
SETTLEMENT_FAILED = ProblemType("settlement-failed", 402)
INVALID_PAYLOAD = ProblemType("invalid-payload", 402)
SPONSORSHIP_EXHAUSTED = ProblemType("sponsorship-exhausted", 402)
"""Ours, beside the drafts': the payer has to pay the network's fee itself for now."""
METHOD_UNSUPPORTED = ProblemType("method-unsupported", 400)
BAD_REQUEST = ProblemType("bad-request", 400)

SESSION_INVALID_SIGNATURE = ProblemType("session/invalid-signature", 402)
SESSION_SIGNER_MISMATCH = ProblemType("session/signer-mismatch", 402)
SESSION_AMOUNT_EXCEEDS_DEPOSIT = ProblemType("session/amount-exceeds-deposit", 402)
SESSION_DELTA_TOO_SMALL = ProblemType("session/delta-too-small", 402)
SESSION_INSUFFICIENT_BALANCE = ProblemType("session/insufficient-balance", 402)
SESSION_CHALLENGE_NOT_FOUND = ProblemType("session/challenge-not-found", 402)
SESSION_CHANNEL_NOT_FOUND = ProblemType("session/channel-not-found", 410)
SESSION_CHANNEL_FINALIZED = ProblemType("session/channel-finalized", 410)
SESSION_TRANSACTION_REVERTED = ProblemType("session/transaction-reverted", 409)

CATALOGUE = (
    PAYMENT_REQUIRED,
    PAYMENT_INSUFFICIENT,
    PAYMENT_EXPIRED,
    VERIFICATION_FAILED,
    MALFORMED_CREDENTIAL,
    INVALID_CHALLENGE,
    SETTLEMENT_FAILED,
    INVALID_PAYLOAD,
    SPONSORSHIP_EXHAUSTED,
    METHOD_UNSUPPORTED,
    BAD_REQUEST,
    SESSION_INVALID_SIGNATURE,
    SESSION_SIGNER_MISMATCH,
    SESSION_AMOUNT_EXCEEDS_DEPOSIT,
    SESSION_DELTA_TOO_SMALL,
    SESSION_INSUFFICIENT_BALANCE,
    SESSION_CHALLENGE_NOT_FOUND,
    SESSION_CHANNEL_NOT_FOUND,
    SESSION_CHANNEL_FINALIZED,
    SESSION_TRANSACTION_REVERTED,
)
"""Every problem type of the Payment scheme, and ours."""


def unavailable(detail: str) -> Problem:
    """Our fault, not the payer's: 503, which no agent answers by paying again.

    The scheme has no type for it, so the type is ``about:blank`` (RFC 9457, section 4.2.1).
    """
    return Problem("about:blank", "Service Unavailable", 503, detail)


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None
