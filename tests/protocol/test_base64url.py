"""Base64url: every byte string has one spelling, and nothing else is taken for one."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import ProtocolError, b64url_decode, b64url_encode
from mpp_asgi.protocol.encoding import is_b64url

ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


@given(st.binary(max_size=100))
def test_what_is_encoded_is_decoded(data: bytes) -> None:
    text = b64url_encode(data)
    assert set(text) <= set(ALPHABET)
    assert b64url_decode(text) == data


@given(st.text(ALPHABET, max_size=12))
def test_a_text_is_refused_or_the_only_spelling_of_its_bytes(text: str) -> None:
    try:
        data = b64url_decode(text)
    except ProtocolError:
        return
    assert b64url_encode(data) == text


@pytest.mark.parametrize(("text", "data"), [("", b""), ("_-8", b"\xff\xef"), ("AA", b"\x00")])
def test_known_values(text: str, data: bytes) -> None:
    assert b64url_decode(text) == data
    assert b64url_encode(data) == text


@pytest.mark.parametrize("code", range(0x180))
def test_only_the_alphabet_is_taken(code: int) -> None:
    text = f"AAA{chr(code)}"
    if chr(code) in ALPHABET:
        assert len(b64url_decode(text)) == 3
    else:
        with pytest.raises(ProtocolError):
            b64url_decode(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("A", id="a length nothing encodes to"),
        pytest.param("AAAAA", id="the same, longer"),
        pytest.param("AB", id="unused bits set after one byte"),
        pytest.param("AAB", id="unused bits set after two bytes"),
        pytest.param("AA==", id="padding"),
        pytest.param("AAA=", id="padding of one"),
        pytest.param("+/+/", id="the standard alphabet"),
        pytest.param("AAAA\n", id="a line break after it"),
        pytest.param(" AAAA", id="a space before it"),
        pytest.param("AA AA", id="a space inside"),
        pytest.param("ＡＡＡＡ", id="full-width letters"),
        pytest.param("\ud800AAA", id="a lone surrogate"),
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match=r"is not base64url") as caught:
        b64url_decode(text)
    assert caught.value.part == "encoding"


def test_the_error_says_what_was_being_read() -> None:
    with pytest.raises(ProtocolError, match=r"The receipt is not base64url") as caught:
        b64url_decode("!", name="receipt", part="receipt")
    assert caught.value.part == "receipt"


@given(st.text("AQgwEIMUYcZz09-_+/= é", max_size=12))
def test_a_text_is_known_without_its_bytes(text: str) -> None:
    try:
        b64url_decode(text)
    except ProtocolError:
        assert not is_b64url(text)
    else:
        assert is_b64url(text)
