"""When a payment channel is opened, and how much is put into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mpp_asgi.client.amounts import Amount

BREAK_EVEN: Final = 3
"""A channel costs two transactions, one to open it and one to close it; a charge costs one. So from
the third request on a channel is cheaper."""

DEPOSITED_CALLS: Final = 100
"""Calls that a deposit is for where nobody says how many there will be."""

MAX_WAITING_PERIOD: Final = 120_960
"""Ledgers (7 days) that a deposit may be held up when the server is gone."""

KNOWN_CODE: Final = frozenset({"d8b12347c5e395dc580c8b81134b10fa8ddcdf90b6f64788ad5397adb3ca568b"})
"""The channel of this project's sandbox, which exists nowhere else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """When to open payment channels, and on what terms.

    **The rule.** A channel is opened when so many calls are expected that it is cheaper than
    paying each: ``expected_calls`` of them, or, where that is not said, as many as were paid
    already with this `PaymentAuth` to the same origin, recipient and token. ``after`` says how many
    that is. A server that takes nothing but sessions gets a channel at once. A channel that is open
    is always used.

    **The deposit** is what the expected calls cost, or else what the server suggests, or else 100
    calls. It never exceeds ``max_deposit`` less what is locked up in other channels, nor what is
    left of the budget.
    """

    after: int | Literal["never", "always"] = BREAK_EVEN
    """Calls from which on a channel is cheaper."""
    expected_calls: int | None = None
    """Calls that are going to be made to each server; ``None``: not known."""
    max_deposit: Amount | Mapping[str, Amount] | None = None
    """How much may be locked up in channels at any time, for each currency, in the form of a
    budget. ``None``: as much as the budget."""
    factories: Collection[str] = ()
    """Contracts (``C…``) that may be asked to open channels. Whoever rules over a factory decides
    what code a channel runs, and so where the deposit goes. Without one, channels are deployed
    directly, and run exactly the ``code``."""
    code: Collection[str] = KNOWN_CODE
    """SHA-256 (64 hex digits) of the Wasm that channels may run."""
    max_waiting_period: int = MAX_WAITING_PERIOD
    """Ledgers from ``close_start`` to ``refund`` at most."""

    def __post_init__(self) -> None:
        if isinstance(self.after, str) and self.after not in {"never", "always"}:
            raise ValueError(f"after must be 'never', 'always' or a number, not {self.after!r}.")
        if isinstance(self.after, int) and self.after < 0:
            raise ValueError("after cannot be negative.")
        if self.expected_calls is not None and self.expected_calls < 1:
            raise ValueError("expected_calls must be at least 1.")

    @classmethod
    def of(cls, policy: SessionPolicy | int | Literal["never", "always"]) -> SessionPolicy:
        """The policy that ``PaymentAuth(sessions=...)`` means.

        Raises:
            ValueError: it means none.
        """
        if isinstance(policy, SessionPolicy):
            return policy
        if policy not in ("never", "always") and (
            not isinstance(policy, int) or isinstance(policy, bool)
        ):
            raise ValueError(
                "sessions is 'always', 'never', a number of calls or a SessionPolicy, not "
                f"{policy!r}."
            )
        return cls(after=policy)


def deposit_for(
    policy: SessionPolicy, *, price: int, suggested: int | None, room: int, worth: bool
) -> int | None:
    """Base units to put into a channel; ``None``: there is not enough for it to be worth while.

    Args:
        policy: the rule.
        price: base units of one call.
        suggested: the deposit that the server suggests.
        room: base units that may still be locked up and spent.
        worth: whether it has to be worth while. Else one call is enough.
    """
    if policy.expected_calls is not None:
        wanted = price * policy.expected_calls
    elif suggested is not None:
        wanted = suggested
    else:
        wanted = price * DEPOSITED_CALLS
    least = price * (policy.after if worth and isinstance(policy.after, int) else 1)
    deposit = min(max(wanted, least), room)
    return deposit if deposit >= max(least, 1) else None
