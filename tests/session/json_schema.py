"""JSON Schema, as much of it as the session draft's schemas use."""

from __future__ import annotations

import re
from typing import Any, Final

Schema = dict[str, Any]

TYPES: Final[dict[str, type]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
}


def complaints(value: Any, schema: Schema, root: Schema | None = None) -> list[str]:
    """What a value has against a schema; unknown members are among it."""
    root = root or schema
    if "$ref" in schema:
        return complaints(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "oneOf" in schema:
        fitting = [each for each in schema["oneOf"] if not complaints(value, each, root)]
        return [] if len(fitting) == 1 else [f"{len(fitting)} fit {value!r}"]
    if not isinstance(value, TYPES.get(schema.get("type", ""), object)):
        return [f"{value!r} is no {schema['type']}"]
    return [*_of_value(value, schema), *_of_parts(value, schema, root)]


def _of_value(value: Any, schema: Schema) -> list[str]:
    found = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{value!r} is none of {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{value!r} is not {schema['pattern']}")
    if value is not None and "minimum" in schema and value < schema["minimum"]:
        found.append(f"{value!r} is less than {schema['minimum']}")
    return found


def _of_parts(value: Any, schema: Schema, root: Schema) -> list[str]:
    found = [f"{name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, others in schema.get("dependentRequired", {}).items():
        if name in value:
            found += [f"{other} is missing" for other in others if other not in value]
    for each in value if "items" in schema else ():
        found += complaints(each, schema["items"], root)
    for name in value if "properties" in schema else ():
        member = schema["properties"].get(name)
        found += [f"{name} is unknown"] if member is None else complaints(value[name], member, root)
    return found
