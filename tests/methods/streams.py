"""What newer versions of FastAPI have: endpoints that are generators, and server-sent events."""

import contextlib
from collections.abc import Iterable
from typing import Any

import pytest

EventSourceResponse: Any = None
with contextlib.suppress(ModuleNotFoundError):
    from fastapi.sse import EventSourceResponse  # type: ignore[no-redef]

HAS_STREAMS = EventSourceResponse is not None

needs_streams = pytest.mark.skipif(
    not HAS_STREAMS, reason="this version of FastAPI has no endpoints that are generators"
)


def where_supported(values: Iterable[Any]) -> list[Any]:
    """Parameters of which those that are called after streams are skipped without them."""
    words = ("stream", "generator", "lines", "events")
    return [
        pytest.param(value, marks=needs_streams)
        if any(word in getattr(value, "__name__", value) for word in words)
        else value
        for value in values
    ]
