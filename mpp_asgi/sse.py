"""Server-sent events, framed so that no content can be taken for another event.

The format ends a line at CR, LF or CRLF (WHATWG HTML, section 9.2.5). Readers that split lines
with a general-purpose routine end them at more characters than that, U+2028 among them, so here
every one of those ends a line: whichever way it is read, content stays within its event.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MEDIA_TYPE: Final = "text/event-stream"
RESERVED: Final = "payment-"
"""How the names begin of events that speak of money; no content has such a name."""

_LINE_END: Final = re.compile("\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
_NAME: Final = re.compile(r"[!-~]{1,128}")
"""Printable ASCII without spaces."""

Data = str | Mapping[str, Any] | list[Any]


class EventError(ValueError):
    """Something cannot be an event; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream.

    Args:
        data: a text, which arrives with every end of a line as LF; or anything else that JSON can
            say, which arrives exactly.
        name: the event's type; ``None`` for ``message``.
        id: what a client that comes back names as the last event it saw.

    Raises:
        EventError: a name or an id is not printable ASCII, or a name begins with ``payment-``.
    """

    data: Data
    name: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        for field, text in (("name", self.name), ("id", self.id)):
            if text is not None and not _NAME.fullmatch(text):
                raise EventError(f"an event's {field} is printable ASCII, not {text!r}")
        if self.name is not None and self.name.lower().startswith(RESERVED):
            raise EventError(f"an event's name must not begin with {RESERVED!r}")

    def frame(self) -> bytes:
        """The event as it goes over the wire.

        Raises:
            EventError: JSON cannot say its data.
        """
        return _frame(self.data, self.name, self.id)


def event_of(item: object) -> Event:
    """What a source of events gave, as an event: one already, or its data.

    Raises:
        EventError: it is neither.
    """
    if isinstance(item, Event):
        return item
    if isinstance(item, (str, Mapping, list)):
        return Event(item)
    raise EventError(
        f"a stream is made of texts, of what becomes JSON, or of Event(...), "
        f"not of {type(item).__name__}"
    )


def payment_frame(name: str, data: Mapping[str, Any]) -> bytes:
    """An event that speaks of money, as it goes over the wire.

    Args:
        name: without ``payment-``.
        data: its members.
    """
    return _frame(data, RESERVED + name, None)


def _frame(data: Data, name: str | None, id_: str | None) -> bytes:
    lines = [] if name is None else [f"event: {name}"]
    if id_ is not None:
        lines.append(f"id: {id_}")
    lines += [f"data: {line}" for line in _LINE_END.split(_text(data))]
    # A text of Python's may hold halves of a character, which UTF-8 cannot say.
    return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")


def _text(data: Data) -> str:
    if isinstance(data, str):
        return data
    try:  # in ASCII: nothing but a line feed could end a line
        return json.dumps(data, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise EventError(f"an event's data cannot be said in JSON: {error}") from None
