"""What scenarios are about. Each topic tells its own, from a source of randomness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.oracle.topics import (
    administration,
    allowances,
    arguments,
    authorizations,
    channels,
    deployments,
    factories,
    footprints,
    lifetimes,
    relays,
    transfers,
    wanderings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from random import Random

    from tests.oracle.scenario import Scenario

TOPICS: dict[str, Callable[[Random], Iterator[Scenario]]] = {
    "administration": administration.scenarios,
    "allowances": allowances.scenarios,
    "arguments": arguments.scenarios,
    "authorizations": authorizations.scenarios,
    "deployments": deployments.scenarios,
    "footprints": footprints.scenarios,
    "lifetimes": lifetimes.scenarios,
    "transfers": transfers.scenarios,
}

WASM_TOPICS: dict[str, Callable[[Random, Mapping[str, bytes]], Iterator[Scenario]]] = {
    "channels": channels.scenarios,
    "published-channels": channels.published,
    "factories": factories.scenarios,
    "relays": relays.scenarios,
    "wanderings": wanderings.scenarios,
}
"""About contracts that are Wasm: told with the hashes of their codes, by name."""
