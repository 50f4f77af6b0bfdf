"""Challenge ids: what they cover, which secrets make them, and what a resource hash tells apart."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mpp_asgi.protocol import (
    Challenge,
    ProtocolError,
    Secrets,
    decode_object,
    encode_object,
    resource_binding,
)

OLD = "the-secret-of-last-month-has-enough-bytes"
NEW = "the-secret-of-this-month-has-enough-bytes"


def issued(secrets: Secrets, challenge: Challenge) -> Challenge:
    return replace(
        challenge,
        id=secrets.challenge_id(
            realm=challenge.realm,
            method=challenge.method,
            intent=challenge.intent,
            request=challenge.request,
            expires=challenge.expires,
            digest=challenge.digest,
            opaque=challenge.opaque,
            header=challenge.header,
        ),
    )


BASE = issued(
    Secrets(NEW),
    Challenge("", "shop", "stellar", "charge", "e30", "2026-11-22T08:00:00Z", "d1", "tea", "e30"),
)


def mac(secret: str, slots: str) -> str:
    digest = hmac.new(secret.encode(), slots.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


@pytest.mark.parametrize(
    ("optional", "tail"),
    [
        ({}, "||"),
        ({"expires": "x"}, "x||"),
        ({"digest": "d"}, "|d|"),
        ({"opaque": "o"}, "||o"),
        ({"expires": "x", "digest": "d", "opaque": "o"}, "x|d|o"),
        ({"expires": "x", "header": "X-Pay"}, "x||X-Pay|"),
        ({"opaque": "o", "header": "X-Pay"}, "||X-Pay|o"),
        ({"opaque": "o", "header": "Authorization"}, "||o"),
        ({"opaque": "o", "header": "authorization"}, "||o"),
    ],
)
def test_the_id_is_the_mac_of_fixed_slots(optional: dict[str, str], tail: str) -> None:
    made = Secrets(NEW).challenge_id(
        realm="caffè", method="stellar", intent="charge", request="e30", **optional
    )
    assert made == mac(NEW, f"caffè|stellar|charge|e30|{tail}")


@given(st.from_type(Challenge))
def test_an_issued_challenge_is_authentic_to_its_secrets_alone(challenge: Challenge) -> None:
    genuine = issued(Secrets(NEW), challenge)
    assert Secrets(NEW).authentic(genuine)
    assert Secrets(OLD, NEW).authentic(genuine)
    assert not Secrets(OLD).authentic(genuine)


def test_the_first_secret_signs_and_all_of_them_verify() -> None:
    rotated = Secrets(NEW, OLD)
    assert issued(rotated, BASE) == BASE
    assert rotated.authentic(issued(Secrets(OLD), BASE))
    assert rotated.authentic(BASE)


@pytest.mark.parametrize(
    "field",
    ["id", "realm", "method", "intent", "request", "expires", "digest", "opaque", "header"],
)
def test_every_bound_field_is_bound(field: str) -> None:
    assert Secrets(NEW).authentic(BASE)
    assert not Secrets(NEW).authentic(replace(BASE, **{field: "other"}))
    if getattr(BASE, field) is not None and field in {"expires", "digest", "opaque"}:
        absent: dict[str, Any] = {field: None}
        assert not Secrets(NEW).authentic(replace(BASE, **absent))


def test_the_description_is_not_bound() -> None:
    assert Secrets(NEW).authentic(replace(BASE, description="free tea"))


def test_an_empty_opaque_object_is_not_the_same_as_none() -> None:
    assert not Secrets(NEW).authentic(replace(BASE, opaque=None))
    assert BASE.opaque == encode_object({})


@pytest.mark.parametrize("field", ["realm", "expires", "digest", "opaque", "header"])
def test_the_separator_of_the_slots_is_refused_in_a_slot(field: str) -> None:
    # Otherwise "a|b" and "c" would share an id with "a" and "b|c".
    shifted = replace(BASE, **{field: "a|b"})
    assert not Secrets(NEW).authentic(shifted)
    with pytest.raises(ProtocolError, match=r"'\|'"):
        issued(Secrets(NEW), shifted)


def test_fields_cannot_be_shifted_between_slots() -> None:
    genuine = issued(Secrets(NEW), replace(BASE, header="Payment-Authorization"))
    shifted = replace(genuine, header=None, digest="d1|Payment-Authorization")
    assert not Secrets(NEW).authentic(shifted)


@pytest.mark.parametrize("field", ["id", "realm", "digest"])
def test_what_is_not_unicode_is_not_authentic(field: str) -> None:
    assert not Secrets(NEW).authentic(replace(BASE, **{field: "\ud800"}))


@given(st.from_type(Challenge))
def test_an_echo_written_again_by_a_client_is_still_authentic(challenge: Challenge) -> None:
    """Clients decode `request` and `opaque` and encode them again, canonically."""
    genuine = issued(Secrets(NEW), challenge)
    echo = replace(
        genuine,
        request=encode_object(decode_object(genuine.request)),
        opaque=None if genuine.opaque is None else encode_object(genuine.opaque_object()),
    )
    assert Secrets(NEW).authentic(echo)


@pytest.mark.parametrize("secret", ["", "short", "x" * 31, "é" * 15, "\ud800" * 40])
def test_weak_secrets_are_refused_unseen(secret: str) -> None:
    for secrets in ([secret], [NEW, secret]):
        with pytest.raises(ProtocolError) as caught:
            Secrets(*secrets)
        assert caught.value.part == "secret"
        assert not secret or secret not in str(caught.value)


def test_bytes_count_not_characters() -> None:
    assert Secrets("é" * 16).authentic(issued(Secrets("é" * 16), BASE))


def test_secrets_never_show() -> None:
    secrets = Secrets(NEW, OLD)
    for text in (repr(secrets), str(secrets), f"{secrets}", repr([secrets])):
        assert NEW not in text
        assert OLD not in text


def test_the_error_survives_a_process_boundary() -> None:
    with pytest.raises(ProtocolError) as caught:
        Secrets("short")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.part) == (str(caught.value), "secret")


requests = st.tuples(
    st.sampled_from(["GET", "POST"]),
    st.text(max_size=6),
    st.binary(max_size=6),
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3),
)


@given(requests, requests)
def test_different_resources_have_different_bindings(
    one: tuple[str, str, bytes, list[tuple[str, str]]],
    other: tuple[str, str, bytes, list[tuple[str, str]]],
) -> None:
    assume(one != other)
    assert resource_binding(*one) != resource_binding(*other)
    assert resource_binding(*one) == resource_binding(*one)


def test_parts_of_a_resource_cannot_be_shifted() -> None:
    shifted = [
        resource_binding("GET", "/a", b"b"),
        resource_binding("GET", "/ab", b""),
        resource_binding("GET", "/", b"ab"),
        resource_binding("GET/", "a", b"b"),
        resource_binding("GET", "/a", b"b", [("", "")]),
        resource_binding("GET", "/a", b"", [("b", "")]),
        resource_binding("GET", "/a", b"", [("", "b")]),
        resource_binding("GET", "/a", b"", [("b", ""), ("", "")]),
    ]
    assert all(a != b for a, b in itertools.combinations(shifted, 2))


def test_a_binding_is_a_hash_that_leaks_no_path() -> None:
    binding = resource_binding("GET", "/secret/report", b"")
    assert len(base64.urlsafe_b64decode(binding + "=")) == 32
    assert "report" not in binding
    assert resource_binding("GET", "/\udcff", b"") != resource_binding("GET", "/\udcfe", b"")
