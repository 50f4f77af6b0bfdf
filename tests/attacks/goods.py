"""What the shop sells: a text that says which endpoint made it, what it costs, and which it is.

Whoever has one was served. Each is written down when it is made, so that what was made and what
arrived can be held against each other and against the ledger.
"""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TAG = "x-tag"
"""The request field that says which attack a request is part of. No price depends on it."""
_GOODS = re.compile(rb"goods/([a-z-]+)/(\d+)/([0-9]+-[0-9]+)")
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Goods:
    """One grant. ``price`` is in base units."""

    route: str
    price: int
    number: str

    @classmethod
    def all_in(cls, text: bytes) -> list[Goods]:
        """Those in a response, each once."""
        found = (cls(m[1].decode(), int(m[2]), m[3].decode()) for m in _GOODS.finditer(text))
        return list(dict.fromkeys(found))

    def __str__(self) -> str:
        return f"goods/{self.route}/{self.price}/{self.number}"


def make(file: Path, tag: str, route: str, price: int) -> str:
    """Make one, and write down for whom."""
    goods = Goods(route, price, f"{os.getpid()}-{next(_numbers)}")
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{tag} {goods}\n")
    return str(goods)


def made(file: Path) -> dict[str, list[Goods]]:
    """All that were made, by tag."""
    by_tag: dict[str, list[Goods]] = {}
    for line in file.read_bytes().splitlines():
        tag, _, text = line.partition(b" ")
        by_tag.setdefault(tag.decode(), []).extend(Goods.all_in(text))
    return by_tag
