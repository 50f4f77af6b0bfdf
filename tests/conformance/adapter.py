"""The conformance adapter: one JSON request on stdin, one JSON response on stdout.

Speaks the ABI of the public cross-SDK suite (mpp-tools, `conformance/HARNESS_SPEC.md`), which
runs it as `adapter.json` says. Exit status 0 means that a response was written.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import httpx

from mpp_asgi.protocol import (
    Challenge,
    Credential,
    ProtocolError,
    Receipt,
    Secrets,
    arrange,
    b64url_decode,
    b64url_encode,
    digest_matches,
    encode_object,
)
from mpp_asgi.protocol.headers import ACCEPT_PAYMENT, AUTHORIZATION, WWW_AUTHENTICATE

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONAL = ("expires", "description", "digest", "opaque", "header")


def parse_challenge(given: dict[str, Any]) -> dict[str, Any]:
    return shown_challenge(Challenge.from_header(given["header"]))


def format_challenge(given: dict[str, Any]) -> dict[str, Any]:
    return {"header": meant_challenge(given).to_header()}


def parse_credential(given: dict[str, Any]) -> dict[str, Any]:
    credential = Credential.from_header(given["header"])
    shown = {
        "challenge": shown_challenge(credential.challenge),
        "payload": credential.payload,
        "source": credential.source,
    }
    return {name: value for name, value in shown.items() if value is not None}


def format_credential(given: dict[str, Any]) -> dict[str, Any]:
    challenge = meant_challenge(given["challenge"])
    return {"header": Credential(challenge, given["payload"], given.get("source")).to_header()}


def parse_receipt(given: dict[str, Any]) -> dict[str, Any]:
    receipt = Receipt.from_header(given["header"])
    shown = {
        "status": receipt.status,
        "method": receipt.method,
        "timestamp": receipt.timestamp,
        "reference": receipt.reference,
        "externalId": receipt.external_id,
        "extra": receipt.extra.get("extra"),
    }
    return {name: value for name, value in shown.items() if value is not None}


def format_receipt(given: dict[str, Any]) -> dict[str, Any]:
    receipt = Receipt(
        method=given.get("method", ""),
        reference=given["reference"],
        timestamp=given["timestamp"],
        status=given["status"],
        external_id=given.get("externalId"),
        extra={"extra": given["extra"]} if "extra" in given else {},
    )
    return {"header": receipt.to_header()}


def encode_text(given: dict[str, Any]) -> dict[str, Any]:
    return {"text": b64url_encode(given["text"].encode("utf-8"))}


def decode_text(given: dict[str, Any]) -> dict[str, Any]:
    return {"text": b64url_decode(given["text"]).decode("utf-8")}


def generate_id(given: dict[str, Any]) -> dict[str, Any]:
    made = Secrets(given["secretKey"]).challenge_id(
        realm=given["realm"],
        method=given["method"],
        intent=given["intent"],
        request=encode_object(given["request"]),
        expires=given.get("expires"),
        digest=given.get("digest"),
        opaque=given.get("opaque"),
        header=given.get("header"),
    )
    return {"id": made}


def request_paying(
    given: dict[str, Any],
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    transport: httpx.BaseTransport | None = None,
) -> dict[str, Any]:
    """One HTTP request, paid for if it has to be, with the payload that is given.

    The payer sends one credential at most: to the origin it was asked to call, in TLS or on
    loopback, before the challenge expires, and with the body the challenge is for. Where there
    is no challenge it may pay it returns the 402.
    """
    body = None if given["body"] is None else given["body"].encode("utf-8")
    with httpx.Client(transport=transport, timeout=10, trust_env=False) as client:
        asked = client.build_request(
            given["method"], given["url"], headers=given["headers"], content=body
        )
        response = client.send(asked, follow_redirects=True)
        if given["mode"] != "plain" and response.status_code == httpx.codes.PAYMENT_REQUIRED:
            refuse_other_origins(asked.url, response.url)
            credential = meant_credential(given, response, now())
            if credential is not None:
                paid = response.request
                paid.headers[credential.challenge.header or AUTHORIZATION] = credential.to_header()
                response = client.send(paid)
    return {
        "status": response.status_code,
        "headers": dict(response.headers),
        "body": response.text,
    }


def meant_credential(
    given: dict[str, Any], response: httpx.Response, now: datetime
) -> Credential | None:
    """The credential for the best liked challenge that may be paid, altered as `mode` says."""
    try:
        offered = Challenge.all_from_headers(response.headers.get_list(WWW_AUTHENTICATE))
    except ProtocolError:
        return None
    liked = arrange(
        response.request.headers.get(ACCEPT_PAYMENT),
        [challenge for challenge in offered if payable(challenge, response.request.content, now)],
        key=lambda challenge: (challenge.method, challenge.intent),
    )
    if not liked:
        return None
    challenge = liked[0]
    if given["mode"] == "mismatched_request":
        altered = {**challenge.request_object(), "amount": "1"}
        challenge = replace(challenge, request=encode_object(altered))
    elif given["mode"] == "invalid_challenge_id":
        challenge = replace(challenge, id="invalid-challenge-id")
    return Credential(challenge, given["payment"]["payload"], given["payment"].get("source"))


def payable(challenge: Challenge, body: bytes, now: datetime) -> bool:
    """Whether a payer may answer this challenge at all."""
    try:
        expires = challenge.expires_at()
    except ProtocolError:
        return False
    if expires is not None and expires <= now:
        return False
    return challenge.digest is None or digest_matches(challenge.digest, body)


def refuse_other_origins(asked: httpx.URL, answered: httpx.URL) -> None:
    """Raise PermissionError where a credential may not go."""
    if (asked.scheme, asked.host, asked.port) != (answered.scheme, answered.host, answered.port):
        raise PermissionError(
            "Refusing to send payment credential across redirect to another origin"
        )
    if answered.scheme != "https" and not is_loopback(answered.host):
        raise PermissionError("Refusing to send payment credential over plain HTTP")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def shown_challenge(challenge: Challenge) -> dict[str, Any]:
    """A challenge as the suite writes it: `request` as an object, `opaque` as on the wire."""
    shown: dict[str, Any] = {
        "id": challenge.id,
        "realm": challenge.realm,
        "method": challenge.method,
        "intent": challenge.intent,
        "request": challenge.request_object(),
    }
    for name in OPTIONAL:
        value = getattr(challenge, name)
        if value is not None:
            shown[name] = value
    return shown


def meant_challenge(given: dict[str, Any]) -> Challenge:
    """The challenge the suite means."""
    return Challenge(
        id=given["id"],
        realm=given["realm"],
        method=given["method"],
        intent=given["intent"],
        request=encode_object(given["request"]),
        **{name: given.get(name) for name in OPTIONAL},
    )


OPERATIONS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "challenge.parse": (parse_challenge, "parse_error"),
    "challenge.format": (format_challenge, "format_error"),
    "credential.parse": (parse_credential, "parse_error"),
    "credential.format": (format_credential, "format_error"),
    "receipt.parse": (parse_receipt, "parse_error"),
    "receipt.format": (format_receipt, "format_error"),
    "base64url.encode": (encode_text, "encoding_error"),
    "base64url.decode": (decode_text, "encoding_error"),
    "challenge.id": (generate_id, "generation_error"),
    "http.payment_request": (request_paying, "http_error"),
}


def respond(request: dict[str, Any]) -> dict[str, Any]:
    """The response to one request of the ABI."""
    name = request["op"]
    if name not in OPERATIONS:
        return failure("unsupported_operation", f"{name} is not supported")
    operation, error_type = OPERATIONS[name]
    try:
        return {"ok": True, "value": operation(request["input"])}
    except (ValueError, KeyError, OSError, httpx.HTTPError) as error:
        return failure(error_type, str(error))


def failure(error_type: str, message: str) -> dict[str, Any]:
    return {"ok": False, "error": {"type": error_type, "message": message}}


if __name__ == "__main__":
    print(json.dumps(respond(json.load(sys.stdin))))
