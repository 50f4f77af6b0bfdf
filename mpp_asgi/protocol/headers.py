"""The header fields of the Payment scheme, and which credentials a request carries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SCHEME = "Payment"

WWW_AUTHENTICATE = "WWW-Authenticate"
AUTHORIZATION = "Authorization"
PAYMENT_AUTHORIZATION = "Payment-Authorization"
PAYMENT_RECEIPT = "Payment-Receipt"
ACCEPT_PAYMENT = "Accept-Payment"
PAYMENT_SESSION = "Payment-Session"

_QUOTED_OR_COMMA = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|,', re.DOTALL)
_SCHEME = re.compile(r"payment(?:[ \t]|\Z)", re.IGNORECASE)


def is_default_credential_header(name: str) -> bool:
    """Whether a challenge's `header` names the field credentials travel in anyway."""
    return name.lower() == "authorization"


def payment_credentials(values: Iterable[str]) -> list[str]:
    """The Payment credentials among `Authorization` field values, each ready for `from_header`.

    A value may be several, merged by a proxy with commas; other schemes are left out. A request
    that carries more than one Payment credential is refused by its reader (core draft,
    "Multiple Payment Options").
    """
    found: list[str] = []
    for value in values:
        if "," in value:
            found.extend(filter(_SCHEME.match, _elements(value)))
        elif _SCHEME.match(element := value.strip(" \t")):
            found.append(element)
    return found


def _elements(value: str) -> Iterator[str]:
    """The parts of `value` between commas that stand in no quoted string."""
    start = 0
    for match in _QUOTED_OR_COMMA.finditer(value):
        if match.group() == ",":
            yield value[start : match.start()].strip(" \t")
            start = match.end()
    yield value[start:].strip(" \t")
