"""Whatever arrives: a value or a `ProtocolError`, in time linear in its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import (
    Challenge,
    Credential,
    ProtocolError,
    Receipt,
    b64url_decode,
    b64url_encode,
    payment_credentials,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = 'Payment id="i1", realm="shop", method="stellar", intent="charge", request="e30"'
SPECIAL = '"\\,=;:{}[]|*/ \t\r\n\x00\x7fé€🍵uPayment0-'


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[str]) -> str:
    """A text with a few characters replaced, removed, inserted, or its middle doubled."""
    text = draw(originals)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 3)))
        middle = draw(st.text(SPECIAL, max_size=2) | st.just(text[start:] + text[:end]))
        text = text[:start] + middle + text[end:]
    return text


readers: list[Callable[[str], object]] = [
    Challenge.from_header,
    Credential.from_header,
    Receipt.from_header,
    lambda value: Challenge.all_from_headers([value, value]),
    lambda value: payment_credentials([value]),
]
headers = (
    st.from_type(Challenge).map(Challenge.to_header)
    | st.from_type(Credential).map(Credential.to_header)
    | st.from_type(Receipt).map(Receipt.to_header)
)


def outcome(read: Callable[[str], object], value: str) -> object:
    """What reading gives: the value, or the one error that is allowed."""
    try:
        return read(value)
    except ProtocolError as error:
        return error


@pytest.mark.parametrize("read", readers)
@given(value=mutated(headers) | st.text(max_size=40) | st.text(SPECIAL, max_size=60))
def test_any_text_is_read_or_refused(read: Callable[[str], object], value: str) -> None:
    result = outcome(read, value)
    if isinstance(result, ProtocolError):
        assert str(result)
        assert result.part in {"challenge", "credential", "receipt"}


json_texts = st.from_type(Credential).map(lambda c: b64url_decode(c.to_header()[8:]).decode())


@given(mutated(json_texts))
def test_any_json_in_a_credential_is_read_or_refused(text: str) -> None:
    """Mutations inside the encoding: the JSON itself is damaged."""
    value = f"Payment {b64url_encode(text.encode())}"
    result = outcome(Credential.from_header, value)
    assert isinstance(result, Credential) or getattr(result, "part", None) == "credential"


# How each begins, and what it then repeats.
HOSTILE = {
    "an unterminated string of escapes": (PLAIN + ', x="', "\\"),
    "escaped quotes": (PLAIN + ', x="', '\\"'),
    "quotes": (PLAIN + ', x="', '"'),
    "strings side by side": (PLAIN + ", x=", '"a"'),
    "commas": (PLAIN, ","),
    "blanks": (PLAIN, " "),
    "blanks before an equals sign": (PLAIN + ", x", " "),
    "equals signs": (PLAIN + ", x", "="),
    "schemes": ("", "Payment "),
    "schemes by comma": ("", "Payment,"),
    "almost a token68": ("Payment ", "a= "),
    "parameters": ("Payment ", "a=1,"),
    "credentials": ("", "Payment abc,"),
    "escapes of half a pair": (PLAIN + ', description="', "\\ud83c"),
}


@pytest.mark.parametrize("read", readers)
@pytest.mark.parametrize("kind", HOSTILE)
def test_work_grows_with_length_alone(
    read: Callable[[str], object], kind: str, lines_run: Callable[[Callable[[], object]], int]
) -> None:
    prefix, unit = HOSTILE[kind]

    def work(times: int) -> int:
        value = prefix + unit * times
        return lines_run(lambda: outcome(read, value))

    assert work(1600) <= 9 * work(200)


@pytest.mark.parametrize("read", readers)
@pytest.mark.parametrize("kind", ["an unterminated string of escapes", "escaped quotes", "blanks"])
def test_a_megabyte_is_read_in_one_pass(read: Callable[[str], object], kind: str) -> None:
    """Patterns that step back over what they took would not end here in an hour."""
    prefix, unit = HOSTILE[kind]
    assert len(str(outcome(read, prefix + unit * 1_000_000))) < 1000
