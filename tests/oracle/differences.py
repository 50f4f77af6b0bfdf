"""Where the sandbox's answers differ from the host's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        if expected.get(name) != found.get(name):
            there, here = expected.get(name), found.get(name)
            yield f"{stage}: {name}\n  network {there}\n  sandbox {here}"


def _said(outcome: Outcome) -> Any:
    return outcome.get("error", "success")
