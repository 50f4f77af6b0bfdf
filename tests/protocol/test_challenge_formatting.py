"""Writing challenges: what stands in the field, what may not, and templates that write the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import (
    Challenge,
    ChallengeTemplate,
    ProtocolError,
    Secrets,
    content_digest,
    encode_object,
    format_timestamp,
)

REQUEST = encode_object({"amount": "250"})
SECRETS = Secrets("formatting-tests-secret-of-enough-bytes")
CHALLENGE = Challenge("i1", "shop", "stellar", "charge", REQUEST)


def test_the_field_in_full() -> None:
    opaque = encode_object({"r": "x"})
    challenge = replace(
        CHALLENGE,
        expires="2026-11-22T08:00:00Z",
        digest="sha-256=:YQ==:",
        description='Tea "Earl \\ Grey" — 5 €, 🍵 à la carte',
        opaque=opaque,
        header="Payment-Authorization",
    )
    assert challenge.to_header() == (
        f'Payment id="i1", realm="shop", method="stellar", intent="charge", request="{REQUEST}"'
        r', description="Tea \"Earl \\ Grey\" \u2014 5 \u20ac, \ud83c\udf75 à la carte"'
        ', digest="sha-256=:YQ==:", expires="2026-11-22T08:00:00Z"'
        f', header="Payment-Authorization", opaque="{opaque}"'
    )


def test_what_is_absent_is_not_written() -> None:
    assert CHALLENGE.to_header() == (
        f'Payment id="i1", realm="shop", method="stellar", intent="charge", request="{REQUEST}"'
    )


@pytest.mark.parametrize("code", [*range(0x20), 0x7F])
@pytest.mark.parametrize("name", ["id", "realm", "description", "digest", "expires"])
def test_control_characters_cannot_break_out_of_the_field(name: str, code: int) -> None:
    challenge = replace(CHALLENGE, **{name: f"a{chr(code)}b"})
    if chr(code) == "\t":
        assert Challenge.from_header(challenge.to_header()) == challenge
        return
    with pytest.raises(ProtocolError, match=name) as caught:
        challenge.to_header()
    assert caught.value.part == "challenge"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"realm": ""},
        {"method": ""},
        {"method": "Stellar"},
        {"method": "x402"},
        {"method": "stellar\n"},
        {"intent": ""},
        {"intent": "a charge"},
        {"intent": "charge\n"},
        {"request": ""},
        {"request": "not base64url"},
        {"request": encode_object({})[:-1]},
        {"request": "W10"},
        {"opaque": ""},
        {"opaque": "W10"},
        {"opaque": encode_object({"a": 1})},
        {"header": ""},
        {"header": "Two Words"},
        {"header": "Line\r\nBreak"},
    ],
)
def test_what_no_reader_would_take_is_not_written(changes: dict[str, str]) -> None:
    challenge = replace(CHALLENGE, **changes)
    with pytest.raises(ProtocolError) as caught:
        challenge.to_header()
    assert caught.value.part == "challenge"
    if not {"id", "opaque"} & set(changes):
        with pytest.raises(ProtocolError):
            ChallengeTemplate(
                challenge.realm,
                challenge.method,
                challenge.intent,
                challenge.request,
                header=challenge.header,
            )


# Mostly what a server issues, and a few texts that need quoting.
dates = st.integers(0, 4_000_000_000).map(format_timestamp) | st.text('2026:"\\€é ', max_size=6)
digests = st.none() | st.binary().map(content_digest) | st.text('sha-256=:"\\€', max_size=6)


@given(st.from_type(Challenge), dates, digests)
def test_a_template_writes_what_the_challenge_writes(
    challenge: Challenge, expires: str, digest: str | None
) -> None:
    template = ChallengeTemplate(
        challenge.realm,
        challenge.method,
        challenge.intent,
        challenge.request,
        description=challenge.description,
        header=challenge.header,
    )
    issued = template.issue(SECRETS, expires=expires, digest=digest, opaque=challenge.opaque)
    expected_id = SECRETS.challenge_id(
        realm=challenge.realm,
        method=challenge.method,
        intent=challenge.intent,
        request=challenge.request,
        expires=expires,
        digest=digest,
        opaque=challenge.opaque,
        header=challenge.header,
    )
    assert issued.id == expected_id
    shown = replace(challenge, id=expected_id, expires=expires, digest=digest)
    assert issued.header_value == shown.to_header()
    assert SECRETS.authentic(Challenge.from_header(issued.header_value))


@pytest.mark.parametrize("text", ['"', "\\", "€", "a\tb"])
def test_a_template_quotes_what_needs_it(text: str) -> None:
    issued = ChallengeTemplate("shop", "stellar", "charge", REQUEST).issue(
        SECRETS, expires=text, digest=text, opaque=None
    )
    challenge = Challenge.from_header(issued.header_value)
    assert (challenge.expires, challenge.digest) == (text, text)
    assert challenge.to_header() == issued.header_value


@pytest.mark.parametrize("hostile", ["a|b", "a\r\nX: y", "\x00", "\ud800"])
@pytest.mark.parametrize("name", ["expires", "digest", "opaque"])
def test_a_template_refuses_what_cannot_be_bound_or_written(name: str, hostile: str) -> None:
    template = ChallengeTemplate("shop", "stellar", "charge", REQUEST)
    texts = {"expires": "2026-11-22T08:00:00Z", "digest": "d", "opaque": REQUEST, name: hostile}
    with pytest.raises(ProtocolError):
        template.issue(
            SECRETS, expires=texts["expires"], digest=texts["digest"], opaque=texts["opaque"]
        )


@pytest.mark.parametrize(
    ("realm", "description"), [("a|b", None), ("a\nb", None), ("shop", "a\rb"), ("\ud800", None)]
)
def test_a_template_refuses_at_once_what_it_could_never_issue(
    realm: str, description: str | None
) -> None:
    with pytest.raises(ProtocolError):
        ChallengeTemplate(realm, "stellar", "charge", REQUEST, description=description)
