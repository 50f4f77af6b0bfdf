"""Body digests: one is written, two spellings are read."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import ProtocolError, content_digest, digest_bytes, digest_matches

EMPTY = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_the_form_of_rfc_9530_is_written() -> None:
    assert content_digest(b"") == f"sha-256=:{EMPTY}:"


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_a_digest_matches_its_body_alone(body: bytes, other: bytes) -> None:
    text = content_digest(body)
    assert digest_bytes(text) == hashlib.sha256(body).digest()
    assert digest_matches(text, body)
    assert digest_matches(text, other) == (body == other)


@pytest.mark.parametrize(
    "text",
    [
        f"sha-256=:{EMPTY}:",
        f"sha-256={EMPTY}",
        f"sha-256={EMPTY.rstrip('=')}",
        f"sha-512=:AAAA:, sha-256=:{EMPTY}:",
        f"SHA-256={EMPTY}",
        f" sha-256=:{EMPTY}:\t",
    ],
)
def test_every_spelling_of_one_digest_matches(text: str) -> None:
    assert digest_matches(text, b"")
    assert not digest_matches(text, b"x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha-256",
        "sha-256=",
        "sha-256=:",
        "sha-256=::",
        "sha-256=:AAAA:",
        f"sha-512=:{EMPTY}:",
        f"sha-256=:{EMPTY}",
        f"sha-256={EMPTY}:",
        f"sha-256=:{EMPTY.rstrip('=')}:",
        f"sha-256=:{EMPTY.replace('+', '-')}:",
        f"sha-256=:{EMPTY[:-1]}é:",
        f"sha-256=:{EMPTY}: sha-256",
    ],
)
def test_what_is_no_sha256_digest_matches_nothing(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        digest_bytes(text)
    assert caught.value.part == "digest"
    assert not digest_matches(text, b"")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert digest_matches(text, b"") in (True, False)
