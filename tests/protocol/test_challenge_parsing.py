"""Reading `WWW-Authenticate`: every spelling HTTP allows, several challenges, broken ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import Challenge, ProtocolError, encode_object

REQUEST = encode_object({"amount": "250", "currency": "CUSD"})
PLAIN = f'Payment id="i1", realm="shop", method="stellar", intent="charge", request="{REQUEST}"'
CHALLENGE = Challenge("i1", "shop", "stellar", "charge", REQUEST)
OTHER = PLAIN.replace("i1", "i2").replace("charge", "session")


@given(st.from_type(Challenge))
def test_what_is_written_is_read(challenge: Challenge) -> None:
    header = challenge.to_header()
    assert header.startswith('Payment id="')
    header.encode("latin-1")
    assert Challenge.from_header(header) == challenge


@given(st.lists(st.from_type(Challenge), max_size=4))
def test_challenges_are_found_however_they_are_spread_over_fields(
    challenges: list[Challenge],
) -> None:
    headers = [challenge.to_header() for challenge in challenges]
    merged = ['Bearer realm="Payment id=", scope="a, Payment b"', ", ".join(headers), "Negotiate"]
    assert Challenge.all_from_headers(headers) == challenges
    assert Challenge.all_from_headers(merged) == challenges
    assert Challenge.all_from_headers([", ".join(merged)]) == challenges


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(PLAIN, id="as it is written"),
        pytest.param(PLAIN.replace("Payment", "pAyMeNt"), id="the scheme in any case"),
        pytest.param(PLAIN.replace("id=", "ID=").replace("realm", "Realm"), id="names in any case"),
        pytest.param(PLAIN.replace(", ", " ,\t "), id="blanks around commas"),
        pytest.param(PLAIN.replace(", ", ","), id="no blanks"),
        pytest.param(PLAIN.replace("=", " =  ", 4), id="blanks around the equals sign"),
        pytest.param(PLAIN.replace("Payment ", "Payment \t "), id="blanks after the scheme"),
        pytest.param(f"  {PLAIN}  ", id="blanks around"),
        pytest.param(PLAIN.replace(", ", ", , ,"), id="empty elements"),
        pytest.param(f",,{PLAIN},", id="empty elements around"),
        pytest.param(PLAIN.replace('"', ""), id="tokens instead of quoted strings"),
        pytest.param(PLAIN.replace("shop", r"\s\h\o\p"), id="needless escapes"),
        pytest.param(f'{PLAIN}, shiny="new", also=this', id="unknown parameters"),
        pytest.param(f'{PLAIN}, note="say \\"Payment id=\\", really"', id="quotes in an unknown"),
        pytest.param(f"Basic, {PLAIN}", id="after a scheme alone"),
        pytest.param(f"Negotiate YWJj==, {PLAIN}", id="after a token68"),
        pytest.param(f'Digest realm="a", nonce="b", {PLAIN}', id="after a scheme with parameters"),
        pytest.param(f'{PLAIN}, Bearer realm="x", Basic', id="before other schemes"),
        pytest.param(f"???, id=x, {PLAIN}", id="after what is no challenge"),
        pytest.param(f'"Payment id=1, ", {PLAIN}', id="after a stray quoted string"),
    ],
)
def test_every_spelling_is_read(header: str) -> None:
    assert Challenge.from_header(header) == CHALLENGE
    assert Challenge.all_from_headers([header]) == [CHALLENGE]


def test_all_parameters_are_read_in_any_order() -> None:
    opaque = encode_object({"r": "x"})
    header = (
        f'Payment opaque="{opaque}", header="Payment-Authorization", description="A, B",'
        f' expires="2026-11-22T08:00:00Z", request="{REQUEST}", digest="sha-256=:YQ==:",'
        ' intent="session", method="stellar", realm="shop", id="i=2"'
    )
    assert Challenge.from_header(header) == Challenge(
        id="i=2",
        realm="shop",
        method="stellar",
        intent="session",
        request=REQUEST,
        expires="2026-11-22T08:00:00Z",
        digest="sha-256=:YQ==:",
        description="A, B",
        opaque=opaque,
        header="Payment-Authorization",
    )


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        pytest.param(r"tea \"for\" two", 'tea "for" two', id="quotes"),
        pytest.param(r"D:\\tea\\u00e9", r"D:\tea\u00e9", id="backslashes"),
        pytest.param(r"\u20ac5", "€5", id="an escape of the reference"),
        pytest.param(r"\ud83c\udf75 tea", "🍵 tea", id="a pair of escapes"),
        pytest.param(r"\ud83c tea", "\ufffd tea", id="half a pair"),
        pytest.param(r"\udf75\ud83c", "\ufffd\ufffd", id="a pair the wrong way round"),
        pytest.param(r"\u20a", "u20a", id="too short for an escape"),
        pytest.param("a “Payment” of 5 €", "a “Payment” of 5 €", id="beyond Latin-1 as it is"),
        pytest.param('cut "here" and — more', "cut ", id="quotes that were not escaped"),
        pytest.param('cut "a, b="z", c=d', "cut ", id="worse, with commas inside"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_quoted_text_is_read(wire: str, text: str) -> None:
    challenge = Challenge.from_header(f'{PLAIN}, description="{wire}"')
    assert challenge.description == text


@pytest.mark.parametrize("name", ["id", "realm", "method", "intent", "request"])
def test_a_required_parameter_must_be_there_and_say_something(name: str) -> None:
    params = dict(part.split("=", 1) for part in PLAIN.removeprefix("Payment ").split(", "))
    for broken in ({**params, name: '""'}, {k: v for k, v in params.items() if k != name}):
        header = "Payment " + ", ".join(f"{key}={value}" for key, value in broken.items())
        with pytest.raises(ProtocolError, match=name) as caught:
            Challenge.from_header(header)
        assert caught.value.part == "challenge"


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        pytest.param("", "no Payment", id="an empty field"),
        pytest.param("Payment", "missing", id="the scheme alone"),
        pytest.param("Payment abc==", "missing", id="a token68"),
        pytest.param("Payment, Basic realm=x", "missing", id="the scheme alone, then another"),
        pytest.param("Bearer xyz", "no Payment", id="another scheme"),
        pytest.param("PaymentX id=1", "no Payment", id="a scheme that begins alike"),
        pytest.param(PLAIN.removeprefix("Payment "), "no Payment", id="parameters alone"),
        pytest.param(f"{PLAIN}, {OTHER}", "2 Payment", id="two challenges"),
        pytest.param(f'{PLAIN}, id="i1"', "twice", id="a parameter twice"),
        pytest.param(f"{PLAIN}, X=1, x=2", "twice", id="an unknown one twice"),
        pytest.param(f'{PLAIN}, description="never ends', "never ends", id="no closing quote"),
        pytest.param(f'{PLAIN}, expires="2026\\', "never ends", id="it ends in a backslash"),
        pytest.param(f'{PLAIN}, opaque=""', "opaque", id="an empty opaque"),
        pytest.param(f'{PLAIN}, header="X: y"', "header field", id="a header that is no name"),
        pytest.param(f'{PLAIN}, header=""', "header field", id="an empty header"),
    ],
)
def test_broken_challenges_are_refused(header: str, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint) as caught:
        Challenge.from_header(header)
    assert caught.value.part == "challenge"


@pytest.mark.parametrize("text", ["e3", "e30=", "bm8", "W10", "bnVsbA", "eyJhIjoxfQ!", "_w"])
def test_request_and_opaque_must_hold_json_objects(text: str) -> None:
    with pytest.raises(ProtocolError, match=r"The request"):
        Challenge.from_header(PLAIN.replace(REQUEST, text))
    with pytest.raises(ProtocolError, match=r"The opaque"):
        Challenge.from_header(f'{PLAIN}, opaque="{text}"')


def test_opaque_must_be_flat() -> None:
    with pytest.raises(ProtocolError, match=r"flat"):
        Challenge.from_header(f'{PLAIN}, opaque="{encode_object({"a": 1})}"')


@pytest.mark.parametrize("tail", ["\\" * 12_001, "\\\\" * 6_000, '\\"' * 6_000, "a, Payment id="])
def test_an_extension_that_never_ends_is_passed_over(tail: str) -> None:
    assert Challenge.from_header(f'{PLAIN}, glitter="{tail}') == CHALLENGE


def test_one_good_challenge_among_broken_ones_is_enough_to_pay() -> None:
    broken = 'Payment id="", realm="shop"'
    assert Challenge.all_from_headers([broken, PLAIN, "Payment abc"]) == [CHALLENGE]
    with pytest.raises(ProtocolError, match=r"missing or empty"):
        Challenge.all_from_headers([broken, "Payment abc"])


def test_no_challenge_is_an_empty_list() -> None:
    assert Challenge.all_from_headers([]) == []
    assert Challenge.all_from_headers(["", "Basic realm=x", "Bearer"]) == []


def test_what_request_and_opaque_hold() -> None:
    assert CHALLENGE.request_object() == {"amount": "250", "currency": "CUSD"}
    assert CHALLENGE.opaque_object() == {}
    opaque = encode_object({"r": "x"})
    assert Challenge.from_header(f'{PLAIN}, opaque="{opaque}"').opaque_object() == {"r": "x"}


def test_when_it_expires() -> None:
    assert CHALLENGE.expires_at() is None
    timed = Challenge.from_header(f'{PLAIN}, expires="2026-11-22T09:00:00+01:00"')
    moment = timed.expires_at()
    assert moment is not None
    assert moment.isoformat() == "2026-11-22T08:00:00+00:00"
    with pytest.raises(ProtocolError):
        Challenge.from_header(f'{PLAIN}, expires="soon"').expires_at()
