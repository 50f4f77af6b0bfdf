"""Canonical JSON: the cases of RFC 8785, and what has no canonical form."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import ProtocolError, canonical, decode_object, encode_object
from mpp_asgi.protocol.encoding import encode_json

# RFC 8785, appendix B: the bits of a double, and its text.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_ecmascript_does(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number) == text.encode()


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])
def test_what_is_no_number_is_refused(bits: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    with pytest.raises(ProtocolError):
        canonical([number])


def test_the_serialization_example() -> None:
    # RFC 8785, section 3.2.2
    value = json.loads(
        r"""{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"""
    )
    assert canonical(value).decode() == (
        r'{"literals":[null,true,false],'
        r'"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
    )


def test_keys_are_sorted_by_utf16_code_units() -> None:
    # RFC 8785, section 3.2.3: an emoji, two units from U+D800 up, comes before U+FB33
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\xf6"]
    ordered = json.loads(canonical(dict.fromkeys(keys, 0)))
    assert list(ordered) == ["\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"b": 1, "B": 2, "a": 3}, '{"B":2,"a":3,"b":1}', id="capitals come first"),
        pytest.param({"10": 0, "1": 0, "2": 0}, '{"1":0,"10":0,"2":0}', id="digits are text"),
        pytest.param({"péché": 0, "peach": 0}, '{"peach":0,"péché":0}', id="no locale"),
        pytest.param({"a": {"z": [], "y": {}}}, '{"a":{"y":{},"z":[]}}', id="at every depth"),
        pytest.param({"": "empty"}, '{"":"empty"}', id="the empty name"),
        pytest.param(["A\u030a", "Å"], '["A\u030a","Å"]', id="nothing is normalised"),
        pytest.param("</a>&'\x7f\u2028", '"</a>&\'\x7f\u2028"', id="no needless escapes"),
        pytest.param("\x00\b\t\n\f\r\x1f", r'"\u0000\b\t\n\f\r\u001f"', id="needed escapes"),
        pytest.param(("a", 56.0), '["a",56]', id="a whole float, a tuple"),
        pytest.param(2**53 - 1, "9007199254740991", id="the largest exact integer"),
    ],
)
def test_known_values(value: Any, text: str) -> None:
    assert canonical(value) == text.encode()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(2**53, id="an integer beyond a double's precision"),
        pytest.param({"a": b"bytes"}, id="bytes"),
        pytest.param({1: "a"}, id="a key that is no text"),
        pytest.param("\ud83d", id="a lone surrogate"),
        pytest.param({"\ude00": 0}, id="a lone surrogate in a key"),
        pytest.param({"a": {1, 2}}, id="a set"),
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        canonical(value)
    assert caught.value.part == "encoding"


def test_endless_nesting_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ProtocolError):
        canonical(value)
    with pytest.raises(ProtocolError):
        encode_json({"a": value})


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_itself(number: float) -> None:
    assert math.copysign(float(canonical(number)), number) == number


@given(st.data())
def test_an_object_reads_back_and_writing_it_again_changes_nothing(data: st.DataObject) -> None:
    inner = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    value = data.draw(st.dictionaries(inner, st.lists(inner) | st.booleans() | st.none()))
    text = encode_object(value)
    assert decode_object(text) == value
    assert encode_object(decode_object(text)) == text
