"""The syntax of HTTP authentication fields (RFC 9110, section 11): read in one pass, and quoted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpp_asgi.protocol.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each pattern consumes a run of characters and cannot fail half-way through it, so that no
# input makes the scanner look at a character more than a constant number of times.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]*")
_BLANK = re.compile(r"[ \t]*")
_SEPARATORS = re.compile(r"[ \t,]*")
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_BARE_VALUE = re.compile(r'[^ \t,"]*')
_QUOTED = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)("?)', re.DOTALL)
_UP_TO_QUOTE_OR_COMMA = re.compile(r'[^",]*')

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BEYOND_LATIN_1 = re.compile(r"[^\x00-\xff]")


@dataclass(slots=True)
class AuthElement:
    """One challenge of any scheme, as it stands in the field; a token68 is left out.

    `params` keeps order and duplicates; names are in lower case, and the value of a quoted
    string that never ends is None.
    """

    scheme: str
    params: list[tuple[str, str | None]] = field(default_factory=list)


def elements(value: str) -> Iterator[AuthElement]:
    """The challenges of one field value, which may hold several, of several schemes, by commas.

    Never raises: what is no challenge and no parameter is passed over up to the next comma.
    """
    current: AuthElement | None = None
    _, position = _take(_SEPARATORS, value, 0)
    while position < len(value):
        name, position = _take(_TOKEN, value, position)
        _, after = _take(_BLANK, value, position)
        following = value[after : after + 1]
        if name and following == "=":
            text, position = _parameter_value(value, after + 1)
            if current is not None:
                current.params.append((name.lower(), text))
        elif name and (after > position or following in ("", ",")):
            if current is not None:
                yield current
            current = AuthElement(name)
            position = _past_token68(value, after)
            if position == after:
                continue  # the first parameter follows the scheme without a comma
        position = _next_element(value, position)
    if current is not None:
        yield current


def quoted(text: str, *, name: str, part: str) -> str:
    """`text` as a quoted-string, quotes included.

    What Latin-1 cannot hold is written as the UTF-16 escapes of the reference implementation,
    ``\\uXXXX``, because a field value cannot carry it otherwise.

    Raises:
        ProtocolError: the text holds a line break or a control character other than the tab.
    """
    if _CONTROL.search(text):
        raise ProtocolError(
            f"The {name} holds a line break or another control character, "
            "which cannot stand in a header field.",
            part,
        )
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_BEYOND_LATIN_1.sub(_utf16_escapes, escaped)}"'


def _take(pattern: re.Pattern[str], value: str, position: int) -> tuple[str, int]:
    match = pattern.match(value, position)
    return (match.group(), match.end()) if match else ("", position)


def _parameter_value(value: str, position: int) -> tuple[str | None, int]:
    _, position = _take(_BLANK, value, position)
    match = _QUOTED.match(value, position)
    if match is None:
        return _take(_BARE_VALUE, value, position)
    text, end = match.groups()
    if not end:
        return None, len(value)
    return (_unescaped(text) if "\\" in text else text), match.end()


def _past_token68(value: str, position: int) -> int:
    """Past the token68 that is all of this element, or where it was if there is none."""
    text, after = _take(_TOKEN68, value, position)
    _, after = _take(_BLANK, value, after)
    return after if text and value[after : after + 1] in ("", ",") else position


def _next_element(value: str, position: int) -> int:
    """Past the next comma that is in no quoted string."""
    while True:
        _, position = _take(_UP_TO_QUOTE_OR_COMMA, value, position)
        match = _QUOTED.match(value, position)
        if match is None:
            return _take(_SEPARATORS, value, position)[1]
        position = match.end()


def _unescaped(text: str) -> str:
    plain = _ESCAPE.sub(_character, text)
    if _SURROGATE.search(plain):
        # Pairs of escapes become the one character they stand for; what is left alone is replaced.
        return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return plain


def _character(match: re.Match[str]) -> str:
    code, character = match.groups()
    return chr(int(code, 16)) if code else str(character)


def _utf16_escapes(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
