"""Changes to JSON that leave it JSON: what is changed blindly seldom gets beyond its reader."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[bytes, int], bytes]
    """Bytes changed somehow, to no more than so many."""

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53 + 1, -(2**63), 2**64, 10**40, 0.1, 1e21, -0.0),
    *(5e-324, float("inf"), float("nan"), "", "0", "-1", "1e9", "\0", "\ud800", "é", "*" * 200),
    *([], {}, [[[[]]]], {"": {}}, ["", 0, None]),
)
BLINDLY = 0.2
"""How often bytes are changed all the same."""


def changed(data: bytes, most: int, seed: int, change: Change) -> bytes:
    """The input with a part of it changed: as JSON, if it is JSON."""
    random = Random(seed)
    if random.random() >= BLINDLY:
        try:
            value = json.loads(data)
            text = json.dumps(_changed(value, random, change), ensure_ascii=random.random() < 0.5)
            encoded = text.encode("utf-8", "surrogatepass")
        except (ValueError, RecursionError):
            return change(data, most)
        if len(encoded) <= most:
            return encoded
    return change(data, most)


def _changed(value: Any, random: Random, change: Change) -> Any:
    """With one node changed, anywhere in it."""
    if isinstance(value, dict | list) and value and random.random() < 0.8:
        key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        match random.randrange(8):
            case 0:
                del value[key]
            case 1 if isinstance(value, dict):
                value[random.choice(["", key.upper(), f"{key} ", *_keys(value)])] = value[key]
            case 1:
                value.insert(key, value[key])
            case _:
                value[key] = _changed(value[key], random, change)
        return value
    if isinstance(value, str) and random.random() < 0.8:
        return _changed_text(value, random, change)
    if isinstance(value, int | float) and random.random() < 0.5:
        return random.choice([value + 1, value - 1, -value, value * 2, value / 3, str(value)])
    if random.random() < 0.1:
        return [value]
    return random.choice(ODD)


def _keys(value: Any) -> list[str]:
    """All that are in it, at any depth."""
    if isinstance(value, dict):
        return [*value, *(key for each in value.values() for key in _keys(each))]
    return [key for each in value for key in _keys(each)] if isinstance(value, list) else []


def _changed_text(text: str, random: Random, change: Change) -> str:
    """Changed inside, if it is base64 of something."""
    room = len(text) + 64
    if len(text) % 4 == 0 and len(text) >= 8 and random.random() < 0.8:
        try:
            inside = base64.b64decode(text, validate=True)
            return base64.b64encode(change(inside, room)).decode()
        except ValueError:
            pass
    return change(text.encode("utf-8", "surrogatepass"), room).decode("utf-8", "replace")
