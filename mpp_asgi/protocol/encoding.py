"""How values travel: base64url without padding (RFC 4648) around canonical JSON (RFC 8785)."""

from __future__ import annotations

import json
import math
import re
from binascii import a2b_base64, b2a_base64
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, NoReturn

import rfc8785

from mpp_asgi.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_OBJECT_BYTES = 64 * 1024
"""The largest JSON object `decode_object` reads unless it is told otherwise, in bytes."""

MAX_DEPTH = 64
"""How deep arrays and objects may nest in what `decode_object` reads."""

TO_URL = bytes.maketrans(b"+/", b"-_")
"""From the alphabet of base64 to that of base64url."""
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")
"""The other way, and to nothing that base64 knows what base64url does not have."""
_PADDING = (b"", b"", b"==", b"=")
# The last character of a text whose length is not a multiple of 4 carries 4 or 2 unused bits.
_LAST_CHARACTERS = ("", "", "AQgw", "AEIMQUYcgkosw048")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_NOT_IN_ALPHABET = "use A-Z, a-z, 0-9, '-' and '_' without padding"
# A JSON string, closed or not; it cannot fail half-way, so it takes time linear in its length.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def b64url_encode(data: bytes) -> str:
    """Base64url without padding."""
    return b2a_base64(data, newline=False).translate(TO_URL, b"=").decode("ascii")


def b64url_decode(text: str, *, name: str = "text", part: str = "encoding") -> bytes:
    """The bytes of a base64url text without padding; each byte string has exactly one spelling.

    `name` and `part` say what is being read, for the error.

    Raises:
        ProtocolError: a character is outside the alphabet (padding and white space are), the
            length is one that no encoder produces, or unused bits are not zero.
    """
    return _decoded(text, name, part)


def _decoded(text: str, name: str, part: str) -> bytes:
    tail = len(text) % 4
    try:
        data = a2b_base64(
            text.encode("ascii").translate(_FROM_URL) + _PADDING[tail], strict_mode=True
        )
    except ValueError:
        raise ProtocolError(f"The {name} is not base64url: {_NOT_IN_ALPHABET}.", part) from None
    if tail and text[-1] not in _LAST_CHARACTERS[tail]:
        raise ProtocolError(
            f"The {name} is not base64url: the unused bits of its last character are not zero.",
            part,
        )
    return data


def is_b64url(text: str) -> bool:
    """Whether `b64url_decode` would take the text, for those who have no use for the bytes."""
    tail = len(text) % 4
    return (
        tail != 1
        and _BASE64URL.fullmatch(text) is not None
        and (not tail or text[-1] in _LAST_CHARACTERS[tail])
    )


def canonical(value: object) -> bytes:
    """The JSON Canonicalization Scheme (RFC 8785) form of `value`, in UTF-8.

    Takes what JSON has: dict with string keys, list, tuple, str, bool, None, float, and int
    within ±(2**53 - 1).

    Raises:
        ProtocolError: there is anything else in it: other types, larger integers, NaN or an
            infinity, a lone surrogate, nesting beyond what the interpreter can follow.
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # it checks the types itself
    except RecursionError:
        raise ProtocolError(
            "The value nests too deeply to be written as JSON.", "encoding"
        ) from None
    except ValueError as error:  # its own errors, and lone surrogates in a key
        raise ProtocolError(f"The value has no canonical JSON form: {error}.", "encoding") from None


def encode_object(value: Mapping[str, Any]) -> str:
    """An object as it stands in a parameter: base64url of its canonical JSON.

    Raises:
        ProtocolError: it has no canonical form; see `canonical`.
    """
    return b64url_encode(canonical(dict(value)))


def encode_json(value: Mapping[str, Any], *, name: str = "value", part: str = "encoding") -> bytes:
    """Compact JSON in UTF-8, members in the order given: for values nobody recomputes.

    Raises:
        ProtocolError: JSON cannot carry it.
    """
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"The {name} cannot be written as JSON: {error}.", part) from None


json_string = encode_basestring
"""A text as it stands in JSON; beyond ASCII as it is."""


def decode_object(
    text: str, *, limit: int = MAX_OBJECT_BYTES, name: str = "value", part: str = "encoding"
) -> dict[str, Any]:
    """The JSON object inside a base64url text, in time linear in its length.

    Raises:
        ProtocolError: it is not strict base64url of at most `limit` bytes, these are not UTF-8,
            or they are not one JSON object, nested at most `MAX_DEPTH` deep, without duplicate
            members, numbers that are not finite, and lone surrogates.
    """
    return object_in(text, limit, name, part)


def object_in(text: str, limit: int, name: str, part: str) -> dict[str, Any]:
    """As `decode_object`, for those who do it for each request."""
    if len(text) > (limit * 4 + 2) // 3:
        raise ProtocolError(f"The {name} is longer than {limit} bytes.", part)
    return _parsed(_decoded(text, name, part), name, part)


def parse_object(data: bytes, *, name: str = "value", part: str = "encoding") -> dict[str, Any]:
    """The JSON object in `data`, whose size the caller has bounded.

    Raises:
        ProtocolError: as `decode_object`.
    """
    return _parsed(data, name, part)


def _parsed(data: bytes, name: str, part: str) -> dict[str, Any]:
    try:
        text = data.decode("utf-8")
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _refuse_deep(text)
        text = text.strip(" \t\n\r")
        value, end = _scan(text, 0)
        if end != len(text):
            _refuse_more(text, end)
        if "\\" in text:  # only an escape can smuggle in a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise ProtocolError(f"The {name} is not valid UTF-8.", part) from None
    except StopIteration:
        raise ProtocolError(f"The {name} is not JSON: it has no value.", part) from None
    except json.JSONDecodeError as error:
        raise ProtocolError(
            f"The {name} is not JSON: {error.msg} at character {error.pos}.", part
        ) from None
    except ValueError as error:
        raise ProtocolError(f"The {name} is not JSON that can be taken: {error}.", part) from None
    if type(value) is not dict:
        raise ProtocolError(f"The {name} is not a JSON object.", part)
    return value


def _refuse_more(text: str, end: int) -> NoReturn:
    raise json.JSONDecodeError("Extra data", text, end)


def _refuse_deep(text: str) -> None:
    """Raise ValueError for nesting that is too deep, before a recursive parser sees it."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")


def _object_without_duplicates(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("an object names a member twice")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _integer(text: str) -> int:
    # CPython refuses long digit strings with advice for programmers; this is for the sender.
    if len(text) > 1024:
        raise ValueError("a number is too large")
    return int(text)


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates,
    parse_float=_finite,
    parse_int=_integer,
    parse_constant=_no_constant,
)

# What ``_DECODER.decode`` comes down to; it spends a third of its time on the white space around.
_scan: Callable[[str, int], tuple[Any, int]] = _DECODER.scan_once  # type: ignore[attr-defined] # not in typeshed


# Values that contain themselves end in a RecursionError as well.
_ENCODER = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)
