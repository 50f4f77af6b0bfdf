"""Whoever pays: what all its conversations share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.client.book import Book
    from mpp_asgi.client.budget import Budget
    from mpp_asgi.client.connection import Origin
    from mpp_asgi.client.offers import Rules
    from mpp_asgi.client.retries import Patience
    from mpp_asgi.client.sessions import Sessions
    from mpp_asgi.client.wallet import Wallet


@dataclass(frozen=True, slots=True)
class Payer:
    """Everything that conversations share."""

    rules: Rules
    origins: frozenset[Origin] | None
    wallet: Wallet
    budget: Budget
    book: Book
    patience: Patience
    clock: Callable[[], float]
    sessions: Sessions
