"""Reading JSON objects off the wire: strict, bounded, and in time linear in their length."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import ProtocolError, decode_object
from mpp_asgi.protocol.encoding import MAX_DEPTH, MAX_OBJECT_BYTES, encode_json, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable


def wire(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def nested(depth: int) -> str:
    return '{"a":' * depth + "0" + "}" * depth


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (' {"a" : [1, 2.5, "é", null, true]}\n', {"a": [1, 2.5, "é", None, True]}),
        (r'{"a":"\ud83d\ude00\u00e9"}', {"a": "😀é"}),
        ('{"a":9007199254740993}', {"a": 9007199254740993}),
        ('{"a":{"b":1},"c":{"b":1}}', {"a": {"b": 1}, "c": {"b": 1}}),
    ],
)
def test_an_object_is_read(text: str, value: object) -> None:
    assert decode_object(wire(text)) == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("[]", "not a JSON object", id="an array"),
        pytest.param("null", "not a JSON object", id="null"),
        pytest.param('"{}"', "not a JSON object", id="a string"),
        pytest.param("", "not JSON", id="nothing"),
        pytest.param("{", "not JSON", id="cut off"),
        pytest.param("{}{}", "not JSON", id="two objects"),
        pytest.param("{'a':1}", "not JSON", id="single quotes"),
        pytest.param('{"a":1,}', "not JSON", id="a trailing comma"),
        pytest.param('{"a":01}', "not JSON", id="a leading zero"),
        pytest.param('{"a":"\n"}', "not JSON", id="a raw line break in a string"),
        pytest.param("\ufeff{}", "not JSON", id="a byte order mark"),
        pytest.param('{"a":1,"a":1}', "twice", id="a member twice"),
        pytest.param(r'{"b":{"a":1,"\u0061":2}}', "twice", id="a member twice, deeper, escaped"),
        pytest.param('{"a":NaN}', "NaN", id="NaN"),
        pytest.param('{"a":-Infinity}', "Infinity", id="an infinity"),
        pytest.param('{"a":1e999}', "too large", id="a number that becomes infinite"),
        pytest.param('{"a":%s}' % ("9" * 5000), "too large", id="thousands of digits"),
        pytest.param(r'{"a":"\ud800"}', "UTF-8", id="a lone surrogate"),
        pytest.param(r'{"\udc00":1}', "UTF-8", id="a lone surrogate in a name"),
        pytest.param(b'{"a":"\xff"}', "UTF-8", id="bytes that are not UTF-8"),
        pytest.param(b'{"a":"\xc0\x80"}', "UTF-8", id="an overlong encoding"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "UTF-8", id="a surrogate in UTF-8"),
        pytest.param(b"\xff\xfe{\x00}\x00", "UTF-8", id="UTF-16"),
    ],
)
def test_anything_else_is_refused(text: str | bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint) as caught:
        decode_object(wire(text), name="receipt", part="receipt")
    assert caught.value.part == "receipt"
    assert str(caught.value).startswith("The receipt")


def test_nesting_is_bounded_before_a_recursive_parser_sees_it() -> None:
    assert decode_object(wire(nested(MAX_DEPTH)))
    for text in (nested(MAX_DEPTH + 1), "[" * 40_000, '{"a":' * 10_000):
        with pytest.raises(ProtocolError, match=r"deeper|levels"):
            decode_object(wire(text))


def test_brackets_in_strings_do_not_nest() -> None:
    text = json.dumps({"a": "[{" * 200, "b": r"\"[\{" * 200})
    assert decode_object(wire(text))["a"] == "[{" * 200
    with pytest.raises(ProtocolError, match=r"levels"):
        decode_object(wire(r'{"a":"\\","b":' + nested(MAX_DEPTH) + "}"))


def test_many_shallow_values_are_no_nesting() -> None:
    text = json.dumps({"a": [[{}]] * 500})
    assert len(decode_object(wire(text))["a"]) == 500


def test_size_is_bounded_exactly() -> None:
    largest = '{"a":"%s"}' % ("x" * (MAX_OBJECT_BYTES - 8))
    assert len(largest) == MAX_OBJECT_BYTES
    assert decode_object(wire(largest))
    with pytest.raises(ProtocolError, match=r"longer than 65536 bytes"):
        decode_object(wire(largest + " "))
    with pytest.raises(ProtocolError, match=r"longer than 4 bytes"):
        decode_object(wire(largest), limit=4)
    assert decode_object(wire(" {} "), limit=4) == {}


def test_the_error_carries_none_of_the_text() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_object(wire('{"secret":"s3cr3t" oops'))
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__suppress_context__


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = parse_object(data)
    except ProtocolError:
        return
    assert parse_object(encode_json(value)) == value


def test_hostile_depth_costs_work_in_proportion_to_its_length(
    lines_run: Callable[[Callable[[], object]], int],
) -> None:
    def work(length: int) -> int:
        # Openers and closers that alternate never get deep, so all of the text is walked.
        encoded = wire('{"a":' + "[]" * length)

        def read() -> None:
            with pytest.raises(ProtocolError):
                decode_object(encoded)

        return lines_run(read)

    assert work(8_000) < 9 * work(1_000)
