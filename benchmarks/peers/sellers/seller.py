"""What an attack knows of a shop, whichever middleware it has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from benchmarks.peers.trouble import Trouble
    from tests.attacks.ground import Premises
    from tests.attacks.wire import Answer


@dataclass(slots=True)
class Purse:
    """Somebody with money. Amounts in the seller's base units."""

    address: str
    key: Any
    had: int
    served: int = 0
    """What arrived for it, at its price."""
    agreed: int = 0
    """What it has signed for."""
    elsewhere: int = 0
    """What went to others than the seller."""
    prices: list[int] = field(default_factory=list)
    has_parts: bool = False
    """Something arrived that was cut off."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a 402 asks for. ``terms`` are the seller's own; the amount is in base units."""

    terms: Any
    amount: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What is shown to be served: a field, and whose money it is."""

    field: str
    value: str
    purse: Purse


class Seller(Protocol):
    """A shop on a network of its own. What blocks says so, and is called in a thread."""

    name: str
    version: str
    cent: int
    carrier: str
    """The field that a proof is shown in."""
    prefix: str
    """What stands before the proof in it."""
    receipt: str
    """The field that tells of a payment, on what is paid."""
    challenge: str
    """The field of a 402 that says what to pay."""
    secret: str
    """What it must not tell anyone; empty if it has none."""

    is_told_on_errors: bool
    """Whether its protocol has an error say, too, that it was paid."""

    @property
    def premises(self) -> Premises:
        """Where its processes are."""
        ...

    def purse(self, name: str, cents: int) -> Purse:
        """Somebody new with so much. Blocks."""
        ...

    def left(self, purse: Purse) -> int:
        """What somebody has now. Blocks."""
        ...

    def demand(self, answer: Answer) -> Demand:
        """What a 402 asks for.

        Raises:
            ValueError: nothing that could be paid.
        """
        ...

    def pay(self, purse: Purse, demand: Demand) -> Proof:
        """Agree to it. Blocks."""
        ...

    def decode(self, proof: Proof) -> dict[str, Any]:
        """A proof as the object that it is."""
        ...

    def encode(self, proof: Mapping[str, Any] | bytes) -> str:
        """An object, or bytes that may be none, as the field's value."""
        ...

    def rewrapped(self, proof: Proof, demand: Demand, number: int) -> Proof:
        """The same payment, said to be for something else."""
        ...

    def forgeries(self) -> dict[str, Callable[[Purse, Demand], Proof]]:
        """Proofs of what was not asked for. They block."""
        ...

    def has_succeeded(self, answer: Answer) -> bool:
        """Whether a response says that it was paid."""
        ...

    def bring(self, trouble: Trouble, purse: Purse | None = None) -> None:
        """Have something go wrong from now on. Blocks."""
        ...

    def calm(self) -> None:
        """Have everything be well again. Blocks."""
        ...

    def held(self) -> int:
        """How many calls hang. Blocks."""
        ...

    def without_store(self) -> AbstractContextManager[None] | None:
        """While this lasts, the store does not answer; ``None``: it has none."""
        ...
