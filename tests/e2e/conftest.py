"""One sandbox for all end-to-end tests, in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import Network, running_network

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with running_network() as running:
        yield running
