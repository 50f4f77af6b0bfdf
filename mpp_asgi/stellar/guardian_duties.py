"""What there is to do about a channel, in which order, and when again if it fails."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from mpp_asgi.stellar.network import LEDGER_SECONDS
from mpp_asgi.stellar.settlement import earned, is_owed
from mpp_asgi.stores.channels import Channel, ChannelStatus

if TYPE_CHECKING:
    from mpp_asgi.stellar.channel_watch import Seen
    from mpp_asgi.stellar.settlement import SettlementPolicy

UNFINISHED_SECONDS: Final = 120
"""After which a close that somebody has begun here is taken for given up, and finished."""
HURRY_LEDGERS: Final = 720
"""With so many left (an hour) a channel does not wait until all others were looked at."""

FIRST_SECONDS: Final = 5
LONGEST_SECONDS: Final = 600
TRIES_LEFT: Final = 8
"""Into how many parts the time that is left is divided, at least."""


class Reason(StrEnum):
    """Why something has to be done about a channel."""

    CLOSING = "its funder is closing it"
    CLOSED = "it is closed, and still has what is owed"
    UNFINISHED = "its close was begun and not finished"
    POLICY = "the policy says so"
    SHUTDOWN = "the process ends"


class Duty(NamedTuple):
    """To settle a channel, or to close it where that was begun and not finished."""

    channel: Channel
    reason: Reason
    ledgers_left: int | None
    """Until its funder may take back what is in it; ``None``: it has not asked for that."""

    @property
    def is_hurried(self) -> bool:
        """Whether it has to be done at once."""
        return self.ledgers_left is not None and self.ledgers_left <= HURRY_LEDGERS

    def urgency(self) -> tuple[float, int]:
        """Sorts duties, what has to be done first first: by time, then by money."""
        left = math.inf if self.ledgers_left is None else self.ledgers_left
        return left, -earned(self.channel)


def duty_of(seen: Seen, policy: SettlementPolicy, now: float) -> Duty | None:
    """What has to be done about a channel, if anything."""
    channel = seen.channel
    left = None
    if channel.closes_at is not None:
        left = channel.closes_at - max(channel.seen_ledger, seen.ledger or 0)
    is_known = seen.ledger is not None or seen.is_missing
    reason = _reason(channel, policy, now, is_known=is_known)
    return None if reason is None else Duty(channel, reason, left)


def _reason(
    channel: Channel, policy: SettlementPolicy, now: float, *, is_known: bool
) -> Reason | None:
    match channel.status:
        case ChannelStatus.CLOSING:
            is_left = now - channel.used_at >= UNFINISHED_SECONDS
            return Reason.UNFINISHED if is_left or channel.closes_at is not None else None
        case ChannelStatus.CLOSED:
            return Reason.CLOSED if is_owed(channel) else None
        case ChannelStatus.OPEN if channel.closes_at is not None:
            return Reason.CLOSING if is_owed(channel) else None
        case _:
            return Reason.POLICY if is_known and policy.is_due(channel, now) else None


def is_still_due(duty: Duty, channel: Channel, policy: SettlementPolicy, now: float) -> bool:
    """Whether a duty remains, as the record stands by now."""
    match duty.reason:
        case Reason.UNFINISHED:
            return channel.status is ChannelStatus.CLOSING
        case Reason.POLICY:
            return policy.is_due(channel, now)
        case _:
            return is_owed(channel)


class Retry(NamedTuple):
    """A duty that could not be done."""

    failures: int
    at: float
    """When to try again, Unix seconds."""

    def waits(self, now: float) -> bool:
        """Whether it is too early to try again. What is further off than any try was put off by a
        clock that ran ahead."""
        return 0 < self.at - now <= LONGEST_SECONDS

    @classmethod
    def after(cls, last: Retry | None, duty: Duty, now: float) -> Retry:
        """The next try after one more failure: ever later, but often enough in the time left; and
        as often as can be once that is over, when every ledger may be the funder's."""
        failures = last.failures + 1 if last is not None else 1
        pause = min(FIRST_SECONDS * 2.0 ** min(failures - 1, 10), LONGEST_SECONDS)
        if duty.ledgers_left is not None:
            pause = min(pause, duty.ledgers_left * LEDGER_SECONDS / TRIES_LEFT)
        return cls(failures, now + max(pause, FIRST_SECONDS))
