"""The adapter as the public suite runs it, and its paying client against a server on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mpp_asgi.protocol import Challenge, Credential, Receipt, encode_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    Call = Callable[[str, dict[str, Any]], dict[str, Any]]

REQUEST = {"amount": "70", "currency": "CUSD", "expires": "2098-01-01T00:00:00Z", "recipient": "GA"}
CHALLENGE = Challenge("i9", "shop", "tempo", "charge", encode_object(REQUEST))
SHOWN = {"id": "i9", "realm": "shop", "method": "tempo", "intent": "charge", "request": REQUEST}
PAYLOAD = {"type": "transaction", "signature": "0x01"}
RECEIPT = {
    "status": "success",
    "method": "tempo",
    "timestamp": "2026-11-22T08:00:00Z",
    "reference": "r1",
    "externalId": "order-7",
    "extra": {"spent": "5"},
}
CASES: list[dict[str, Any]] = [
    {"name": "tea", "path": "/tea", "request": REQUEST, "expected_signature": "0x01"},
    {
        "name": "mail",
        "path": "/mail",
        "request": REQUEST,
        "expected_signature": "0x01",
        "verify_body_preserved": True,
        "digest_binding": True,
    },
    {
        "name": "late",
        "path": "/late",
        "request": {**REQUEST, "expires": "2020-01-01T00:00:00Z"},
        "expected_signature": "0x01",
    },
    {
        "name": "broken",
        "path": "/broken",
        "request": REQUEST,
        "invalid_www_authenticate": True,
    },
    {"name": "away", "path": "/away", "redirect_to": "/tea"},
]

OPERATIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "challenge.parse": ({"header": CHALLENGE.to_header()}, SHOWN),
    "challenge.format": (SHOWN, {"header": CHALLENGE.to_header()}),
    "credential.parse": (
        {"header": Credential(CHALLENGE, PAYLOAD).to_header()},
        {"challenge": SHOWN, "payload": PAYLOAD},
    ),
    "credential.format": (
        {"challenge": SHOWN, "payload": PAYLOAD, "source": "did:x"},
        {"header": Credential(CHALLENGE, PAYLOAD, "did:x").to_header()},
    ),
    "receipt.parse": (
        {
            "header": Receipt(
                "tempo",
                "r1",
                "2026-11-22T08:00:00Z",
                external_id="order-7",
                extra={"extra": {"spent": "5"}},
            ).to_header()
        },
        RECEIPT,
    ),
    "receipt.format": (
        {name: RECEIPT[name] for name in ("status", "method", "timestamp", "reference")},
        {"header": Receipt("tempo", "r1", "2026-11-22T08:00:00Z").to_header()},
    ),
    "base64url.encode": ({"text": "à ☕?>"}, {"text": "w6Ag4piVPz4"}),
    "base64url.decode": ({"text": "w6Ag4piVPz4"}, {"text": "à ☕?>"}),
    "challenge.id": (
        {"secretKey": "k" * 32, "realm": "r", "method": "m", "intent": "i", "request": {}},
        {"id": "x0vslKwlgDA2H4lNp4xUcQLvv4MdNF6n7Q7tt2TjOi8"},
    ),
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "challenge.parse": ({"header": "Payment"}, "parse_error"),
    "challenge.format": ({**SHOWN, "description": "a\nb"}, "format_error"),
    "credential.parse": ({"header": "Payment e30"}, "parse_error"),
    "credential.format": ({"challenge": {**SHOWN, "id": ""}, "payload": {}}, "format_error"),
    "receipt.parse": ({"header": "e30"}, "parse_error"),
    "receipt.format": ({**RECEIPT, "status": "failed"}, "format_error"),
    "base64url.encode": ({"text": "\ud800"}, "encoding_error"),
    "base64url.decode": ({"text": "_w"}, "encoding_error"),
    "challenge.id": ({**OPERATIONS["challenge.id"][0], "secretKey": "k"}, "generation_error"),
    "http.payment_request": (
        {
            "url": "http://127.0.0.1:1/",
            "method": "GET",
            "headers": {},
            "body": None,
            "payment": {"payload": {}},
            "mode": "payment",
        },
        "http_error",
    ),
}


@pytest.fixture(scope="module")
def origin(
    selling: Callable[[list[dict[str, Any]]], AbstractContextManager[str]],
) -> Iterator[str]:
    with selling(CASES) as address:
        yield address


def run(adapter_path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """One run of the adapter, as the suite's runner does it."""
    manifest = json.loads(adapter_path.with_name("adapter.json").read_text("utf-8"))
    command = [sys.executable if part == "python" else part for part in manifest["command"]]
    done = subprocess.run(
        command,
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=adapter_path.parent / manifest["cwd"],
    )
    assert done.stdout.count("\n") == 1
    response: dict[str, Any] = json.loads(done.stdout)
    return response


def paid_request(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "url": url,
        "method": "GET",
        "headers": {},
        "body": None,
        "payment": {"payload": PAYLOAD, "source": None},
        "mode": "payment",
        **changes,
    }


def test_every_operation_as_a_process(adapter_path: Path, origin: str) -> None:
    for operation, (given, value) in OPERATIONS.items():
        response = run(adapter_path, {"schema": 1, "op": operation, "input": given})
        assert response == {"ok": True, "value": value}, operation
    response = run(
        adapter_path,
        {
            "schema": 1,
            "op": "http.payment_request",
            "input": paid_request(f"{origin}/tea"),
            "context": {"caseName": "tea", "timeoutMs": 10_000},
        },
    )
    assert response["value"]["status"] == 200
    assert json.loads(response["value"]["body"])["name"] == "tea"


def test_the_manifest_declares_every_operation(adapter: Any, adapter_path: Path) -> None:
    manifest = json.loads(adapter_path.with_name("adapter.json").read_text("utf-8"))
    assert manifest["capabilities"] == list(adapter.OPERATIONS)
    assert set(adapter.OPERATIONS) == {*OPERATIONS, "http.payment_request"} == set(REFUSED)


@pytest.mark.parametrize("operation", REFUSED)
def test_errors_have_the_type_the_suite_expects(call: Call, operation: str) -> None:
    given, error_type = REFUSED[operation]
    response = call(operation, given)
    assert not response["ok"]
    assert response["error"]["type"] == error_type
    assert response["error"]["message"]


def test_unknown_operations_are_said_to_be_unsupported(call: Call) -> None:
    assert call("tea.brew", {})["error"]["type"] == "unsupported_operation"


@pytest.mark.parametrize(
    ("mode", "status", "problem"),
    [
        ("payment", 200, None),
        ("plain", 402, "payment-required"),
        ("invalid_payload", 402, "verification-failed"),
        ("mismatched_request", 402, "invalid-challenge"),
        ("invalid_challenge_id", 402, "invalid-challenge"),
    ],
)
def test_modes(call: Call, origin: str, mode: str, status: int, problem: str | None) -> None:
    payload = {**PAYLOAD, "signature": "no"} if mode == "invalid_payload" else PAYLOAD
    response = call(
        "http.payment_request",
        paid_request(f"{origin}/tea", mode=mode, payment={"payload": payload}),
    )
    value = response["value"]
    assert value["status"] == status
    assert ("payment-receipt" in value["headers"]) == (problem is None)
    if problem is not None:
        assert json.loads(value["body"])["type"].endswith(f"/{problem}")


def test_the_body_is_sent_again_with_the_credential(call: Call, origin: str) -> None:
    response = call(
        "http.payment_request", paid_request(f"{origin}/mail", method="POST", body='{"a": "é"}')
    )
    assert json.loads(response["value"]["body"])["received_body"] == '{"a": "é"}'


def test_preferences_are_sent_as_given(call: Call, origin: str) -> None:
    for headers in ({}, {"accept-payment": "tempo/*, card/charge;q=0.1"}):
        response = call("http.payment_request", paid_request(f"{origin}/tea", headers=headers))
        observed = json.loads(response["value"]["body"])["accept_payment_observed"]
        assert observed == headers.get("accept-payment")


@pytest.mark.parametrize("path", ["/late", "/broken"])
def test_a_challenge_that_may_not_be_paid_is_handed_back(
    call: Call, origin: str, path: str
) -> None:
    value = call("http.payment_request", paid_request(origin + path))["value"]
    assert value["status"] == 402
    assert json.loads(value["body"])["type"].endswith("/payment-required")


def test_a_credential_is_not_sent_to_another_origin(call: Call, origin: str) -> None:
    response = call("http.payment_request", paid_request(f"{origin}/away"))
    assert response["error"]["type"] == "http_error"
    assert "Refusing to send payment credential across redirect" in response["error"]["message"]
    plain = call("http.payment_request", paid_request(f"{origin}/away", mode="plain"))
    assert plain["value"]["status"] == 402


class Far:
    """A server elsewhere, which loopback cannot stand in for; keeps what it was sent."""

    def __init__(self, *challenges: Challenge) -> None:
        self.offered = [challenge.to_header() for challenge in challenges]
        self.seen: list[httpx.Headers] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.headers.copy())
        if {"authorization", "payment-authorization"} & set(request.headers):
            return httpx.Response(200)
        return httpx.Response(402, headers=[("WWW-Authenticate", text) for text in self.offered])


def paying(adapter: Any, far: Far, given: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = adapter.request_paying(
        given, now=lambda: datetime(2026, 1, 1, tzinfo=UTC), transport=httpx.MockTransport(far)
    )
    return value


def test_a_credential_is_not_sent_in_the_clear(adapter: Any) -> None:
    for url in ("http://shop.test/tea", "http://192.0.2.7/tea"):
        far = Far(CHALLENGE)
        with pytest.raises(PermissionError, match="plain HTTP"):
            paying(adapter, far, paid_request(url))
        assert len(far.seen) == 1
    for url in ("https://shop.test/tea", "http://localhost/tea", "http://[::1]/tea"):
        assert paying(adapter, Far(CHALLENGE), paid_request(url))["status"] == 200


def test_the_preferred_challenge_is_paid_in_the_field_it_names(adapter: Any) -> None:
    liked = Challenge("i2", "shop", "stellar", "charge", "e30", header="Payment-Authorization")
    other_body = Challenge("i3", "shop", "best", "charge", "e30", digest="sha-256=:AAAA:")
    far = Far(CHALLENGE, liked, other_body)
    headers = {"Accept-Payment": "tempo/charge;q=0.4, stellar/*;q=0.5, best/*"}
    paying(adapter, far, paid_request("https://shop.test/tea", headers=headers))
    first, paid = far.seen
    assert "payment-authorization" not in first
    assert Credential.from_header(paid["payment-authorization"]).challenge == liked
    assert "authorization" not in paid
    assert paid["accept-payment"] == first["accept-payment"] == headers["Accept-Payment"]
