"""A reader of server-sent events, written from the rules (WHATWG HTML, section 9.2.6), and one as
they are often written."""

from __future__ import annotations

import re
from typing import NamedTuple


class Seen(NamedTuple):
    """An event as its reader sees it."""

    name: str
    data: str
    id: str = ""


def read_by_the_rules(body: bytes) -> list[Seen]:
    """Every event that an ``EventSource`` dispatches."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _unfinished = re.split("\r\n|\r|\n", text)
    return _dispatched(lines)


def read_by_splitlines(body: bytes) -> list[Seen]:
    """What a reader sees that takes Python's word for what a line is."""
    return _dispatched(body.decode().splitlines())


def _dispatched(lines: list[str]) -> list[Seen]:
    seen: list[Seen] = []
    name, data, last_id = "", "", ""
    for line in lines:
        if not line:
            if data:
                seen.append(Seen(name or "message", data.removesuffix("\n"), last_id))
            name, data = "", ""
            continue
        field, colon, value = line.partition(":")
        if not field and colon:
            continue  # a comment
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
    return seen
