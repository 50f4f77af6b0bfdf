"""What a guardian tells of its work: how much there was, how late it was, what is at stake."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpp_asgi.stellar.settlement import at_risk, lost
from mpp_asgi.stores.channels import ChannelStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.stellar.channel_watch import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardianReport:
    """One round over all channels, and what was done since the round before. Amounts are base units
    by token (``C…``)."""

    ended_at: float
    """Unix seconds."""
    seconds: float
    """How long the round took."""
    since_last: float | None
    """Seconds since the last full round of this process ended; ``None``: it is the first."""
    calls: int
    """What it cost to read the channels, in calls to the node."""
    channels: int
    """How many are not closed."""
    closing: int
    """How many of them their funders are closing."""
    unread: int
    """How many could not be read, so that their records may be behind. The round is not a full
    one unless this is 0."""
    missing: int
    """How many the node does not show, or not what is in them, as some do not if they are archived.
    They are settled all the same."""
    at_risk: Mapping[str, int]
    """What vouchers held are worth beyond what was settled, when the round came by."""
    lost: Mapping[str, int]
    """What was earned and seen to be gone: the funder's refund came first."""
    settled: int
    """Settlements and closes that went through."""
    failed: int
    """Settlements and closes that did not; some may have since, at another try."""
    put_off: int
    """Channels that wait for another try."""
    fewest_ledgers: int | None
    """Of the channels that were settled while their funders were closing them: how many ledgers
    were left at least, when they were last read; 0 or less: it was too late, and they were paid all
    the same. ``None``: there were none."""

    @property
    def is_full(self) -> bool:
        """Whether every channel was read that the node shows."""
        return self.unread == 0

    def __str__(self) -> str:
        """One line for the log."""
        pairs = {
            "channels": self.channels,
            "closing": self.closing,
            "unread": self.unread,
            "missing": self.missing,
            "settled": self.settled,
            "failed": self.failed,
            "put_off": self.put_off,
            "fewest_ledgers": _or_none(self.fewest_ledgers),
            "at_risk": _amounts(self.at_risk),
            "lost": _amounts(self.lost),
            "calls": self.calls,
            "seconds": f"{self.seconds:.1f}",
            "since_last": "none" if self.since_last is None else f"{self.since_last:.1f}",
        }
        return " ".join(f"{name}={value}" for name, value in pairs.items())


def _or_none(number: int | None) -> str:
    return "none" if number is None else str(number)


def _amounts(by_token: Mapping[str, int]) -> str:
    return ",".join(f"{token}:{amount}" for token, amount in sorted(by_token.items())) or "0"


@dataclass(slots=True)
class Sight:
    """What a round comes by."""

    channels: int = 0
    closing: int = 0
    unread: int = 0
    missing: int = 0
    at_risk: Counter[str] = field(default_factory=Counter)

    def add(self, seen: Seen) -> None:
        """One channel more."""
        channel = seen.channel
        self.missing += seen.is_missing
        self.unread += seen.ledger is None and not seen.is_missing
        if channel.status is not ChannelStatus.CLOSED:
            self.channels += 1
            self.closing += channel.closes_at is not None
            self.at_risk[channel.token] += at_risk(channel)


@dataclass(slots=True)
class Deeds:
    """What came of it."""

    settled: int = 0
    failed: int = 0
    fewest_ledgers: int | None = None
    lost: Counter[str] = field(default_factory=Counter)

    def settle(self, ledgers_left: int | None) -> None:
        """One settlement more, in time or not."""
        self.settled += 1
        if ledgers_left is not None:
            fewest = self.fewest_ledgers
            self.fewest_ledgers = ledgers_left if fewest is None else min(fewest, ledgers_left)

    def lose(self, seen: Seen) -> int:
        """What was seen to be lost, base units."""
        amount = lost(seen.before, seen.channel)
        if amount:
            self.lost[seen.channel.token] += amount
        return amount
