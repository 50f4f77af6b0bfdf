"""The shapes of RPC answers, as the published OpenRPC document of Stellar RPC has them.

``rpc_shapes.json`` holds for each method the shape of its result, boiled down from that document:
``"number"``, ``"string"``, ``"boolean"``; ``"hash"`` for 64 hexadecimal digits; ``"a|b"`` for one
of some words; ``"string?"`` where null is allowed; a list for any number of what it holds; an
object for an object, where a name with ``!`` has to be there. To make it anew:
``python -m tests.sandbox.rpc_shapes stellar-rpc.openrpc.json``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).with_name("rpc_shapes.json")
_HASH = r"^[a-f\d]{64}$"
_TYPES = {"string": str, "number": (int, float), "boolean": bool}


def published() -> dict[str, Any]:
    shapes: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return shapes


def boiled_down(document: dict[str, Any]) -> dict[str, Any]:
    """The shapes in an OpenRPC document."""
    found = {each["name"]: _shape(each["result"]["schema"]) for each in document["methods"]}
    return {"version": document["info"]["version"], "results": found}


def _shape(schema: dict[str, Any]) -> Any:
    kind = schema["type"]
    if kind == "object":
        required = schema.get("required", ())
        properties = schema["properties"].items()
        return {f"{n}!" if n in required else n: _shape(each) for n, each in properties}
    if kind == "array":
        return [_shape(schema["items"])]
    if "enum" in schema:
        return "|".join(schema["enum"])
    if isinstance(kind, list):
        (one,) = (each for each in kind if each != "null")
        return f"{one}?"
    if schema.get("pattern") == _HASH:
        return "hash"
    return "number" if kind == "integer" else kind


def differences(answer: Any, shape: Any, place: str = "") -> Iterator[str]:
    """Where an answer is not of a shape, a sentence each; fields the shape lacks count, too."""
    if isinstance(shape, dict):
        yield from _object_differences(answer, shape, place)
    elif isinstance(shape, list):
        if not isinstance(answer, list):
            yield f"{place} is no list"
            return
        for item in answer:
            yield from differences(item, shape[0], f"{place}[]")
    elif not _is(answer, shape):
        yield f"{place} is not {shape}"


def _object_differences(answer: Any, shape: dict[str, Any], place: str) -> Iterator[str]:
    if not isinstance(answer, dict):
        yield f"{place} is no object"
        return
    for name in shape:
        if name.endswith("!") and name[:-1] not in answer:
            yield f"{place}.{name[:-1]} is missing"
    known = {name.rstrip("!"): each for name, each in shape.items()}
    for name, value in answer.items():
        if name not in known:
            yield f"{place}.{name} is not in the document"
        else:
            yield from differences(value, known[name], f"{place}.{name}")


def _is(answer: Any, shape: str) -> bool:
    if shape.endswith("?"):
        return answer is None or _is(answer, shape[:-1])
    if shape == "hash":
        return isinstance(answer, str) and re.fullmatch(_HASH, answer) is not None
    if shape in _TYPES:
        wrong_flag = isinstance(answer, bool) and shape != "boolean"
        return isinstance(answer, _TYPES[shape]) and not wrong_flag
    return answer in shape.split("|")


def fields(answer: Any, place: str = "") -> set[str]:
    """The places of all fields in an answer or a shape."""
    if isinstance(answer, dict):
        found = set[str]()
        for name, value in answer.items():
            here = f"{place}.{name.rstrip('!')}"
            found |= {here} | fields(value, here)
        return found
    if isinstance(answer, list):
        return set[str]().union(*(fields(item, f"{place}[]") for item in answer))
    return set()


if __name__ == "__main__":
    shapes = boiled_down(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    FILE.write_text(json.dumps(shapes, indent=1) + "\n", encoding="utf-8")
