"""Where the sandbox's answers differ from the host's."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.host.events import Event, EventKind, describe_event
from mpp_asgi.sandbox.wire.stream import Reader
from mpp_asgi.sandbox.wire.values import Address, Val

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.oracle.replay import Answer, Outcome

COMPARED = (
    "value",
    "events",
    "changes",
    "auth",
    "diagnostics",
    "footprint",
    "disk_read_bytes",
    "write_bytes",
    "rent",
)
"""What has to be the same beside the error. Instructions are an approximation."""


def differences(expected: Answer, found: Answer) -> Iterator[str]:
    """Each difference between two answers to one call, in words."""
    if "keeping" in expected and expected != found:
        yield f"keeping: {expected['keeping']} on the network, {found['keeping']} here"
    for stage in ("record", "simulate", "apply"):
        if (stage in expected) != (stage in found):
            yield f"{stage}: only one of them answered"
        elif stage in expected:
            yield from _between(stage, expected[stage], found[stage])


def _between(stage: str, expected: Outcome, found: Outcome) -> Iterator[str]:
    if expected.get("error") != found.get("error"):
        yield f"{stage}: {_said(expected)} on the network, {_said(found)} here"
        return
    for name in COMPARED:
        if name == "footprint" and "error" in expected:
            continue  # Nobody is shown it; what it leads to is compared as "apply".
        if expected.get(name) != found.get(name):
            there, here = _readable(name, expected.get(name)), _readable(name, found.get(name))
            yield f"{stage}: {name}\n  network {there}\n  sandbox {here}"


def _said(outcome: Outcome) -> Any:
    return outcome.get("error", "success")


def _readable(name: str, part: Any) -> str:
    if name == "diagnostics" and isinstance(part, list):
        return "".join("\n    " + describe_diagnostic(b64decode(event)) for event in part)
    return str(part)


def describe_diagnostic(encoded: bytes) -> str:
    """A ``DiagnosticEvent`` as the network prints it."""
    reader = Reader(encoded)
    succeeded = reader.boolean()
    reader.extension()
    contract = reader.optional(lambda: Address.contract(reader.fixed(32)))
    kind = EventKind(reader.u32())
    reader.u32()
    topics = reader.array(lambda: Val.read(reader))
    return describe_event(Event(kind, contract, topics, Val.read(reader)), failed=not succeeded)
