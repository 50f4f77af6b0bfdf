"""The public cross-SDK vectors, every scenario of them, through the adapter and directly."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi.protocol import Challenge, Secrets, b64url_encode, content_digest, encode_object
from mpp_asgi.protocol.binding import bound_slots

if TYPE_CHECKING:
    from collections.abc import Callable

    Call = Callable[[str, dict[str, Any]], dict[str, Any]]

# The suite's reference server signs with this text, which is too short to be one of our secrets.
REFERENCE_SECRET = b"conformance-secret"


def wire_of(scenario: dict[str, Any]) -> str:
    wire = scenario["wire"]
    if isinstance(wire, dict):
        return str(wire["prefix"] + wire["repeat"] * wire["count"] + wire.get("suffix", ""))
    return str(wire)


def check(call: Call, kind: str, scenario: dict[str, Any]) -> None:
    """Parse, format and round trip, as the scenario asks."""
    tests = scenario["tests"]
    if tests.get("parse") is True:
        parsed = call(f"{kind}.parse", {"header": wire_of(scenario)})
        assert parsed == {"ok": True, "value": scenario["object"]}
    elif "parse" in tests:
        parsed = call(f"{kind}.parse", {"header": wire_of(scenario)})
        assert parsed["error"]["type"] == tests["parse"]["error_type"]
    if tests.get("format") is True:
        # Not only the same meaning: the same bytes.
        formatted = call(f"{kind}.format", scenario["object"])
        assert formatted == {"ok": True, "value": {"header": wire_of(scenario)}}
    elif "format" in tests:
        formatted = call(f"{kind}.format", scenario["object"])
        assert formatted["error"]["type"] == tests["format"]["error_type"]


@pytest.mark.public("www-authenticate", "scenarios")
def test_challenges(call: Call, scenario: dict[str, Any]) -> None:
    check(call, "challenge", scenario)


@pytest.mark.public("authorization", "scenarios")
def test_credentials(call: Call, scenario: dict[str, Any]) -> None:
    check(call, "credential", scenario)


@pytest.mark.public("base64url", "scenarios")
def test_base64url(call: Call, scenario: dict[str, Any]) -> None:
    decoded = call("base64url.decode", {"text": scenario["encoded"]})
    if scenario["tests"]["parse"] is not True:
        assert decoded["error"]["type"] == scenario["tests"]["parse"]["error_type"]
        return
    assert decoded == {"ok": True, "value": {"text": scenario["decoded"]}}
    encoded = call("base64url.encode", {"text": scenario["decoded"]})
    assert encoded == {"ok": True, "value": {"text": scenario["encoded"]}}


@pytest.mark.public("challenge-id", "scenarios")
def test_challenge_ids(call: Call, scenario: dict[str, Any]) -> None:
    given = scenario["input"]
    made = call("challenge.id", given)
    if "tests" in scenario:
        assert made["error"]["type"] == scenario["tests"]["generate"]["error_type"]
        assert given["secretKey"] not in made["error"]["message"]
        return
    assert made == {"ok": True, "value": {"id": scenario["expected"]}}
    challenge = Challenge(
        id=scenario["expected"],
        realm=given["realm"],
        method=given["method"],
        intent=given["intent"],
        request=encode_object(given["request"]),
        **{name: given.get(name) for name in ("expires", "digest", "opaque", "header")},
    )
    assert Secrets(given["secretKey"]).authentic(challenge)


def test_ids_of_the_reference_server(public_vectors: Callable[[str], dict[str, Any]]) -> None:
    cases = {case["name"]: case for case in public_vectors("flows")["cases"]}
    checked = 0
    for result in public_vectors("golden-results")["results"]:
        case = cases[result["name"]]
        if "challenge" not in result or {"mismatch_request", "invalid_challenge_id"} & set(case):
            continue  # no challenge, or one that the client altered
        challenge = result["challenge"]
        slots = bound_slots(
            realm=challenge["realm"],
            method=challenge["method"],
            intent=challenge["intent"],
            request=encode_object(challenge["request"]),
            expires=challenge["request"]["expires"],
            digest=content_digest(case["body"].encode()) if "digest_binding" in case else None,
        )
        made = b64url_encode(hmac.digest(REFERENCE_SECRET, slots, "sha256"))
        assert made == challenge["id"], case["name"]
        checked += 1
    assert checked > 20
