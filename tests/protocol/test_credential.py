"""Credentials: what is read, what is refused with advice, and which of a request's there are."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import (
    Challenge,
    Credential,
    ProtocolError,
    encode_object,
    payment_credentials,
)
from mpp_asgi.protocol.credential import MAX_CREDENTIAL_BYTES

ECHO = {"id": "i1", "realm": "shop", "method": "stellar", "intent": "charge", "request": "e30"}
BODY = {"challenge": ECHO, "payload": {"type": "transaction", "transaction": "AAAA"}}


def header(body: object) -> str:
    text = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    return f"Payment {text}"


@given(st.from_type(Credential))
def test_what_is_written_is_read(credential: Credential) -> None:
    assert Credential.from_header(credential.to_header()) == credential


def test_members_are_read() -> None:
    credential = Credential.from_header(header({**BODY, "source": "did:pkh:stellar:testnet:GA"}))
    assert credential.challenge == Challenge("i1", "shop", "stellar", "charge", "e30")
    assert credential.payload == {"type": "transaction", "transaction": "AAAA"}
    assert credential.source == "did:pkh:stellar:testnet:GA"


def test_every_parameter_of_the_challenge_is_echoed() -> None:
    optional = {
        "expires": "2026-11-22T08:00:00Z",
        "digest": "sha-256=:YQ==:",
        "description": "tea",
        "opaque": encode_object({"r": "x"}),
        "header": "Payment-Authorization",
    }
    credential = Credential.from_header(header({**BODY, "challenge": {**ECHO, **optional}}))
    assert credential.challenge == Challenge(**ECHO, **optional)


@pytest.mark.parametrize("nothing", [None, ""])
def test_unknown_members_and_empty_ones_are_passed_over(nothing: str | None) -> None:
    absent = dict.fromkeys(["expires", "digest", "description", "opaque", "header"], nothing)
    body = {
        **BODY,
        "challenge": {**ECHO, **absent, "meta": [1], "version": 2},
        "source": None,
        "shiny": {"new": True},
    }
    assert Credential.from_header(header(body)) == Credential.from_header(header(BODY))


@pytest.mark.parametrize(
    "value",
    [
        header(BODY).replace("Payment", "payment"),
        header(BODY).replace("Payment", "PAYMENT"),
        header(BODY).replace(" ", "   "),
        f" {header(BODY)}\t",
    ],
)
def test_every_spelling_of_the_field_is_read(value: str) -> None:
    assert Credential.from_header(value) == Credential.from_header(header(BODY))


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        pytest.param("", "begin with 'Payment '", id="nothing"),
        pytest.param("Payment", "not JSON", id="the scheme alone"),
        pytest.param("Bearer abc", "begin with 'Payment '", id="another scheme"),
        pytest.param("Paymente30", "begin with 'Payment '", id="no space"),
        pytest.param('Payment id="i1", realm="shop"', "not base64url", id="parameters"),
        pytest.param("Payment e30=", "not base64url", id="padding"),
        pytest.param("Payment e3+0", "not base64url", id="the standard alphabet"),
        pytest.param("Payment e30 e30", "not base64url", id="two in one"),
        pytest.param("Payment e30, Payment e30", "not base64url", id="two by comma"),
        pytest.param("Payment é", "not base64url", id="beyond ASCII"),
        pytest.param("Payment bm8", "not JSON", id="no JSON"),
        pytest.param("Payment W10", "not a JSON object", id="an array"),
        pytest.param("Payment e30", "needs a member 'challenge'", id="an empty object"),
    ],
)
def test_what_is_no_credential_is_refused(value: str, advice: str) -> None:
    with pytest.raises(ProtocolError, match=advice) as caught:
        Credential.from_header(value)
    assert caught.value.part == "credential"


WRONG: list[Any] = [1, True, 1.5, [], ["x"], {}, {"a": "b"}]
NO_OBJECT: list[Any] = [None, "text", 1, [], [{}]]


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        *((({"challenge": wrong}), "'challenge'") for wrong in NO_OBJECT),
        *((({"payload": wrong}), "'payload'") for wrong in NO_OBJECT),
        *((({"source": wrong}), "'source'") for wrong in WRONG),
        *(
            ({"challenge": {**ECHO, name: wrong}}, f"'{name}'")
            for name in ECHO
            for wrong in [None, "", *WRONG]
        ),
        *(
            ({"challenge": {**ECHO, name: wrong}}, f"'{name}'")
            for name in ["expires", "digest", "description", "opaque", "header"]
            for wrong in WRONG
        ),
        ({"challenge": {**ECHO, "request": "e30="}}, "request echoed is not base64url"),
        ({"challenge": {**ECHO, "request": "{}"}}, "request echoed is not base64url"),
        ({"challenge": {**ECHO, "opaque": "e3"}}, "opaque echoed is not base64url"),
    ],
)
def test_wrong_members_are_named(changes: dict[str, Any], advice: str) -> None:
    with pytest.raises(ProtocolError, match=advice) as caught:
        Credential.from_header(header({**BODY, **changes}))
    assert caught.value.part == "credential"


@pytest.mark.parametrize("name", ["challenge", "payload"])
def test_missing_members_are_named(name: str) -> None:
    with pytest.raises(ProtocolError, match=f"'{name}'"):
        Credential.from_header(header({key: BODY[key] for key in BODY if key != name}))


@pytest.mark.parametrize("name", list(ECHO))
def test_missing_members_of_the_challenge_are_named(name: str) -> None:
    echo = {key: ECHO[key] for key in ECHO if key != name}
    with pytest.raises(ProtocolError, match=f"'{name}'"):
        Credential.from_header(header({**BODY, "challenge": echo}))


def test_size_is_bounded() -> None:
    room = MAX_CREDENTIAL_BYTES - len(json.dumps({**BODY, "payload": {"a": ""}}))
    assert MAX_CREDENTIAL_BYTES >= 64 * 1024
    largest = header({**BODY, "payload": {"a": "x" * room}})
    assert len(Credential.from_header(largest).payload["a"]) == room
    with pytest.raises(ProtocolError, match=r"longer than"):
        Credential.from_header(header({**BODY, "payload": {"a": "x" * (room + 3)}}))
    with pytest.raises(ProtocolError, match=r"longer than 1000 bytes"):
        Credential.from_header(largest, limit=1000)


def test_proof_never_shows() -> None:
    credential = Credential.from_header(header(BODY))
    for text in (repr(credential), str(credential), f"{[credential]}"):
        assert "AAAA" not in text
        assert "'i1'" in text


@pytest.mark.parametrize(
    "broken",
    [
        Credential(Challenge("", "shop", "stellar", "charge", "e30"), {}),
        Credential(Challenge("i1", "shop", "stellar", "charge", "{}"), {}),
        Credential(Challenge("i1", "shop", "stellar", "charge", "e30", opaque="?"), {}),
        Credential(Challenge("i1", "shop", "stellar", "charge", "e30"), {"a": float("nan")}),
        Credential(Challenge("i1", "shop", "stellar", "charge", "e30"), {"a": b"bytes"}),
        Credential(Challenge("i1", "\ud800", "stellar", "charge", "e30"), {}),
    ],
)
def test_what_would_not_be_read_is_not_written(broken: Credential) -> None:
    with pytest.raises(ProtocolError) as caught:
        broken.to_header()
    assert caught.value.part == "credential"


def test_a_source_is_written_only_when_there_is_one() -> None:
    credential = Credential.from_header(header(BODY))
    assert "source" not in json.loads(base64.urlsafe_b64decode(credential.to_header()[8:] + "=="))
    assert Credential.from_header(replace(credential, source="me").to_header()).source == "me"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], []),
        (["Payment abc"], ["Payment abc"]),
        (["payment abc"], ["payment abc"]),
        (["Bearer abc"], []),
        (["PaymentX abc"], []),
        (["Payment"], ["Payment"]),
        (["  Payment abc "], ["Payment abc"]),
        (["Bearer x", "Payment abc"], ["Payment abc"]),
        (["Payment abc", "Payment def"], ["Payment abc", "Payment def"]),
        (["Payment abc, Payment def"], ["Payment abc", "Payment def"]),
        (["Payment abc,PAYMENT def , Bearer x"], ["Payment abc", "PAYMENT def"]),
        (["Bearer x, Payment abc"], ["Payment abc"]),
        ([", ,Payment abc,,"], ["Payment abc"]),
        (['Digest username="a, Payment b", qop=auth'], []),
        (['Digest username="a\\", Payment b", Payment c'], ["Payment c"]),
        (['Digest username="a, Payment b'], []),
        (['Payment id="a, Payment b"'], ['Payment id="a, Payment b"']),
    ],
)
def test_payment_credentials_are_picked_out(values: list[str], found: list[str]) -> None:
    assert payment_credentials(values) == found


@given(st.lists(st.from_type(Credential), max_size=3))
def test_credentials_are_found_merged_or_not(credentials: list[Credential]) -> None:
    headers = [credential.to_header() for credential in credentials]
    assert payment_credentials(headers) == headers
    assert payment_credentials([", ".join(["Basic abc==", *headers])]) == headers
