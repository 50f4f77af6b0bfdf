"""Server-sent events, as they come (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_EVENT: Final = 1 << 20
"""Bytes of one event, at most."""

_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""A CR at the end of what is there may be half of a CRLF."""


class EventError(ValueError):
    """The stream cannot be read."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream."""

    data: str
    name: str = "message"
    id: str = ""


class EventReader:
    """Puts events together from the pieces that they arrive in."""

    def __init__(self) -> None:
        self._line = bytearray()
        """As much of a line as is there. It has no end in it, so nothing is looked at twice."""
        self._cr = False
        """A CR came last. Whether a LF follows, only the next piece shows."""
        self._begun = False
        self._data: list[str] = []
        self._size = 0
        self._name = ""
        self._id = ""

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that are complete with this piece.

        Raises:
            EventError: one is longer than `LONGEST_EVENT`.
        """
        lines = self._lines(piece)
        self._size += len(piece)
        for line in lines:
            if not self._begun:
                line, self._begun = line.removeprefix(b"\xef\xbb\xbf"), True  # noqa: PLW2901
            event = self._read(line.decode("utf-8", "replace"))
            if not line:
                self._size = len(self._line) + self._cr
            if event is not None:
                yield event
        if self._size > LONGEST_EVENT:
            raise EventError(f"An event of the stream is longer than {LONGEST_EVENT} bytes.")

    def _lines(self, piece: bytes) -> list[bytes]:
        """The lines that are complete with this piece."""
        *lines, rest = _LINE_END.split(b"\r" * self._cr + piece)
        self._cr = rest.endswith(b"\r")
        if lines:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        self._line += rest.removesuffix(b"\r")
        return lines

    def _read(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, name = self._data, self._name
        self._data, self._name = [], ""
        if not data:
            return None
        return ServerEvent("\n".join(data), name or "message", self._id)
