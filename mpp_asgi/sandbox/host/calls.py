"""Calls of contracts while they run."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.values import Address, Instance, Val


class Reentry(Enum):
    """Whether a contract that runs already may be called again."""

    PROHIBITED = auto()
    SELF = auto()
    """By itself only, without another contract in between."""


class Call:
    """A contract that runs."""

    __slots__ = ("args", "contract", "instance", "modified", "name", "storage")

    def __init__(
        self, contract: Address, name: str, args: tuple[Val, ...], instance: Instance
    ) -> None:
        self.contract = contract
        self.name = name
        self.args = args
        self.instance = instance
        self.storage = dict(instance.storage or ())
        """Instance storage; written back when the call ends well."""
        self.modified = False
